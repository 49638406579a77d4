"""A small detector, exported once per session."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from yolocore.nn.tasks import DetectionModel

TINY = {
    "nc": 4,
    "scales": {"n": [1.0, 1.0, 64]},
    "scale": "n",
    "backbone": [[-1, 1, "Conv", [8, 3, 2]], [-1, 1, "Conv", [16, 3, 4]], [-1, 1, "C3k2", [16, True]]],
    "head": [
        [-1, 1, "Conv", [16, 3, 2]],
        [-1, 1, "Conv", [16, 3, 2]],
        [-1, 1, "nn.Upsample", [None, 2, "nearest"]],
        [[-1, 3], 1, "Concat", [1]],
        [[2, 6, 4], 1, "Detect", ["nc"]],
    ],
}


@pytest.fixture(scope="session")
def detector() -> DetectionModel:
    """A detector with strides 8, 16 and 32 whose batch norms are not trivial."""
    torch.manual_seed(0)
    model = DetectionModel(TINY, verbose=False)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.5, 1.5)
                module.weight.uniform_(0.5, 1.5)
    model.names = {0: "ant", 1: "bee", 2: "ça va", 3: "日本"}
    return model.eval()


@pytest.fixture
def run(detector, tmp_path):
    """Export with arguments; return the path of the artefact."""
    from yolocore.engine.exporter import Exporter

    def export(**arguments: Any) -> str:
        overrides = {"model": str(tmp_path / "dét ector.pt"), "imgsz": [64, 96], **arguments}
        return Exporter(overrides=overrides)(model=detector)

    return export
