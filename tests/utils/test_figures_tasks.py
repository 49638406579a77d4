"""Mosaics of masks, keypoints, oriented boxes and classes: what is drawn, and where."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from yolocore.utils import figures
from yolocore.utils.figures.mosaic import CROWD
from yolocore.utils.palette import colors

NAMES = {0: "cat", 1: "dog", 2: "owl"}


def picture(path) -> np.ndarray:
    image = cv2.imread(str(path))
    assert image is not None
    return image


def batch(**more) -> dict:
    """Two grey images; two objects in the first, one in the second."""
    return {
        "img": torch.full((2, 3, 200, 300), 128, dtype=torch.uint8),
        "cls": torch.tensor([[0.0], [2.0], [1.0]]),
        "bboxes": torch.tensor([[0.5, 0.5, 0.6, 0.8], [0.5, 0.5, 0.2, 0.3], [0.25, 0.25, 0.2, 0.2]]),
        "batch_idx": torch.tensor([0.0, 0.0, 1.0]),
        "im_file": ("a.jpg", "b.jpg"),
    } | more


def index_masks() -> torch.Tensor:
    masks = torch.zeros(2, 50, 75, dtype=torch.uint8)
    masks[0, 5:45, 15:60] = 1
    masks[0, 18:32, 30:45] = 2
    masks[1, 8:18, 11:26] = 1
    return masks


def test_masks_by_number_and_one_by_one_are_the_same() -> None:
    numbered = figures.batch_labels(batch(masks=index_masks()))
    assert [d.masks.shape for d in numbered] == [(2, 50, 75), (1, 50, 75)]
    single = torch.stack([index_masks()[0] == 1, index_masks()[0] == 2, index_masks()[1] == 1]).to(torch.uint8)
    for a, b in zip(numbered, figures.batch_labels(batch(masks=single)), strict=True):
        np.testing.assert_array_equal(a.masks, b.masks)


def test_as_many_objects_as_images() -> None:
    """Two index masks, both objects in the first image: the numbers tell them from two single masks."""
    masks = index_masks()
    masks[1] = 0
    two = batch(masks=masks, cls=torch.zeros(2, 1), bboxes=torch.full((2, 4), 0.5), batch_idx=torch.zeros(2))
    assert [d.masks.sum() for d in figures.batch_labels(two)] == [40 * 45, 0]


def test_masks_tint_their_pixels(tmp_path) -> None:
    image = picture(figures.plot_images(batch(masks=index_masks()), tmp_path / "m.png", NAMES))
    big, small, grey = image[40, 100], image[100, 150], image[10, 290]
    assert grey.tolist() == [128, 128, 128]
    for pixel, cls in ((big, 0), (small, 2)):
        want = 128 * 0.55 + np.array(colors(cls, bgr=True)) * 0.45
        assert np.abs(pixel - want).max() <= 1


def test_oriented_boxes_are_turned(tmp_path) -> None:
    boxes = torch.tensor([[0.5, 0.5, 0.4, 0.2, np.pi / 4]])
    turned = batch(bboxes=boxes, cls=torch.tensor([[1.0]]), batch_idx=torch.zeros(1))
    (drawn, _) = figures.batch_labels(turned)
    np.testing.assert_allclose(drawn.boxes, [[150, 100, 120, 40, np.pi / 4]], rtol=1e-6)
    image = picture(figures.plot_images(turned, tmp_path / "o.png", {1: ""}))[:, :300]
    ink = np.argwhere((image != 128).any(2))
    ink = ink[ink[:, 0] < 175]  # above the file name
    corners = cv2.boxPoints(((150, 100), (120, 40), 45.0))
    far = [abs(cv2.pointPolygonTest(corners, (float(x), float(y)), True)) for y, x in ink]
    assert len(ink) > 300
    assert max(far) < 3.5


def test_keypoints_are_drawn_where_they_can_be_seen(tmp_path) -> None:
    points = torch.tensor([[[0.1, 0.2, 2.0], [0.5, 0.9, 1.0], [0.9, 0.2, 0.0]]] * 3)
    image = picture(figures.plot_images(batch(keypoints=points), tmp_path / "k.png", NAMES))
    assert image[40, 30].tolist() == list(colors(0, bgr=True))
    assert image[180, 150].tolist() == list(colors(1, bgr=True))
    assert image[40, 270].tolist() == [128, 128, 128], "visibility 0"


def test_predictions_of_every_kind(tmp_path) -> None:
    images = torch.zeros(1, 3, 100, 100)
    boxes, cls = np.array([[20.0, 20, 80, 80], [5, 5, 15, 15]]), np.array([0.0, 1.0])
    masks = np.zeros((2, 25, 25))
    masks[0, 10:15, 10:15] = masks[1] = 1
    points = np.array([[[50.0, 60, 0.9], [30, 30, 0.1]], [[90, 90, 0.9], [90, 90, 0.9]]])
    found = figures.Drawn(boxes, cls, np.array([0.9, 0.1]), masks, points)
    image = picture(figures.plot_mosaic(images, [found], tmp_path / "p.png", NAMES))
    assert image[45, 45].any()
    assert image[60, 50].tolist() == list(colors(0, bgr=True))
    assert not image[92:, 92:].any(), "the second prediction is below a quarter"


def test_classes_are_written_into_small_images(tmp_path) -> None:
    some = {"img": torch.zeros(4, 3, 32, 32), "cls": torch.tensor([0, 1, 2, 0]), "im_file": ("a.jpg",) * 4}
    image = picture(figures.plot_images(some, tmp_path / "c.png", NAMES))
    assert image.shape == (324, 324, 3)
    assert image[:30, :60].any()
    found = [figures.Drawn(None, np.array([1]), np.array([0.2]))]
    image = picture(figures.plot_mosaic(torch.zeros(1, 3, 32, 32), found, tmp_path / "d.png", NAMES))
    assert image[:30, :60].any(), "the best class is written whatever its probability"


@pytest.mark.parametrize(("count", "named"), [(CROWD, True), (CROWD + 1, False)])
def test_in_a_crowd_small_objects_have_no_name(tmp_path, count: int, named: bool) -> None:
    boxes = np.tile([100.0, 100, 110, 110], (count, 1))
    drawn = [figures.Drawn(boxes, np.zeros(count))]
    image = picture(figures.plot_mosaic(torch.zeros(1, 3, 200, 200), drawn, tmp_path / "s.png", NAMES))
    assert bool(image[80:96, 98:120].any()) == named
    assert image[100, 100:110].any()
