"""Overlap of masks, keypoints and rotated boxes against pycocotools and plain numbers."""

from __future__ import annotations

import math

import numpy as np
import polygons_iou
import pytest
import torch
from pycocotools import mask as coco_mask
from pycocotools.cocoeval import COCOeval

from yolocore.utils.metrics import batch_probiou, box_iou, kpt_iou, mask_iou, probiou


def blobs(rng, count, shape=(37, 53)):
    y, x = np.mgrid[: shape[0], : shape[1]]
    return np.stack(
        [
            ((x - rng.uniform(0, shape[1])) / rng.uniform(2, 25)) ** 2
            + ((y - rng.uniform(0, shape[0])) / rng.uniform(2, 15)) ** 2
            < 1
            for _ in range(count)
        ]
        or [np.zeros(shape, bool)]
    )[:count]


@pytest.mark.parametrize(("n", "m"), [(0, 0), (0, 3), (4, 0), (1, 1), (20, 13)])
@pytest.mark.parametrize("crowd", [False, True])
def test_masks_equal_pycocotools_bit_for_bit(n, m, crowd):
    rng = np.random.default_rng(n + m)
    a, b = blobs(rng, n), blobs(rng, m)
    flags = (rng.random(m) < 0.5) & crowd
    got = mask_iou(a, b, flags if crowd else None)
    assert got.shape == (n, m)
    if n and m:
        rle = [[coco_mask.encode(np.asfortranarray(x.astype(np.uint8))) for x in masks] for masks in (a, b)]
        expected = coco_mask.iou(*rle, flags.astype(np.uint8).tolist())
        assert np.array_equal(got, expected)


def test_empty_masks_overlap_nothing_and_tensors_will_do():
    masks = torch.zeros(2, 5, 5, dtype=torch.uint8)
    masks[1, :2] = 1
    assert mask_iou(masks, masks).tolist() == [[0, 0], [0, 1]]
    assert mask_iou(masks.bool(), masks.float() * 7).tolist() == [[0, 0], [0, 1]]


def test_large_masks_are_counted_exactly(monkeypatch):
    monkeypatch.setattr("yolocore.utils.metrics.overlap.BLOCK", 100)
    rng = np.random.default_rng(0)
    a, b = rng.random((3, 40, 41)) < 0.5, rng.random((2, 40, 41)) < 0.5
    expected = [[(x & y).sum() / (x | y).sum() for y in b] for x in a]
    assert np.array_equal(mask_iou(a, b), expected)


def test_boxes_equal_masks_of_whole_pixels():
    rng = np.random.default_rng(1)
    low = rng.integers(0, 20, (6, 2))
    boxes = np.concatenate([low, low + rng.integers(1, 15, (6, 2))], 1)
    masks = np.zeros((6, 40, 40), bool)
    for mask, (x1, y1, x2, y2) in zip(masks, boxes, strict=True):
        mask[y1:y2, x1:x2] = True
    np.testing.assert_allclose(mask_iou(masks, masks), box_iou(boxes, boxes), rtol=1e-12)


# keypoints --------------------------------------------------------------------------------------------------


def people(rng, count, k=17):
    """Return boxes xyxy, and keypoints in them, some of them not labelled."""
    low = rng.uniform(0, 300, (count, 2))
    boxes = np.concatenate([low, low + rng.uniform(20, 200, (count, 2))], 1)
    xy = boxes[:, None, :2] + rng.random((count, k, 2)) * (boxes[:, None, 2:] - boxes[:, None, :2])
    return boxes, np.concatenate([xy, rng.integers(0, 3, (count, k, 1))], 2)


def test_keypoints_equal_pycocotools():
    rng = np.random.default_rng(0)
    boxes, truths = people(rng, 6)
    truths[2, :, 2] = 0  # nobody labelled these points
    found = truths[rng.integers(0, 6, 9), :, :2] + rng.normal(0, 8, (9, 17, 2))
    found[4] += 150
    area = rng.uniform(500, 9000, 6)
    evaluation = COCOeval(iouType="keypoints")
    evaluation.params.imgIds, evaluation.params.catIds = [1], [1]
    size = boxes[:, 2:] - boxes[:, :2]
    evaluation._gts[1, 1] = [
        {"keypoints": t.reshape(-1).tolist(), "bbox": [*b[:2], *s], "area": a}
        for t, b, s, a in zip(truths, boxes, size, area, strict=True)
    ]
    evaluation._dts[1, 1] = [
        {"keypoints": np.pad(f, ((0, 0), (0, 1))).reshape(-1).tolist(), "score": 1 - i / 10}
        for i, f in enumerate(found)
    ]
    expected = evaluation.computeOks(1, 1)
    got = kpt_iou(found, truths, boxes, area)
    assert expected[:, 2].max() > 0  # measured beyond the enlarged box
    np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-15)


def test_worked_keypoint_similarity():
    truth = np.array([[[10.0, 10, 2], [20, 20, 1], [30, 30, 0]]])
    found = truth[:, :, :2] + np.array([[1, 0], [2, 1], [500, 500]])
    assert kpt_iou(found, truth, [[0, 0, 20, 20]], [400.0])[0, 0] == pytest.approx(0.991614, abs=1e-6)


def test_the_area_is_about_half_of_the_box_by_default():
    rng = np.random.default_rng(3)
    boxes, truths = people(rng, 4, 5)
    truths[..., 2] = 2
    found = truths + rng.normal(0, 5, truths.shape)
    area = 0.53 * (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    expected = kpt_iou(found, truths, boxes, area, [0.2] * 5)
    np.testing.assert_allclose(kpt_iou(found, truths, boxes), expected, rtol=1e-12)
    np.testing.assert_allclose(
        kpt_iou(found, truths[..., :2], boxes), expected, rtol=1e-12
    )  # without visibility all points count
    for i, j in np.ndindex(expected.shape):
        d2 = ((found[i, :, :2] - truths[j, :, :2]) ** 2).sum(1)
        value = sum(math.exp(-d / (2 * area[j] * 0.4**2)) for d in d2) / 5
        assert expected[i, j] == pytest.approx(value)


@pytest.mark.parametrize(("n", "m"), [(0, 2), (2, 0), (0, 0)])
def test_no_keypoints(n, m):
    boxes, truths = people(np.random.default_rng(0), m)
    assert kpt_iou(np.zeros((n, 17, 3)), truths, boxes).shape == (n, m)


# rotated boxes ----------------------------------------------------------------------------------------------


def test_rotated_pairs():
    a = np.array([[50, 40, 30, 10, 0.2], [10, 10, 4, 4, 0]])
    b = np.array([[55, 42, 24, 12, 0.5], [10, 10, 4, 4, 1]])
    pairs = batch_probiou(a, b)
    assert pairs.dtype == np.float64
    assert pairs[0, 0] == pytest.approx(0.660644, abs=1e-6)
    np.testing.assert_allclose(np.diag(pairs), probiou(a, b))
    assert batch_probiou(a[:0], b).shape == (0, 2)
    assert batch_probiou(a.astype(np.float32), torch.from_numpy(b)).shape == (2, 2)


def test_polygons_of_the_helper_overlap_as_they_should():
    square = [0, 0, 2, 2, 0.0]
    turned = [0, 0, 2, 2, math.pi / 4]
    octagon = 8 * (math.sqrt(2) - 1)
    got = polygons_iou.polygon_iou([square], [square, turned, [1, 0, 2, 2, 0], [9, 9, 2, 2, 0]])
    assert got[0].tolist() == pytest.approx([1, octagon / (8 - octagon), 1 / 3, 0])


def test_probiou_orders_pairs_much_as_polygons_do():
    rng = np.random.default_rng(0)
    boxes = np.concatenate([rng.uniform(40, 60, (60, 2)), rng.uniform(10, 40, (60, 2)), rng.uniform(0, 3, (60, 1))], 1)
    near = boxes + rng.normal(0, 1, boxes.shape) * [4, 4, 3, 3, 0.2]
    exact = np.diag(polygons_iou.polygon_iou(boxes, near))
    measure = probiou(boxes, near)
    ranks = [np.argsort(np.argsort(v)) for v in (exact, measure)]
    assert np.corrcoef(*ranks)[0, 1] > 0.9
