"""A stranger's pip-installed plugin sees a real run, and cannot harm it."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path

import pytest
import torch
from plugin_dist import install_plugin, run

from yolocore.hooks import EVENTS
from yolocore.nn.checkpoint import read_checkpoint

RUN_ALL_MODES = """
import sys
from yolocore import YOLO
data, project = sys.argv[1:]
common = dict(imgsz=32, device="cpu", workers=0, project=project)
model = YOLO("yolo11n.yaml")
model.train(data=data, epochs=2, batch=4, nbs=4, warmup_epochs=0, name="train", **common)
model.val(data=data, **common)
model.predict([sys.argv[1].replace("data.yaml", "images/val/0.png")], imgsz=32, device="cpu")
model.export(format="torchscript", imgsz=32, device="cpu")
"""
FAULTY = '''
"""Fails in the middle of the training."""


class Faulty:
    def on_train_batch_end(self, trainer):
        if trainer.context.global_step == 2:
            raise RuntimeError("the service is down")

    def teardown(self, trainer):
        raise SystemExit("and so am I")
'''


def test_it_receives_all_25_events(tiny_dataset: Path, tmp_path: Path) -> None:
    site = install_plugin(tmp_path)
    log = tmp_path / "events.jsonl"
    run(
        [sys.executable, "-c", RUN_ALL_MODES, str(tiny_dataset), str(tmp_path / "runs")],
        path=site,
        cwd=tmp_path,
        YOLOCORE_WITNESS=str(log),
    )
    records = [json.loads(line) for line in log.read_text().splitlines()]
    counts = Counter(record["event"] for record in records)
    assert set(counts) == set(EVENTS)
    assert counts["on_fit_epoch_end"] == 2
    assert counts["optimizer_step"] == counts["on_params_update"] == counts["on_train_batch_end"] == 6
    assert counts["on_val_start"] == 4  # two epochs, the final evaluation, the validation alone
    assert all(record["context"] == record["event"] for record in records)


def test_a_failing_one_is_switched_off_and_named(tiny_dataset: Path, tmp_path: Path) -> None:
    """The training ends with the same weights as one without the plugin."""
    site = install_plugin(tmp_path, FAULTY, name="faulty", attribute="Faulty", distribution="yolocore-faulty")
    command = [
        sys.executable, "-m", "yolocore.cli", "detect", "train", f"data={tiny_dataset}", "model=yolo11n.yaml",
        "imgsz=32", "epochs=2", "batch=4", "workers=0", "device=cpu", "plots=False", f"project={tmp_path / 'runs'}",
    ]  # fmt: skip
    run([*command, "name=with"], path=site, cwd=tmp_path)
    run([*command, "name=without"], cwd=tmp_path)
    reports = {r["name"]: r for r in json.loads((tmp_path / "runs" / "with" / "plugins.json").read_text())}
    faulty = reports["faulty"]
    assert faulty["state"] == "off"
    assert faulty["distribution"] == "yolocore-faulty"
    assert "the service is down" in faulty["reason"]
    assert faulty["errors"] == 1
    assert all(r["state"] == "active" for name, r in reports.items() if name != "faulty")
    weights = [read_checkpoint(tmp_path / "runs" / n / "weights" / "last.pt").state_dict for n in ("with", "without")]
    assert all(torch.equal(v, weights[1][k]) for k, v in weights[0].items())


def test_plugin_errors_raise_stops_the_run(tiny_dataset: Path, tmp_path: Path) -> None:
    source = FAULTY[: FAULTY.index("    def teardown")]
    site = install_plugin(tmp_path, source, name="faulty", attribute="Faulty", distribution="yolocore-faulty")
    with pytest.raises(AssertionError, match="the service is down"):
        run(
            [sys.executable, "-m", "yolocore.cli", "train", f"data={tiny_dataset}", "model=yolo11n.yaml", "imgsz=32",
             "epochs=1", "batch=4", "workers=0", "device=cpu", "plots=False", "plugin_errors=raise"],
            path=site, cwd=tmp_path,
        )  # fmt: skip
