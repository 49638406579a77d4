"""Figures: they exist, show what they should, and touch no global state."""

from __future__ import annotations

import subprocess
import sys

import cv2
import numpy as np
import pytest
import torch

from yolocore.errors import DataError
from yolocore.utils import figures

CLASSES = ["cat", "dog", "owl"]
NAMES = dict(enumerate(CLASSES))
X = np.linspace(0, 1, 1000)


def picture(path) -> np.ndarray:
    image = cv2.imread(str(path))
    assert image is not None, f"{path} is no image"
    return image


def ink(image: np.ndarray) -> float:
    """Share of pixels that are not white."""
    return float((image < 250).any(-1).mean())


@pytest.mark.slow
def test_importing_the_figures_does_not_import_matplotlib():
    code = "import sys, yolocore.utils.figures; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("classes", [0, 3, 20])
def test_curves(tmp_path, classes):
    y = np.linspace(1, 0, 1000)[None] * np.linspace(0.2, 1, classes)[:, None]
    names = [str(i) for i in range(classes)]
    pr = figures.plot_pr_curve(X, y, y.mean(1), names, tmp_path / "new" / "BoxPR_curve.png")
    f1 = figures.plot_confidence_curve(X, y, names, tmp_path / "BoxF1_curve.png")
    for path in (pr, f1):
        assert picture(path).shape == (750, 1050, 3)
        assert ink(picture(path)) > (0.02 if classes else 0.003)


@pytest.mark.parametrize("normalized", [False, True])
@pytest.mark.parametrize("n", [1, 4, 130])
def test_confusion_matrix(tmp_path, n, normalized):
    matrix = np.eye(n) * (1 if normalized else 50)
    labels = [f"class {i}" for i in range(n)]
    path = figures.plot_confusion_matrix(matrix, labels, tmp_path / "cm.png", normalized=normalized)
    assert ink(picture(path)) > 0.01


def test_empty_confusion_matrix(tmp_path):
    assert figures.plot_confusion_matrix(np.zeros((4, 4)), [*CLASSES, "background"], tmp_path / "cm.png").exists()


@pytest.mark.parametrize("objects", [0, 1, 1500])
def test_label_statistics(tmp_path, objects):
    rng = np.random.default_rng(0)
    path = figures.plot_labels(rng.random((objects, 4)), rng.integers(3, size=objects), NAMES, tmp_path / "labels.jpg")
    assert picture(path).shape == (1080, 1320, 3)


def test_label_statistics_of_rotated_boxes_ignore_the_angle(tmp_path):
    assert figures.plot_labels(np.random.default_rng(0).random((5, 5)), np.zeros(5), NAMES, tmp_path / "l.jpg").exists()


CSV = """epoch,time,train/box_loss,metrics/mAP50(B),val/box_loss,lr/pg0,lr/pg1,extra
1,2.5,3.0,,,0.01,0.02,
2,5.0,2.5,0.2,2.8,0.009,0.018,7
3,7.5,2.0,0.3,2.4,0.008,0.016,8
"""


def test_results_from_a_copied_file(tmp_path):
    file = tmp_path / "copy.csv"
    file.write_text(CSV)
    assert figures.plot_results(file) == tmp_path / "copy.png"
    assert ink(picture(tmp_path / "copy.png")) > 0.01
    columns = figures.read_results(file)
    assert np.isnan(columns["metrics/mAP50(B)"]).tolist() == [True, False, False]
    assert columns["extra"][1:].tolist() == [7, 8]


def test_one_epoch_without_validation(tmp_path):
    file = tmp_path / "results.csv"
    file.write_text("\n".join(CSV.splitlines()[:2]))
    assert figures.plot_results(file, tmp_path / "other.png").exists()


@pytest.mark.parametrize(("text", "message"), [("epoch,time\n", "no rows"), ("epoch,a\n1,x\n", "column 'a'")])
def test_results_that_cannot_be_read(tmp_path, text, message):
    file = tmp_path / "results.csv"
    file.write_text(text)
    with pytest.raises(DataError, match=message):
        figures.plot_results(file)


def batch(count: int, size: tuple[int, int] = (64, 96), dtype=torch.uint8) -> dict:
    images = torch.full((count, 3, *size), 128 if dtype == torch.uint8 else 0.5, dtype=dtype)
    images[:, 0] = 255 if dtype == torch.uint8 else 1.0  # red
    return {
        "img": images,
        "cls": torch.tensor([[0.0], [2.0]]),
        "bboxes": torch.tensor([[0.5, 0.5, 0.5, 0.5], [0.25, 0.25, 0.2, 0.2]]),
        "batch_idx": torch.tensor([0.0, 0.0]),
        "im_file": tuple(f"/somewhere/a picture {i}.jpg" for i in range(count)),
    }


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_mosaic_keeps_the_colours(tmp_path, dtype):
    image = picture(figures.plot_images(batch(1, (200, 200), dtype), tmp_path / "b.png", NAMES))
    assert image.shape == (200, 200, 3)
    assert image[150, 190].tolist() == [128, 128, 255]  # BGR


@pytest.mark.parametrize(("count", "shape"), [(2, (64, 196)), (5, (132, 296)), (30, (268, 396))])
def test_mosaic_shows_at_most_sixteen_images_in_a_grid(tmp_path, count, shape):
    assert picture(figures.plot_images(batch(count), tmp_path / "b.jpg", NAMES)).shape[:2] == shape


def test_large_mosaics_are_reduced(tmp_path):
    assert max(picture(figures.plot_images(batch(4, (1400, 1400)), tmp_path / "b.jpg", NAMES)).shape) <= 1930


def test_labels_in_pixels_of_the_batch():
    first, second = figures.batch_labels(batch(2, (64, 96)))
    assert first.boxes.tolist() == [[24, 16, 72, 48], pytest.approx([14.4, 9.6, 33.6, 22.4])]
    assert first.cls.tolist() == [0, 2]
    assert len(second.boxes) == 0


def test_predictions_below_a_quarter_are_not_drawn(tmp_path):
    boxes, cls = np.array([[20.0, 20, 180, 180]]), np.array([1.0])
    images = torch.zeros(1, 3, 200, 200)

    def drawn(conf: float) -> float:
        found = figures.Drawn(boxes, cls, np.array([conf]))
        return float((picture(figures.plot_mosaic(images, [found], tmp_path / "p.png", NAMES)) > 30).mean())

    assert drawn(0.2) == 0.0
    assert drawn(0.9) > 0.01
