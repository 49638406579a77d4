"""Merging: precedence, explicitness, files, environment, plugins, older spellings, contradictions."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from yolocore.config import ARGUMENTS, Config
from yolocore.config import make_config as make
from yolocore.config.fields import MODES
from yolocore.errors import ConfigError, ConfigTypeError, MissingFileError

if TYPE_CHECKING:
    from pathlib import Path


def make_config(mode: str, *args: Any, **kwargs: Any) -> Config:
    return make(mode, *args, **{"env": {}, **kwargs})


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("train", {"conf": 0.001, "iou": 0.6, "half": None, "batch": 16, "save": True, "imgsz": 640}),
        ("val", {"conf": 0.001, "iou": 0.6, "half": None, "batch": 16, "save": True, "imgsz": 640}),
        ("predict", {"conf": 0.25, "iou": 0.7, "half": False, "batch": 1, "save": False, "imgsz": 640}),
        ("track", {"conf": 0.1, "iou": 0.7, "half": False, "batch": 1, "save": False, "imgsz": 640}),
        ("export", {"conf": 0.25, "iou": 0.7, "half": False, "batch": 1, "save": True, "imgsz": 640}),
        ("benchmark", {"conf": 0.001, "iou": 0.6, "half": False, "batch": 1, "save": True, "imgsz": 160}),
    ],
)
def test_defaults_of_a_mode(mode: str, expected: dict[str, object]) -> None:
    cfg = make_config(mode)
    assert {key: getattr(cfg, key) for key in expected} == expected
    assert cfg.mode == mode
    assert cfg.explicit == frozenset()
    assert cfg.rect is False
    assert cfg.verbose is False


def test_unknown_mode() -> None:
    with pytest.raises(ConfigError, match=r"mode='trian' is unknown; modes are train, .*Did you mean 'train'"):
        make_config("trian")


def test_precedence(tmp_path: Path) -> None:
    file = tmp_path / "my.yaml"
    file.write_text("epochs: 2\nlr0: 1e-3\nimgsz: [320, 256]\nbatch: 2\nseed: 2\n")
    cfg = make_config(
        "train",
        {"seed": 4, "cfg": str(file)},
        {"epochs": 1, "patience": 1},
        env={"YOLOCORE_ARG_BATCH": "3", "YOLOCORE_ARG_SEED": "3", "PATH": "x"},
        defaults={"patience": 9, "workers": 9},
    )
    assert (cfg.epochs, cfg.lr0, cfg.imgsz, cfg.batch, cfg.seed) == (2, 0.001, 320, 3, 4)
    assert (cfg.patience, cfg.workers) == (1, 9)
    assert cfg.explicit == {"epochs", "lr0", "imgsz", "batch", "seed", "patience"}
    assert cfg.cfg == str(file)


def test_a_file_is_explicit_only_where_it_differs(tmp_path: Path) -> None:
    file = tmp_path / "my.yaml"
    file.write_text("lr0: 0.01\nmomentum: 0.9\nsave: true\nbatch: 16\nconf: null\n")
    cfg = make_config("predict", None, file)
    assert cfg.explicit == {"momentum", "save", "batch"}
    assert (cfg.save, cfg.batch, cfg.conf) == (True, 16, 0.25)


def test_keyword_arguments_are_explicit_even_at_the_default() -> None:
    assert make_config("train", {"lr0": 0.01, "conf": None}).explicit == {"lr0"}
    assert make_config("predict", {"conf": None}).conf == 0.25


def test_namespaces_and_configs_are_sources() -> None:
    assert make_config("val", {"imgsz": 64}, SimpleNamespace(imgsz=320, batch=2)).batch == 2
    training = make_config("train", {"imgsz": 320, "lr0": 0.01}).replace(workers=0, save_dir="runs/x")
    cfg = make_config("val", {"batch": 4}, training)
    assert (cfg.imgsz, cfg.workers, cfg.batch, cfg.mode, cfg.conf) == (320, 0, 4, "val", 0.001)
    assert cfg.explicit == {"imgsz", "lr0", "batch"}
    assert make_config("predict", None, training).conf == 0.25
    with pytest.raises(ConfigTypeError, match="cfg=3 "):
        make_config("val", None, 3)


@pytest.mark.parametrize("mode", MODES)
def test_args_yaml_round_trip(tmp_path: Path, mode: str) -> None:
    given = {
        "imgsz": (320, 256),
        "classes": [0, 2],
        "scale": (0.5, 1.5),
        "save": True,
        "name": "ü 1",
        "lr0": 1e-5,
    }
    cfg = make_config(mode, {**given, "wandb.project": "x", "device": "cpu"}).replace(save_dir=str(tmp_path))
    cfg.to_yaml(tmp_path / "args.yaml")
    values = yaml.safe_load((tmp_path / "args.yaml").read_text(encoding="utf-8"))
    assert list(values) == list(ARGUMENTS)
    assert list(values)[-1] == "save_dir"
    again = make_config(mode, None, tmp_path / "args.yaml")
    assert vars(again) == vars(cfg)
    assert again.explicit <= cfg.explicit
    assert "save_dir" not in again.explicit


def test_a_record_brings_only_its_wishes_to_another_mode(tmp_path: Path) -> None:
    make_config("train", {"imgsz": 320, "rect": True}).to_yaml(tmp_path / "args.yaml")
    cfg = make_config("predict", None, tmp_path / "args.yaml")
    assert (cfg.imgsz, cfg.conf, cfg.batch, cfg.save, cfg.rect) == (320, 0.25, 1, False, True)
    assert make_config("predict", None, tmp_path / "args.yaml").mode == "predict"


def test_sources_in_memory_are_not_written() -> None:
    assert make_config("predict", {"source": object()}).to_dict()["source"] is None
    assert make_config("predict", {"source": ["a.jpg", 0]}).to_dict()["source"] == ["a.jpg", 0]
    assert make_config("predict", {"source": [b"raw"]}).to_dict()["source"] is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- 1\n", r"my\.yaml:1:1: found a list"),
        ("", r"my\.yaml:1:1: the file is empty"),
        ("epochs: [1\n", r"my\.yaml:2:1: not valid YAML"),
        ("epochs: 1\nepochs: 2\n", "already given in line 1"),
        ("epochs: !!python/object/apply:os.getcwd []\n", "Python objects are never built"),
        (
            "epoch: 1\nlro: 2\n",
            "unknown argument 'epoch' in .*my.yaml.*'epochs'(.|\n)*unknown argument 'lro'",
        ),
    ],
)
def test_bad_files(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "my.yaml").write_text(text)
    with pytest.raises(ConfigError, match=message):
        make_config("train", None, tmp_path / "my.yaml")


def test_missing_file(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").touch()
    with pytest.raises(MissingFileError, match=r"no such file in .*Did you mean 'mine.yaml'"):
        make_config("train", {"cfg": str(tmp_path / "mime.yaml")})
    with pytest.raises(MissingFileError):
        make_config("train", {"cfg": str(tmp_path / "none" / "x.yaml")})


def test_a_quoted_number_in_a_file_is_text(tmp_path: Path) -> None:
    (tmp_path / "my.yaml").write_text('epochs: "10"\n')
    with pytest.raises(ConfigTypeError, match="epochs='10'"):
        make_config("train", None, tmp_path / "my.yaml")


def test_all_unknown_keys_in_one_error() -> None:
    with pytest.raises(ValueError, match="unknown argument") as caught:
        make_config("train", {"epoch": 1, "foo": 2}, {"lro": 3}, env={"YOLOCORE_ARG_BATHC": "1"})
    text = str(caught.value)
    assert len(text.splitlines()) == 4
    assert "'epoch'. Did you mean 'epochs'" in text
    assert "'bathc' (environment variable YOLOCORE_ARG_BATHC). Did you mean 'batch'" in text


def test_the_real_environment_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("YOLOCORE_ARG_IMGSZ", "320")
    assert make("val").imgsz == 320


def test_plugin_arguments() -> None:
    names = ["wandb", "clearml"]
    cfg = make_config(
        "train",
        {"wandb.project": "x", "clearml": {"queue": "q"}, "wandb.log.every": 3},
        {"plugin_args": {"wandb": {"entity": "e", "project": "file"}}},
        plugin_names=names,
    )
    assert cfg.plugin_args == {
        "wandb": {"entity": "e", "project": "x", "log": {"every": 3}},
        "clearml": {"queue": "q"},
    }
    assert "plugin_args" in cfg.explicit
    with pytest.raises(ConfigError, match=r"'wandbb.project' \(no plugin 'wandbb' is installed\).*'wandb'"):
        make_config("train", {"wandbb.project": "x"}, plugin_names=names)
    with pytest.raises(ConfigError, match="unknown argument 'clearml'"):
        make_config("train", {"clearml": {"queue": "q"}})
    with pytest.raises(ConfigTypeError, match="plugin_args: wandb=1"):
        make_config("train", {"plugin_args": {"wandb": 1}})
    assert make_config("train", {"anything.x": 1}).plugin_args == {"anything": {"x": 1}}


def test_secrets_are_never_written() -> None:
    cfg = make_config("train", {"wandb.api_key": "s3cret", "wandb.project": "x", "hub.login.token": "s3cret"})
    assert cfg.plugin_args["wandb"]["api_key"] == "s3cret"
    assert "s3cret" not in str(cfg.to_dict()) + repr(cfg)
    assert cfg.to_dict()["plugin_args"] == {"wandb": {"project": "x"}, "hub": {"login": {}}}


@pytest.mark.parametrize(
    ("old", "value", "new", "stored"),
    [
        ("hide_labels", True, "show_labels", False),
        ("hide_conf", False, "show_conf", True),
        ("boxes", False, "show_boxes", False),
        ("line_thickness", 3, "line_width", 3),
    ],
)
def test_older_spellings(caplog: pytest.LogCaptureFixture, old: str, value: object, new: str, stored: object) -> None:
    cfg = make_config("predict", {old: value})
    assert getattr(cfg, new) == stored
    assert new in cfg.explicit
    assert [r.levelno for r in caplog.records] == [logging.WARNING]
    assert f"{old} is deprecated" in caplog.text
    with pytest.raises(ConfigError, match=f"{old} is an older name of {new}"):
        make_config("predict", {old: value, new: stored})
    with pytest.raises(ConfigTypeError, match=f"{new}='x'"):
        make_config("predict", {old: "x"})


@pytest.mark.parametrize(
    ("mode", "given", "message"),
    [
        ("export", {"int8": True, "half": True}, "int8=True and half=True"),
        ("export", {"keras": True, "format": "onnx"}, "keras=True belongs to format='saved_model'"),
        ("export", {"optimize": True, "device": 0}, "optimize=True works on the CPU only"),
        ("export", {"optimize": True, "device": "cuda:1"}, "optimize=True works on the CPU only"),
        ("export", {"nms": True, "task": "classify"}, "nms=True makes no sense for task='classify'"),
        ("export", {"quantize": 8, "half": True}, "quantize=8 and half=True contradict"),
        ("export", {"quantize": 16, "int8": True}, "quantize=16 and int8=True contradict"),
        ("export", {"quantize": 32, "half": True}, "quantize=32 and half=True contradict"),
        ("export", {"quantize": 16, "half": False}, "quantize=16 and half=False contradict"),
        ("train", {"device": [0, 1], "batch": 15}, "batch=15 cannot be shared by 2 devices.*batch=16"),
        ("train", {"device": "0,1,2", "batch": 16}, "nearest multiple is batch=15"),
        ("train", {"device": "0,1", "batch": 1}, "nearest multiple is batch=2"),
        ("train", {"device": [0, 1], "batch": -1}, "batch=-1 .automatic. works with one device"),
        ("train", {"device": "0,1", "batch": 0.5}, "batch=0.5 .automatic."),
    ],
)
def test_contradictions(mode: str, given: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make_config(mode, given)


@pytest.mark.parametrize(
    ("mode", "given"),
    [
        ("export", {"keras": True, "format": "tf"}),
        ("export", {"optimize": True, "device": "cpu"}),
        ("export", {"optimize": True}),
        ("val", {"device": [0, 1], "batch": 15}),
        ("train", {"device": [0], "batch": -1}),
        ("train", {"device": "0,1", "batch": 16}),
        ("export", {"quantize": 8, "int8": True}),
        ("train", {"cache": "disk", "imgsz": 320}),
    ],
)
def test_no_contradiction(mode: str, given: dict[str, object]) -> None:
    make_config(mode, given)


@pytest.mark.parametrize(("bits", "half", "int8"), [(8, False, True), ("fp16", True, False), (32, False, False)])
def test_quantize_sets_half_and_int8(bits: object, half: bool, int8: bool) -> None:
    cfg = make_config("export", {"quantize": bits})
    assert (cfg.half, cfg.int8) == (half, int8)
    assert cfg.explicit == {"quantize"}


def test_rect_training_has_no_mosaic(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    cfg = make_config("train", {"rect": True, "mosaic": 1.0})
    assert cfg.mosaic == 0.0
    assert len(caplog.records) == 1
    assert make_config("val", {"rect": True}).mosaic == 1.0
    caplog.clear()
    make_config("train", {"rect": True, "mosaic": 0.0})
    assert not caplog.records


@pytest.mark.parametrize(
    ("mode", "given", "level", "words"),
    [
        ("train", {"time": 1.0, "epochs": 3}, logging.INFO, "time=1 hours replaces epochs=3"),
        ("predict", {"save_conf": True}, logging.WARNING, "no effect without save_txt"),
        ("train", {"imgsz": (320, 640)}, logging.WARNING, "taking 640"),
    ],
)
def test_consequences_are_told(
    caplog: pytest.LogCaptureFixture, mode: str, given: dict[str, object], level: int, words: str
) -> None:
    caplog.set_level(logging.INFO)
    make_config(mode, given)
    assert [r.levelno for r in caplog.records] == [level]
    assert words in caplog.text


def test_predict_and_export_keep_a_pair() -> None:
    assert make_config("predict", {"imgsz": [320, 640]}).imgsz == (320, 640)
    assert make_config("export", {"imgsz": (320, 640)}).imgsz == (320, 640)
    assert make_config("val", {"imgsz": (320, 640)}).imgsz == 640
