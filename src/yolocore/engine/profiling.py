"""How fast the network runs elsewhere: measured once for the experiment trackers when ``profile`` is on."""

from __future__ import annotations

import logging
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from yolocore.engine.exporter import Exporter
from yolocore.errors import YolocoreError
from yolocore.nn.backends import load_backend

if TYPE_CHECKING:
    from yolocore.nn.tasks import BaseModel

LOGGER = logging.getLogger(__name__)
RUNS = 10


def exported_speed(model: BaseModel, imgsz: int) -> dict[str, float]:
    """Return ``model/speed_ONNX(ms)``, the median of a few runs on one image, CPU; empty where it cannot be measured."""
    with tempfile.TemporaryDirectory() as folder:
        weights = str(Path(folder) / "profile.pt")
        overrides = {"format": "onnx", "imgsz": imgsz, "device": "cpu", "plugins": "none", "model": weights}
        try:
            backend = load_backend(Exporter(overrides={**overrides, "task": model.task})(model=model))
        except YolocoreError as error:
            LOGGER.warning("profile: the speed of ONNX is not measured: %s", error)
            return {}
        image = torch.zeros(1, 3, imgsz, imgsz)
        backend(image)
        times = []
        for _ in range(RUNS):
            started = time.perf_counter()
            backend(image)
            times.append(time.perf_counter() - started)
    return {"model/speed_ONNX(ms)": round(statistics.median(times) * 1000, 3)}
