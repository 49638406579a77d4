"""Single arguments: which values pass, which fail, with which class and words."""

from __future__ import annotations

import pickle
import re
from pathlib import Path

import pytest
import yaml

from yolocore.config import ARGUMENTS, Config, make_config
from yolocore.config.arguments import Argument
from yolocore.errors import ConfigError, ConfigTypeError, YolocoreError

# the documented configuration, and what came later
DOCUMENTED = yaml.safe_load("""{
  task: detect, mode: train, model: null, data: null, epochs: 100, time: null, patience: 100, batch: 16,
  imgsz: 640, save: true, save_period: -1, cache: false, device: null, workers: 8, project: null, name: null,
  exist_ok: false, pretrained: true, optimizer: auto, verbose: false, seed: 0, deterministic: true,
  single_cls: false, rect: false, cos_lr: false, close_mosaic: 10, resume: false, amp: true, fraction: 1.0,
  profile: false, freeze: null, lr0: 0.01, lrf: 0.01, momentum: 0.937, weight_decay: 0.0005,
  warmup_epochs: 3.0, warmup_momentum: 0.8, warmup_bias_lr: 0.1, box: 7.5, cls: 0.5, dfl: 1.5, pose: 12.0,
  kobj: 2.0, label_smoothing: 0.0, nbs: 64, overlap_mask: true, mask_ratio: 4, dropout: 0.0, val: true,
  plots: false,
  source: null, conf: null, iou: null, half: null, max_det: 300, vid_stride: 1, stream_buffer: false,
  visualize: false, augment: false, agnostic_nms: false, classes: null, retina_masks: false, embed: null,
  show: false, save_frames: false, save_txt: false, save_conf: false, save_crop: false, show_labels: true,
  show_conf: true, show_boxes: true, line_width: null,
  save_json: false, save_hybrid: false, dnn: false, split: val,
  format: torchscript, keras: false, optimize: false, int8: false, dynamic: false, simplify: true,
  opset: null, workspace: 4.0, nms: false,
  hsv_h: 0.015, hsv_s: 0.7, hsv_v: 0.4, degrees: 0.0, translate: 0.1, scale: 0.5, shear: 0.0,
  perspective: 0.0, flipud: 0.0, fliplr: 0.5, bgr: 0.0, mosaic: 1.0, mixup: 0.0, copy_paste: 0.0,
  copy_paste_mode: flip, auto_augment: randaugment, erasing: 0.4, crop_fraction: 1.0
}""")
NEWER = yaml.safe_load("""{
  tracker: botsort.yaml, persist: false, stream: false, cfg: null, cutmix: 0.0, multi_scale: 0.0,
  compile: false, cls_pw: 0.0, quantize: null, cls_remap: true, angle: 0.0, channels_last: null,
  save_dir: null, plugins: null, plugin_errors: isolate, plugin_args: {}, strict: false
}""")

REJECTED_TYPES = [
    *[
        ("epochs", "10"),
        ("epochs", 1.5),
        ("epochs", True),
        ("epochs", None),
        ("degrees", None),
        ("lr0", "0.1"),
    ],
    *[("save", 1), ("save", "True"), ("cache", 5), ("batch", "16"), ("batch", True), ("imgsz", 640.0)],
    *[("imgsz", "640"), ("classes", "cat"), ("classes", [0, "1"]), ("freeze", True), ("freeze", 1.0)],
    *[("name", True), ("model", 3), ("optimizer", 1), ("split", 5), ("half", 0), ("line_width", 1.0)],
    *[
        ("plugins", ["wandb"]),
        ("plugin_args", {"wandb": 1}),
        ("scale", "0.5"),
        ("fraction", "1"),
        ("time", True),
    ],
]
REJECTED_VALUES = [
    *[("epochs", 0), ("mosaic", 1.5), ("conf", 2), ("iou", -1), ("fraction", 0), ("fraction", 1.2)],
    *[
        ("fraction", -1),
        ("fraction", []),
        ("fraction", [0.5, 0]),
        ("copy_paste_mode", "z"),
        ("auto_augment", "zz"),
    ],
    *[
        ("split", "foo"),
        ("cache", "x"),
        ("task", "x"),
        ("mode", "x"),
        ("optimizer", "x"),
        ("lr0", 0),
        ("lrf", 1.5),
    ],
    *[
        ("warmup_epochs", -1),
        ("close_mosaic", -1),
        ("workers", -1),
        ("batch", 0),
        ("batch", -2),
        ("batch", 1.5),
    ],
    *[("batch", 0.0), ("imgsz", 31), ("imgsz", (640, 31)), ("imgsz", (640,)), ("imgsz", 0), ("imgsz", -640)],
    *[("classes", []), ("classes", -1), ("classes", [0, -1]), ("embed", []), ("time", 0), ("patience", -1)],
    *[("save_period", 0), ("save_period", -2), ("momentum", 1), ("label_smoothing", 1.0), ("dropout", 1.0)],
    *[("workspace", 0), ("erasing", 0.95), ("crop_fraction", 0.05), ("perspective", 0.01), ("degrees", 181)],
    *[("max_det", 0), ("vid_stride", 0), ("line_width", 0), ("opset", 0), ("seed", -1), ("nbs", 0)],
    *[
        ("lr0", float("nan")),
        ("conf", float("inf")),
        ("batch", float("nan")),
        ("scale", -0.5),
        ("scale", (2, 1)),
    ],
    *[
        ("scale", (0, 1)),
        ("device", []),
        ("device", -2),
        ("freeze", -1),
        ("freeze", [0, -1]),
        ("quantize", 4),
    ],
    *[
        ("quantize", "int4"),
        ("amp", "fp8"),
        ("compile", "fast"),
        ("plugin_errors", "ignore"),
        ("multi_scale", 2),
    ],
]
ACCEPTED = [
    *[("mosaic", 1, 1.0), ("batch", -1, -1), ("batch", 0.7, 0.7), ("batch", 16.0, 16), ("imgsz", 32, 32)],
    *[("classes", 3, [3]), ("classes", (0, 2), [0, 2]), ("classes", range(2), [0, 1]), ("name", 5, "5")],
    *[("project", 1.5, "1.5"), ("project", Path("a/b"), str(Path("a/b"))), ("model", Path("m.pt"), "m.pt")],
    *[
        ("optimizer", "adamw", "AdamW"),
        ("optimizer", "AUTO", "auto"),
        ("freeze", 3, 3),
        ("freeze", (0, 2), [0, 2]),
    ],
    *[
        ("freeze", ["model.0", 4], ["model.0", 4]),
        ("freeze", "model.0", ["model.0"]),
        ("cache", "ram", "ram"),
    ],
    *[("device", "cpu", "cpu"), ("device", 0, 0), ("device", (0, 1), [0, 1]), ("device", -1, -1)],
    *[("fraction", 50, 50), ("fraction", 1, 1.0), ("fraction", (0.5, 20), [0.5, 20]), ("scale", 0, 0.0)],
    *[
        ("scale", [0.5, 2], (0.5, 2.0)),
        ("multi_scale", True, 0.5),
        ("multi_scale", False, 0.0),
        ("amp", "bf16", "bf16"),
    ],
    *[("quantize", "FP16", 16), ("quantize", 8, 8), ("compile", "default", "default"), ("half", None, None)],
    *[
        ("workspace", None, None),
        ("save_period", 1, 1),
        ("momentum", 0, 0.0),
        ("resume", Path("last.pt"), "last.pt"),
    ],
]


def test_defaults_are_the_documented_ones() -> None:
    assert len(DOCUMENTED) == 103
    assert vars(Config()) == {**DOCUMENTED, **NEWER}


def test_every_default_is_valid_and_of_the_same_type() -> None:
    for argument in ARGUMENTS.values():
        value = getattr(Config(**{argument.name: argument.default}), argument.name)
        assert value == argument.default
        assert type(value) is type(argument.default)


@pytest.mark.parametrize("value", [(64, 64, 64), ()])
def test_the_wrong_number_of_sizes(value: object) -> None:
    with pytest.raises(ConfigError, match=r"^imgsz=.*: accepted: .*int.*for example imgsz=640"):
        Config(imgsz=value)


@pytest.mark.parametrize(("name", "value"), REJECTED_TYPES)
def test_wrong_type(name: str, value: object) -> None:
    with pytest.raises(
        ConfigTypeError, match=rf"^{name}=.*\({type(value).__name__}\): accepted: .*for example {name}="
    ):
        Config(**{name: value})


@pytest.mark.parametrize(("name", "value"), REJECTED_VALUES)
def test_wrong_value(name: str, value: object) -> None:
    with pytest.raises(ConfigError, match=rf"^{name}=.*\({type(value).__name__}\): .*for example {name}="):
        Config(**{name: value})


@pytest.mark.parametrize(("name", "value", "stored"), ACCEPTED)
def test_accepted_and_normalised(name: str, value: object, stored: object) -> None:
    result = getattr(Config(**{name: value}), name)
    assert result == stored
    assert type(result) is type(stored)


def test_errors_are_the_builtin_ones_too() -> None:
    with pytest.raises(ValueError, match="allowed: >= 1"):
        Config(epochs=0)
    with pytest.raises(TypeError, match="accepted: int >= 1"):
        Config(epochs="0")


def test_choices_are_listed_with_a_suggestion() -> None:
    with pytest.raises(ConfigError, match=r"allowed: bool \| 'ram' \| 'disk'.*Did you mean 'disk'"):
        Config(cache="disc")
    with pytest.raises(ConfigError, match=r"SGD, Adam.*Did you mean 'AdamW'"):
        Config(optimizer="Adamww")


def test_several_faults_are_told_together() -> None:
    with pytest.raises(ConfigError) as caught:
        Config(epochs=0, lr0=-1.0, conf=2)
    assert [line.split("=")[0] for line in str(caught.value).splitlines()] == ["epochs", "lr0", "conf"]


def test_plugin_arguments_are_not_shown_in_messages() -> None:
    with pytest.raises(ConfigTypeError, match=r"plugin_args=\{hub, wandb\} \(dict\)") as caught:
        Config(plugin_args={"hub": {"api_key": "s3cret"}, "wandb": 1})
    assert "s3cret" not in str(caught.value)


def test_long_values_are_cut_in_messages() -> None:
    with pytest.raises(ConfigTypeError) as caught:
        Config(epochs="9" * 10_000)
    assert len(str(caught.value)) < 300


def test_assignment_is_checked() -> None:
    cfg = Config()
    cfg.mosaic = 1
    assert cfg.mosaic == 1.0
    assert isinstance(cfg.mosaic, float)
    with pytest.raises(ConfigError, match="epochs=0"):
        cfg.epochs = 0
    with pytest.raises(ConfigError, match=r"unknown argument 'epoch'.*'epochs'"):
        cfg.epoch = 3
    assert cfg.epochs == 100


def test_plugin_names_stay_valid_on_assignment_and_replacement() -> None:
    cfg = make_config("train", {"task": "count", "optimizer": "lion"}, tasks=["count"], optimizers=["Lion"], env={})
    assert (cfg.task, cfg.optimizer) == ("count", "Lion")
    assert cfg.replace(epochs=3).task == "count"
    cfg.task = "detect"
    cfg.task = "count"
    with pytest.raises(ConfigError, match="installed: detect, segment, classify, pose, obb, count"):
        cfg.task = "cuont"


def test_replace_keeps_explicit_and_checks() -> None:
    cfg = make_config("train", {"epochs": 3}, env={})
    other = cfg.replace(imgsz=320, save_dir="runs/x")
    assert (other.imgsz, other.epochs, other.explicit) == (320, 3, frozenset({"epochs"}))
    assert cfg.imgsz == 640
    with pytest.raises(ConfigError, match="imgsz=1 "):
        cfg.replace(imgsz=1)
    with pytest.raises(ConfigError, match="unknown argument 'imgsize'"):
        cfg.replace(imgsize=320)


def test_a_copy_made_by_pickle_is_whole() -> None:
    cfg = make_config("train", {"task": "count", "imgsz": 320}, tasks=["count"], env={})
    copy = pickle.loads(pickle.dumps(cfg))
    assert copy == cfg
    assert copy.explicit == cfg.explicit
    copy.task = "count"


def test_equality_and_repr_look_at_values() -> None:
    assert Config(epochs=100) == Config()
    assert Config(epochs=1) != Config()
    assert Config() != 1
    assert repr(Config(epochs=3, imgsz=(320, 640))) == "Config(imgsz=[320, 640], epochs=3)"


def test_torch_devices_are_understood_by_name() -> None:
    class device:  # stands in for torch.device
        __module__ = "torch"

        def __str__(self) -> str:
            return "cuda:1"

    assert Config(device=device()).device == "cuda:1"


@pytest.mark.parametrize("argument", ARGUMENTS.values(), ids=lambda a: a.name)
def test_every_argument_is_described(argument: Argument) -> None:
    assert argument.description[0].isupper() or argument.description.startswith("L2")
    assert argument.description.endswith(".")
    assert argument.modes
    assert argument.group
    assert argument.example is not None
    assert "Annotated" not in argument.accepts
    assert "typing" not in argument.accepts
    getattr(Config(**{argument.name: argument.example}), argument.name)


def test_json_schema_describes_every_argument() -> None:
    properties = Config.model_json_schema()["properties"]
    assert list(properties) == list(ARGUMENTS)
    assert properties["epochs"]["minimum"] == 1
    assert properties["lr0"]["exclusiveMinimum"] == 0
    assert properties["split"]["enum"] == ["train", "val", "test"]
    assert properties["mosaic"]["modes"] == ["train"]


def test_bounds_in_words() -> None:
    words = {name: ARGUMENTS[name].accepts for name in ("epochs", "mosaic", "lrf", "momentum", "cache", "batch")}
    assert words == {
        "epochs": "int >= 1",
        "mosaic": "float: 0 to 1",
        "lrf": "float > 0 and <= 1",
        "momentum": "float >= 0 and < 1",
        "cache": "bool | 'ram' | 'disk'",
        "batch": "int | float >= 1, -1, or between 0 and 1",
    }


@pytest.mark.parametrize("name", ["lr_0", "Epochs", "", "cls_", "__class__", "model_fields"])
def test_unknown_names_are_refused(name: str) -> None:
    with pytest.raises(YolocoreError, match=re.escape(repr(name))):
        Config(**{name: 1})
