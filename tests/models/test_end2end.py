"""Networks that predict detections as they are: nothing is suppressed, in memory or from an exported file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from yolocore import YOLO
from yolocore.kernels.dispatch import confident_rows

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def trained(tiny_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> YOLO:
    model = YOLO("yolo26n.yaml")
    model.train(
        data=str(tiny_dataset), imgsz=32, epochs=1, batch=4, nbs=4, workers=0, device="cpu", verbose=False,
        plots=False, project=str(tmp_path_factory.mktemp("end2end")), name="exp", plugins="none",
    )  # fmt: skip
    return model


def test_rows_are_filtered_and_cut_but_never_suppressed():
    twice = [[0.0, 0.0, 8.0, 8.0, 0.9, 1.0], [0.0, 0.0, 8.0, 8.0, 0.8, 1.0], [1.0, 1.0, 4.0, 4.0, 0.3, 0.0]]
    rows = torch.tensor([twice, [[0.0] * 6] * 3])
    assert [len(found) for found in confident_rows(rows, 0.5)] == [2, 0]
    assert confident_rows(rows, 0.1, classes=[0])[0].tolist() == [pytest.approx(twice[2])]
    assert confident_rows(rows, 0.1, max_det=1)[0].tolist() == [pytest.approx(twice[0])]


def test_training_measures_it(trained: YOLO):
    assert np.isfinite(list(trained.trainer.metrics.values())).all()
    assert trained.trainer.loss_names == ("box_loss", "cls_loss", "dfl_loss")


def test_predictions_are_the_best_rows_of_the_head(trained: YOLO):
    image = np.random.default_rng(0).integers(0, 255, (32, 32, 3), np.uint8)
    found = trained.predict(image, conf=0.0, max_det=20, imgsz=32, verbose=False)[0].boxes
    planes = torch.from_numpy(image[..., ::-1].copy()).permute(2, 0, 1)[None].float() / 255
    with torch.inference_mode():
        decoded, _ = trained.model.float().eval()(planes)  # (1, N, 6)
    count = min(20, decoded.shape[1])
    assert len(found) == count
    torch.testing.assert_close(found.conf.cpu(), decoded[0, :count, 4], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("form", ["torchscript", "onnx"])
def test_an_exported_file_says_that_it_is_end_to_end(trained: YOLO, form: str):
    file = trained.export(format=form, imgsz=32)
    image = np.random.default_rng(1).integers(0, 255, (32, 32, 3), np.uint8)
    expected = trained.predict(image, conf=0.0, max_det=10, imgsz=32, verbose=False)[0].boxes
    found = YOLO(str(file), task="detect").predict(image, conf=0.0, max_det=10, imgsz=32, verbose=False)[0].boxes
    torch.testing.assert_close(found.conf, expected.conf, atol=1e-4, rtol=1e-3)
