"""Whole command lines: dispatch to the facade, messages, exit statuses, signals."""

from __future__ import annotations

import errno
import logging
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

import pytest

import yolocore
from yolocore.cli import main
from yolocore.cli.signals import no_lost_interrupt
from yolocore.errors import ExportError, ModelError, NonFiniteLossError


class Facade:
    """Stands in for the model facade: records calls, and does what a test asks for."""

    calls: ClassVar[list[tuple[str, dict[str, Any]]]] = []
    effect: Any = None

    def __init__(self, model: str, task: str | None = None) -> None:
        self.calls.append(("YOLO", {"model": model, "task": task}))

    def __getattr__(self, mode: str) -> Any:
        def run(**arguments: Any) -> Any:
            self.calls.append((mode, arguments))
            effect = type(self).effect
            if isinstance(effect, BaseException):
                raise effect
            return iter([1, 2]) if arguments.get("stream") else (effect() if effect else "result")

        return run


@pytest.fixture
def facade(monkeypatch: pytest.MonkeyPatch) -> type[Facade]:
    monkeypatch.setitem(vars(yolocore), "YOLO", Facade)
    monkeypatch.setattr(Facade, "calls", [])
    monkeypatch.setattr(Facade, "effect", None)
    return Facade


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a model, images and a dataset description."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("YOLOCORE_CONFIG_DIR", str(tmp_path / "config"))
    for name in ("best.pt", "best-pose.pt", "bus.jpg"):
        (tmp_path / name).touch()
    for split in ("train", "val"):
        (tmp_path / "set" / "images" / split).mkdir(parents=True)
        (tmp_path / "set" / "images" / split / "a.jpg").touch()
    (tmp_path / "set.yaml").write_text("path: set\ntrain: images/train\nval: images/val\nnames: [cat]\n")
    return tmp_path


@pytest.mark.parametrize(
    ("line", "model", "task", "mode", "arguments"),
    [
        (
            "train data=set.yaml epochs=3",
            "yolo11n.yaml",
            None,
            "train",
            {"data": "set.yaml", "epochs": 3, "verbose": True, "plots": True},
        ),
        (
            "detect train best.pt data=set.yaml plots=False verbose=False",
            "best.pt",
            "detect",
            "train",
            {"data": "set.yaml", "plots": False, "verbose": False},
        ),
        (
            "val model=best.pt data=set.yaml",
            "best.pt",
            None,
            "val",
            {"data": "set.yaml", "verbose": True, "plots": True},
        ),
        (
            "predict best.pt source=bus.jpg conf=0.5",
            "best.pt",
            None,
            "predict",
            {"source": "bus.jpg", "stream": True, "conf": 0.5, "verbose": True, "save": True},
        ),
        (
            "track best.pt source=bus.jpg save=False",
            "best.pt",
            None,
            "track",
            {"source": "bus.jpg", "stream": True, "save": False, "verbose": True},
        ),
        ("export best.pt format=onnx", "best.pt", None, "export", {"format": "onnx", "verbose": True}),
        ("benchmark best.pt", "best.pt", None, "benchmark", {"verbose": True}),
        (
            "train resume=best.pt",
            "best.pt",
            None,
            "train",
            {"resume": "best.pt", "verbose": True, "plots": True},
        ),
        ("pose val model=best-pose.pt", "best-pose.pt", "pose", "val", {"verbose": True, "plots": True}),
    ],
)
def test_dispatch(
    facade: type[Facade], line: str, model: str, task: str | None, mode: str, arguments: dict[str, object]
) -> None:
    assert main(line.split()) == 0
    assert facade.calls == [("YOLO", {"model": model, "task": task}), (mode, arguments)]


def test_terminal_defaults_yield_to_a_file(facade: type[Facade], here: Path) -> None:
    (here / "my.yaml").write_text("plots: true\nsave: true\nmode: predict\n")
    assert main(["predict", "best.pt", "source=bus.jpg", "cfg=my.yaml"]) == 0
    assert facade.calls[1][1] == {"source": "bus.jpg", "stream": True, "cfg": "my.yaml", "verbose": True}


def test_resume_takes_the_newest_checkpoint(facade: type[Facade], here: Path) -> None:
    for number, name in enumerate(("a", "b", "c")):
        file = here / "runs" / "detect" / name / "weights" / "last.pt"
        file.parent.mkdir(parents=True)
        file.touch()
        os.utime(file, (10**9 + (number % 2), 10**9 + (number % 2)))
    assert main(["train", "resume"]) == 0
    assert facade.calls[0][1]["model"] == str(Path("runs/detect/b/weights/last.pt"))


def test_resume_without_a_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "resume"]) == 2
    assert "resume: no last.pt below" in capsys.readouterr().err


def test_benchmark_prints_its_table(facade: type[Facade], capsys: pytest.CaptureFixture[str]) -> None:
    facade.effect = lambda: "the table"
    assert main(["benchmark", "best.pt"]) == 0
    assert capsys.readouterr().out == "the table\n"


WRONG = {
    "trian": "Did you mean 'train'",
    "detect": "no mode is given",
    "detect epochs=3": "yolo detect train",
    "train epochs": "epochs needs a value, for example epochs=100",
    "predict source=/no/such": "no such file or folder; / is the part that exists",
    "predict source=bus.jpeg": "Did you mean 'bus.jpg'",
    "predict source=*.gif": "no file matches this pattern",
    "predict source=bus.jpg": "model='yolo11n.pt': no such file",
    "predict model=bets.pt": "Did you mean 'best.pt'",
    "train model=yolo13n.yaml": "yolo11.yaml",
    "train model=nowhere/yolo11n.yaml": "no such file",
    "train data=ste.yaml": "Did you mean 'set.yaml'",
    "val best.pt data=nowhere": "nowhere",
    "train epoch=3 lro=1": "Did you mean 'lrf', 'lr0'",
    "train epochs=ten": "epochs='ten' (str): accepted: int >= 1",
    "train epochs=0": "epochs=0 (int): allowed: >= 1",
    "train batch=0": "batch=0 (int)",
    "train imgsz=0": "imgsz=0 (int): allowed: >= 32",
    "train lr0=nan": "lr0='nan' (str)",
    "train cfg=none.yaml": "cfg='none.yaml': no such file",
    "train task=detcet": "Did you mean 'detect'",
    "train wandb.project=x": "no plugin 'wandb' is installed",
    "train train val=1": "val=1 (int): accepted: bool",
    "help nothing": "no help for 'nothing'",
    "settings rundir=x": "Did you mean 'runs_dir'",
    "settings wandb=maybe": "setting wandb='maybe' (str): accepted: bool",
    "settings runs_di": "Did you mean 'runs_dir'",
    "cfg trian": "Did you mean 'train'",
    "copy-cfg set.yaml": "set.yaml exists and is left as it is",
    "copy-cfg a b": "unexpected extra argument",
    "plugins": "",
    "plugins lits": "lits",
    "check": "check needs a dataset",
    "check data=ste.yaml": "Did you mean 'set.yaml'",
    "yolo11n.yaml": "no mode is given",
    "nonsense": "'nonsense' is no task, mode or on/off argument",
}


@pytest.mark.parametrize("line", WRONG)
def test_wrong_lines_exit_2_with_one_paragraph(
    facade: type[Facade], capsys: pytest.CaptureFixture[str], line: str
) -> None:
    assert main(line.split()) == 2
    out, err = capsys.readouterr()
    assert WRONG[line] in " ".join(err.split())
    assert "Traceback" not in out + err
    assert "\n\n" not in err.strip()
    assert facade.calls == []


def test_a_mode_the_facade_lacks(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(vars(yolocore), "YOLO", lambda model, task: object())
    assert main(["benchmark", "best.pt"]) == 2
    assert "benchmark is not part of this version" in capsys.readouterr().err


def test_a_pattern_and_odd_names_are_found(facade: type[Facade], here: Path) -> None:
    (here / "ü [1] x.jpg").touch()
    assert main(["predict", "best.pt", "source=*.jpg"]) == 0
    assert main(["predict", "best.pt", "source=ü [1] x.jpg"]) == 0
    assert main(["predict", "best.pt", f"source={here}/**/*.jpg"]) == 0
    for source in ("0", "rtsp://host/live", "https://host/x.jpg", "screen 0"):
        assert main(["predict", "best.pt", f"source={source}"]) == 0
    assert main(["predict", "best.pt"]) == 0


def test_too_long_a_path_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", f"source={'x' * 5000}"]) == 2
    assert capsys.readouterr().err.split()[1].startswith("source=")


def test_weights_dir_is_searched(facade: type[Facade], here: Path) -> None:
    (here / "weights").mkdir()
    (here / "weights" / "yolo11n.pt").touch()
    assert main(["predict", "source=bus.jpg"]) == 0
    assert facade.calls[0] == ("YOLO", {"model": "yolo11n.pt", "task": None})


@pytest.mark.parametrize(
    ("effect", "status", "words"),
    [
        (ModelError("bad layer"), 2, "error: bad layer"),
        (NonFiniteLossError("loss is nan"), 1, "error: loss is nan"),
        (ExportError("no"), 1, "error: no"),
        (RuntimeError("boom"), 1, "error: RuntimeError: boom"),
        (OSError(errno.ENOSPC, "No space left on device", "runs/x"), 2, "No space left on device"),
        (OSError(errno.EIO, "Input/output error"), 1, "error: OSError:"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (SystemExit(143), 143, ""),
        (SystemExit(), 0, ""),
        (SystemExit("words"), 1, ""),
    ],
)
def test_exit_status(
    facade: type[Facade],
    capsys: pytest.CaptureFixture[str],
    effect: BaseException,
    status: int,
    words: str,
) -> None:
    facade.effect = effect
    assert main(["export", "best.pt"]) == status
    err = capsys.readouterr().err
    assert words in " ".join(err.split())
    assert "Traceback" not in err


def test_debug_shows_the_traceback(facade: type[Facade], capsys: pytest.CaptureFixture[str]) -> None:
    facade.effect = RuntimeError("boom")
    assert main(["export", "--debug", "best.pt"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_sigterm_unwinds_and_exits_143(facade: type[Facade]) -> None:
    before = signal.getsignal(signal.SIGTERM)
    facade.effect = lambda: os.kill(os.getpid(), signal.SIGTERM)
    assert main(["export", "best.pt"]) == 143
    assert signal.getsignal(signal.SIGTERM) is before


def test_an_interrupt_that_an_import_swallows_ends_the_command_all_the_same() -> None:
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), no_lost_interrupt(), suppress(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before
    with no_lost_interrupt():
        pass
    assert signal.getsignal(signal.SIGINT) is before


def test_an_interrupt_while_the_program_loads_leaves_no_traceback() -> None:
    lines = (
        "import builtins, signal, sys",
        "load = builtins.__import__",
        "def interrupted(name, *rest):",
        "    if name == 'yolocore.cli.program': signal.raise_signal(signal.SIGINT)",
        "    return load(name, *rest)",
        "from yolocore.cli import main",
        "builtins.__import__ = interrupted",
        "sys.exit(main(['checks']))",
    )
    done = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "interrupted\n")


def test_logging_goes_to_stderr_and_is_put_back(facade: type[Facade], capsys: pytest.CaptureFixture[str]) -> None:
    logger = logging.getLogger("yolocore.engine")
    handlers = list(logging.getLogger("yolocore").handlers)

    def effect() -> None:
        logger.debug("detail")
        logger.info("[bold]a plain line[/bold] that is far longer than eighty columns " + "x" * 80)
        logger.warning("careful")

    facade.effect = effect
    main(["export", "best.pt"])
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines()[0].startswith("[bold]a plain line[/bold]")
    assert err.splitlines()[1] == "warning: careful"
    main(["export", "best.pt", "--debug"])
    assert "detail" in capsys.readouterr().err
    assert logging.getLogger("yolocore").handlers == handlers


def test_a_path_in_an_error_stays_in_one_piece(capsys: pytest.CaptureFixture[str]) -> None:
    path = "/".join(["folder"] * 15) + "/data.yaml"
    assert main(["check", f"data={path}"]) == 2
    assert path in capsys.readouterr().err


def test_interactions_are_told_once(facade: type[Facade], capsys: pytest.CaptureFixture[str], here: Path) -> None:
    """The check before the run says nothing; the engine, which merges again, will."""
    assert main(["predict", "best.pt", "source=bus.jpg", "hide_labels", "save_conf"]) == 0
    assert capsys.readouterr().err == ""


NO_TORCH = """
import sys
from yolocore.cli import main
status = main(sys.argv[2:])
loaded = [name for name in sys.argv[1].split(",") if name in sys.modules]
sys.exit(f"loaded: {loaded}" if loaded else status)
"""
HEAVY = "torch,torchvision,cv2,numpy,matplotlib,pandas"


@pytest.mark.parametrize(
    ("line", "forbidden", "status"),
    [
        ("version", f"{HEAVY},typer,pydantic,rich,yaml,platformdirs,filelock", 0),
        ("help", HEAVY, 0),
        ("help train", HEAVY, 0),
        ("settings", HEAVY, 0),
        ("settings runs_dir=x", HEAVY, 0),
        ("cfg", HEAVY, 0),
        ("cfg schema", HEAVY, 0),
        ("plugins list", HEAVY, 0),
        ("trian", HEAVY, 2),
        ("predict source=/no/such", HEAVY, 2),
        ("train data=/no/such.yaml", "torch,torchvision,matplotlib", 2),
    ],
)
def test_what_is_not_loaded(line: str, forbidden: str, status: int) -> None:
    result = subprocess.run(
        [sys.executable, "-c", NO_TORCH, forbidden, *line.split()],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == status, result.stderr


def test_the_module_is_a_program() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "yolocore.cli", "version"], capture_output=True, text=True, check=True
    )
    assert result.stdout == f"{yolocore.__version__}\n"


def test_a_closed_pipe_is_no_error() -> None:
    command = f"{sys.executable} -m yolocore.cli cfg | head -1"
    result = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert result.stdout.startswith("# Every argument")
    assert "Traceback" not in result.stderr
    assert "BrokenPipe" not in result.stderr
