"""A task that the core knows nothing of, from a wheel: trained, evaluated, predicted, resumed, exported."""

from __future__ import annotations

import csv
import json
import shutil
import sys
from pathlib import Path

import pytest
from plugin_dist import install_project, run

pytestmark = pytest.mark.slow
EXAMPLE = Path(__file__).parents[2] / "examples" / "yolocore-regress"
SMALL = """
nc: 1
backbone:
  - [-1, 1, Conv, [16, 3, 2]]
  - [-1, 1, Conv, [32, 3, 2]]
  - [-1, 1, Conv, [64, 3, 2]]
head:
  - [-1, 1, RegressHead, [nc]]
"""
IN_PYTHON = """
import json, math, sys, torch
from yolocore import YOLO
data, picture = sys.argv[1:]
common = dict(imgsz=32, device="cpu", workers=0, project="runs")
model = YOLO("small.yaml")
metrics = model.train(data=data, epochs=24, batch=8, nbs=8, lr0=0.003, optimizer="AdamW", name="train", **common)
best = YOLO(model.trainer.best)
again = best.val(data=data, **common)
result = best.predict(picture, imgsz=32, device="cpu")[0]
path = best.export(format="state_dict", imgsz=32)
copy = YOLO(path)
onnx = YOLO(best.export(format="torchscript", imgsz=32), task="regress")
print(json.dumps({
    "task": best.task, "names": best.names, "mae": metrics.mae, "again": again.mae, "csv": str(model.trainer.csv),
    "value": result.values["angle"], "copy": copy.predict(picture, imgsz=32, device="cpu")[0].values["angle"],
    "exported": onnx.predict(picture, imgsz=32, device="cpu")[0].values["angle"], "plugins": "regress" in best.task_map,
}))
"""
INTERRUPTED = """
import sys, torch
from yolocore import YOLO
from yolocore.nn.checkpoint import read_checkpoint
common = dict(data=sys.argv[1], epochs=4, batch=8, nbs=8, imgsz=32, device="cpu", workers=0, plots=False, project="runs")
YOLO("small.yaml").train(name="whole", **common)
model = YOLO("small.yaml")
def stop(trainer):
    if trainer.epoch == 1:
        raise KeyboardInterrupt
model.add_callback("on_fit_epoch_end", stop)
try:
    model.train(name="cut", **common)
except KeyboardInterrupt:
    YOLO("runs/cut/weights/last.pt").train(resume=True)
one, two = (read_checkpoint(f"runs/{n}/weights/last.pt").state_dict for n in ("whole", "cut"))
print(len(one), all(torch.equal(v, two[k]) for k, v in one.items()))
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("regress")
    project = folder / EXAMPLE.name
    shutil.copytree(EXAMPLE, project, ignore=shutil.ignore_patterns("__pycache__"))
    return install_project(project, folder)


@pytest.fixture
def dials(site: Path, tmp_path: Path) -> Path:
    (tmp_path / "small.yaml").write_text(SMALL)
    run([sys.executable, "-c", "from yolocore_regress import make_dials; make_dials('dials')"], path=site, cwd=tmp_path)
    return tmp_path / "dials" / "data.yaml"


def test_in_python_it_learns_and_every_form_agrees(site: Path, dials: Path, tmp_path: Path) -> None:
    picture = dials.parent / "images" / "val" / "0.png"
    out = run([sys.executable, "-c", IN_PYTHON, str(dials), str(picture)], path=site, cwd=tmp_path)
    found = json.loads(out.splitlines()[-1])
    assert (found["task"], found["names"], found["plugins"]) == ("regress", {"0": "angle"}, True)
    assert found["mae"] < 20  # the mean of the training numbers is 45 degrees off
    assert found["again"] == pytest.approx(found["mae"], rel=1e-4)
    assert found["copy"] == pytest.approx(found["value"], rel=1e-5)
    assert found["exported"] == pytest.approx(found["value"], rel=1e-4)
    rows = list(csv.DictReader((tmp_path / found["csv"]).read_text().splitlines()))
    assert len(rows) == 24
    assert list(rows[0])[:7] == [
        *("epoch", "time", "train/loss", "metrics/mae", "metrics/rmse", "metrics/r2", "val/loss"),
    ]
    assert float(rows[-1]["metrics/mae"]) < float(rows[0]["metrics/mae"])


def test_at_the_prompt(site: Path, dials: Path, tmp_path: Path) -> None:
    yolo = [sys.executable, "-m", "yolocore.cli"]
    common = ["imgsz=32", "device=cpu", "project=runs", "verbose=False"]
    # no model is named: the task's own default, which the plugin registered
    run([*yolo, "regress", "train", f"data={dials}", "epochs=1", "plots=False", *common], path=site, cwd=tmp_path)
    best = "model=runs/train/weights/best.pt"
    assert "regress" in (tmp_path / "runs" / "train" / "args.yaml").read_text()
    assert "yolo11n-regress" in (tmp_path / "runs" / "train" / "args.yaml").read_text()
    run(
        [*yolo, "val", best, f"data={dials}", "plots=False", *common], path=site, cwd=tmp_path
    )  # the weights tell the task
    source = f"source={dials.parent / 'images' / 'val'}"
    run([*yolo, "regress", "predict", best, source, "save_txt=True", *common], path=site, cwd=tmp_path)
    labels = sorted((tmp_path / "runs" / "predict" / "labels").iterdir())
    assert len(labels) == 16
    assert 0 <= float(labels[0].read_text()) <= 180
    assert len(list((tmp_path / "runs" / "predict").glob("*.png"))) == 16
    out = run([*yolo, "checkpoint", "info", "runs/train/weights/best.pt", "--json"], path=site, cwd=tmp_path)
    assert json.loads(out)["task"] == "regress"
    out = run([*yolo, "help", "regress"], path=site, cwd=tmp_path)
    assert "Modes" in out


def test_a_resumed_training_ends_with_the_same_weights(site: Path, dials: Path, tmp_path: Path) -> None:
    out = run([sys.executable, "-c", INTERRUPTED, str(dials)], path=site, cwd=tmp_path)
    assert out.splitlines()[-1] == "28 True"


def test_without_the_distribution_the_error_says_what_is_missing(site: Path, dials: Path, tmp_path: Path) -> None:
    from yolocore import YOLO
    from yolocore.errors import YolocoreError

    with pytest.raises(YolocoreError, match="RegressHead"):
        YOLO(tmp_path / "small.yaml")
    with pytest.raises(YolocoreError, match="'regress' is unknown"):
        YOLO("yolo11n.yaml", task="regress")
