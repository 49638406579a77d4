"""Non-maximum suppression: the worked example, a slow version, the limits."""

from __future__ import annotations

import pytest
import torch

from yolocore.errors import ConfigError
from yolocore.kernels import dispatch, reference

BOXES = [(50, 50, 40, 40), (52, 50, 40, 40), (200, 50, 40, 40), (50, 50, 40, 40), (10, 10, 8, 8)]
SCORES = [(0.9, 0.8, 0.7, 0.3, 0.2), (0.1, 0.1, 0.2, 0.6, 0.25)]


@pytest.fixture
def worked() -> torch.Tensor:
    """The five predictions of the specification, (1, 6, 5)."""
    return torch.cat((torch.tensor(BOXES, dtype=torch.float32).T, torch.tensor(SCORES)))[None]


def slow(prediction, conf, iou, *, agnostic=False, multi_label=False, max_det=300, classes=None, nc=0):
    """One image after the other, one box after the other, with plain numbers."""
    nc = nc or prediction.shape[1] - 4
    results = []
    for image in prediction.double():
        found = []
        for a in range(image.shape[1]):
            scores = image[4 : 4 + nc, a].tolist()
            for c in range(nc) if multi_label and nc > 1 else [max(range(nc), key=scores.__getitem__)]:
                if scores[c] > conf and (classes is None or c in classes):
                    x, y, w, h = image[:4, a].tolist()
                    found.append(
                        [x - w / 2, y - h / 2, x + w / 2, y + h / 2, scores[c], c, *image[4 + nc :, a].tolist()]
                    )
        found.sort(key=lambda row: -row[4])
        kept = []
        for row in found:
            rivals = [k for k in kept if agnostic or k[5] == row[5]]
            if all(plain_iou(row, k) <= iou for k in rivals):
                kept.append(row)
        results.append(torch.tensor(kept[:max_det], dtype=torch.float64).view(-1, 6 + image.shape[0] - 4 - nc))
    return results


def plain_iou(a, b):
    inter = max(0, min(a[2], b[2]) - max(a[0], b[0])) * max(0, min(a[3], b[3]) - max(a[1], b[1]))
    return inter / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - inter)


def crowd(batch: int, locations: int, nc: int, extras: int = 0, seed: int = 0) -> torch.Tensor:
    g = torch.Generator().manual_seed(seed)
    boxes = torch.rand(batch, 4, locations, generator=g) * torch.tensor([100, 100, 40, 40.0]).view(1, 4, 1) + 1
    return torch.cat((boxes, torch.rand(batch, nc + extras, locations, generator=g)), 1)


def test_worked_example(worked):
    (rows,) = dispatch.non_max_suppression(worked, 0.25, 0.5)
    expected = [[30, 30, 70, 70, 0.9, 0], [180, 30, 220, 70, 0.7, 0], [30, 30, 70, 70, 0.6, 1]]
    torch.testing.assert_close(rows, torch.tensor(expected))
    (rows,) = dispatch.non_max_suppression(worked, 0.25, 0.5, agnostic=True)
    torch.testing.assert_close(rows, torch.tensor(expected[:2]))
    (rows,) = dispatch.non_max_suppression(worked, 0.25, 0.5, classes=[1])
    torch.testing.assert_close(rows, torch.tensor(expected[2:]))


def test_the_prediction_is_not_modified(worked):
    before = worked.clone()
    dispatch.non_max_suppression(worked, 0.25, 0.5, multi_label=True)
    assert torch.equal(worked, before)


@pytest.mark.parametrize("multi_label", [False, True])
@pytest.mark.parametrize("agnostic", [False, True])
@pytest.mark.parametrize(("nc", "extras"), [(1, 0), (5, 0), (3, 4)])
def test_equals_the_slow_version(multi_label, agnostic, nc, extras):
    prediction = crowd(3, 60, nc, extras)
    options = {"multi_label": multi_label, "agnostic": agnostic, "nc": nc}
    got = dispatch.non_max_suppression(prediction, 0.3, 0.45, **options)
    for rows, expected in zip(got, slow(prediction, 0.3, 0.45, **options), strict=True):
        torch.testing.assert_close(rows.double(), expected, atol=1e-4, rtol=0)


def test_classes_are_filtered_before_counting_and_max_det_afterwards():
    prediction = crowd(2, 80, 6)
    got = dispatch.non_max_suppression(prediction, 0.1, 0.7, classes=[1, 4], max_det=7, multi_label=True)
    expected = slow(prediction, 0.1, 0.7, classes=[1, 4], max_det=7, multi_label=True)
    for rows, wanted in zip(got, expected, strict=True):
        assert len(rows) == 7
        torch.testing.assert_close(rows.double(), wanted, atol=1e-4, rtol=0)


def test_blocks_give_what_one_pass_gives(monkeypatch):
    prediction = crowd(1, 2000, 3)
    expected = dispatch.non_max_suppression(prediction, 0.05, 0.3, multi_label=True, max_det=5000)
    monkeypatch.setattr(dispatch, "FIRST_BLOCK", 16)
    got = dispatch.non_max_suppression(prediction, 0.05, 0.3, multi_label=True, max_det=5000)
    assert 16 < len(got[0]) < 5000
    assert torch.equal(got[0], expected[0])


def test_only_the_best_candidates_are_considered(worked):
    (rows,) = dispatch.non_max_suppression(worked, 0.25, 0.5, max_nms=2)
    assert rows[:, 4].tolist() == pytest.approx([0.9])


def test_equal_scores_keep_their_order():
    prediction = crowd(1, 50, 1)
    prediction[:, 4] = 1.0
    (rows,) = dispatch.non_max_suppression(prediction, 0.5, 1.0)
    torch.testing.assert_close(rows[:, :2] + rows[:, 2:4], 2 * prediction[0, :2].T)


def test_high_classes_keep_sub_pixel_overlaps():
    # the overlap of these is 0.5 -+ 1e-4, which a float32 shift by 79 * 7680 pixels would blur
    boxes = torch.tensor([[10.0, 10, 6, 6], [12.0006, 10, 6, 6], [110, 10, 6, 6], [111.9994, 10, 6, 6]])
    scores = torch.zeros(80, 4)
    scores[79] = torch.tensor([0.9, 0.8, 0.7, 0.6])
    (rows,) = dispatch.non_max_suppression(torch.cat((boxes.T, scores))[None], 0.5, 0.5)
    assert rows[:, 4].tolist() == pytest.approx([0.9, 0.8, 0.7])


@pytest.mark.parametrize("multi_label", [False, True])
def test_nothing_found_gives_empty_rows(multi_label):
    got = dispatch.non_max_suppression(torch.zeros(2, 9, 10), 0.25, 0.7, nc=3, multi_label=multi_label)
    assert [tuple(rows.shape) for rows in got] == [(0, 8), (0, 8)]
    assert dispatch.non_max_suppression(torch.zeros(1, 6, 0), 0.25, 0.7)[0].shape == (0, 6)
    assert dispatch.non_max_suppression(torch.zeros(0, 6, 4), 0.25, 0.7) == []


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_dtype_and_layout_do_not_matter(worked, dtype):
    columns = worked.to(dtype).transpose(1, 2).contiguous().transpose(1, 2)
    assert not columns.is_contiguous()
    (rows,) = dispatch.non_max_suppression(columns, 0.25, 0.5)
    assert rows.dtype == dtype
    assert rows[:, :4].tolist() == [[30, 30, 70, 70], [180, 30, 220, 70], [30, 30, 70, 70]]


@pytest.mark.parametrize("options", [{"conf": 1.5}, {"iou": -0.1}])
def test_a_threshold_outside_its_range_is_an_error(worked, options):
    with pytest.raises(ConfigError, match=next(iter(options))):
        dispatch.non_max_suppression(worked, **options)


@pytest.mark.parametrize("count", [0, 1, 2, 40])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_compiled_suppression_equals_the_reference(count, dtype):
    xywh = crowd(1, max(count, 1), 1)[0, :, :count].to(dtype)
    boxes, scores = torch.cat((xywh[:2] - xywh[2:4] / 2, xywh[:2] + xywh[2:4] / 2)).T, xywh[4]
    assert torch.equal(dispatch.nms(boxes, scores, 0.4), reference.nms(boxes, scores, 0.4))
