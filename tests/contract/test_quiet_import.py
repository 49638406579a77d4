"""Importing the package does nothing: no file, no socket, no environment variable, no thread count, no torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

WATCH = """
import os, sys
events = []
def audit(event, arguments):
    if event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+"):
        events.append(f"{event} {arguments[0]}")
    elif event.split(".")[0] in {"socket", "subprocess"} or event in {"os.mkdir", "os.rename", "os.remove", "os.system"}:
        events.append(f"{event} {arguments}")
environment = dict(os.environ)
sys.addaudithook(audit)
"""


EXPECTED = "True [] True False False"


def run(code: str, cwd: Path) -> str:
    done = subprocess.run([sys.executable, "-B", "-c", code], capture_output=True, text=True, cwd=cwd, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_import_has_no_effect(tmp_path: Path) -> None:
    out = run(
        WATCH
        + "import yolocore\nprint(events, dict(os.environ) == environment, 'torch' in sys.modules, dir(yolocore))",
        tmp_path,
    )
    assert out.startswith("[] True False")
    for name in ("YOLO", "settings", "__version__"):
        assert name in out


def test_the_facade_leaves_torch_as_it_is(tmp_path: Path) -> None:
    code = """
from yolocore import YOLO, settings
before = (torch.get_num_threads(), torch.get_num_interop_threads(), repr(torch.tensor([1.23456789])),
          numpy.get_printoptions(), torch.save, torch.load, logging.getLogger().handlers[:], logging.getLogger().level)
YOLO("yolo11n.yaml")
after = (torch.get_num_threads(), torch.get_num_interop_threads(), repr(torch.tensor([1.23456789])),
         numpy.get_printoptions(), torch.save, torch.load, logging.getLogger().handlers[:], logging.getLogger().level)
print(before == after, events, dict(os.environ) == environment, "matplotlib" in sys.modules, "pandas" in sys.modules)
"""
    # torch and OpenCV do things of their own when they are imported, so they come first
    assert run("import cv2, torch, numpy, logging, torchvision\n" + WATCH + code, tmp_path).strip() == EXPECTED


@pytest.mark.parametrize("command", ["version", "help", "settings", "cfg"])
def test_light_commands_need_no_torch(command: str, tmp_path: Path) -> None:
    code = f"""
import sys
from yolocore.cli import main
try:
    main(["{command}"])
except SystemExit as end:
    assert not end.code, end.code
print("torch" in sys.modules, "cv2" in sys.modules, file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.stderr.strip().endswith("False False"), done.stderr


def test_training_writes_only_into_its_run_and_the_users_folders(tiny_dataset: Path, tmp_path: Path) -> None:
    code = """
from yolocore import YOLO
model = YOLO("yolo11n.yaml")
model.train(data=DATA, imgsz=32, epochs=1, batch=4, workers=0, device="cpu", project=PROJECT, plots=True)
model.predict(DATA.replace("data.yaml", "images/val"), imgsz=32, device="cpu", save=True, project=PROJECT)
model.export(format="torchscript", imgsz=32, device="cpu")
home = (PROJECT, os.environ["YOLOCORE_CONFIG_DIR"], os.environ["YOLOCORE_CACHE_DIR"], CACHE, "/tmp", "/dev")
events = [e for e in events if not e.startswith("socket.gethostname")]
bad = [e for e in events if not any(f"{e.split(' ', 1)[1]}".lstrip("('").startswith(h) for h in home)]
dataset = os.path.dirname(DATA)
bad += [e for e in events if f" {dataset}" in e or f"('{dataset}" in e]
bad += [e for e in events if e.split(".")[0] in {"socket", "subprocess"}]
print(bad)
"""
    cache = Path.home() / ".cache"  # matplotlib keeps its font list there
    setup = f"\nDATA, PROJECT, CACHE = {str(tiny_dataset)!r}, {str(tmp_path / 'runs')!r}, {str(cache)!r}\n"
    assert run("import cv2, torch, matplotlib\n" + WATCH + setup + code, tmp_path).strip().splitlines()[-1] == "[]"
