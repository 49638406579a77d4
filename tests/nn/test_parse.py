"""From model files to layers: the scale rule, what a stranger's layer does, and every way a file can be wrong."""

from __future__ import annotations

import copy
import logging

import pytest
import torch
from torch import nn

from yolocore.errors import MissingFileError, ModelError
from yolocore.nn import parse
from yolocore.nn.modules import C3k2, Conv, DWConv, ScaledLayer
from yolocore.nn.parse import head_task, load_model_yaml, parse_model, split_scale
from yolocore.nn.tasks import DetectionModel

TINY = {
    "nc": 3,
    "backbone": [[-1, 1, "Conv", [16, 3, 2]], [-1, 1, "Conv", [16, 3, 2]], [-1, 1, "Conv", [16, 3, 2]]],
    "head": [[[2], 1, "Detect", ["nc"]]],
}


def tiny(**changes):
    return copy.deepcopy(TINY) | changes


def with_row(index: int, row: list) -> dict:
    description = tiny()
    description["backbone"][index] = row
    return description


# --------------------------------------------------------------------------------------------------------- names and files


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("yolo11n.yaml", ("yolo11.yaml", "n")),
        ("yolo11x-seg.yaml", ("yolo11-seg.yaml", "x")),
        ("yolov8m-pose.yaml", ("yolov8-pose.yaml", "m")),
        ("yolov10b.yaml", ("yolov10.yaml", "b")),
        ("yolo11.yaml", ("yolo11.yaml", "")),
        ("my-yolo26s.yaml", ("my-yolo26.yaml", "s")),
        ("yolo11night.yaml", ("yolo11night.yaml", "")),
        ("model.yaml", ("model.yaml", "")),
    ],
)
def test_scale_letter(name, expected):
    assert split_scale(name) == expected


def test_a_file_of_the_exact_name_is_taken_before_the_unscaled_one(tmp_path):
    (tmp_path / "yolo99.yaml").write_text("nc: 1")
    assert load_model_yaml(tmp_path / "yolo99s.yaml") == {
        "nc": 1,
        "scale": "s",
        "yaml_file": str(tmp_path / "yolo99s.yaml"),
    }
    (tmp_path / "yolo99s.yaml").write_text("nc: 2")
    assert load_model_yaml(str(tmp_path / "yolo99s.yaml"))["nc"] == 2


def test_without_a_letter_the_first_scale_is_used_with_a_warning(caplog):
    model = DetectionModel("yolo11.yaml", verbose=False)
    assert "'n', the first of n, s, m, l, x" in caplog.text
    assert model.model[0].conv.out_channels == 16


def test_a_missing_file_lists_where_it_was_looked_for(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MissingFileError, match=r"yolo1ln\.yaml.*packaged.*yolo11\.yaml.*Did you mean"):
        load_model_yaml("yolo1ln.yaml")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"- 1\n- 2\n", "holds a list"),
        (b"just words", "holds a str"),
        (b"nc: 80\nbackbone: [1, 2\n", r"broken\.yaml:3:1"),
        (b"a: !!python/object/apply:os.getcwd []\n", "constructor"),
        (b"\xff\xfe\x00", "not a UTF-8"),
        (b"nc: 1 # " + b"x" * parse.MAX_FILE_BYTES, "larger than"),
    ],
)
def test_a_file_that_is_no_model_file(tmp_path, content, message):
    path = tmp_path / "broken.yaml"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=message):
        load_model_yaml(path)


# --------------------------------------------------------------------------------------------------------------- building


def test_a_small_network_is_built_and_runs():
    model, save = parse_model(tiny())
    assert [type(layer).__name__ for layer in model] == ["Conv", "Conv", "Conv", "Detect"]
    assert save == [2]
    assert model[3].nc == 3


def test_channels_are_bounded_scaled_and_rounded_to_eight():
    scales = {"n": [1.0, 0.3, 64], "x": [1.0, 2.0, 32]}
    for scale, expected in (("n", 24), ("x", 64)):
        model, _ = parse_model(with_row(0, [-1, 1, "Conv", [100, 3, 2]]) | {"scales": scales, "scale": scale})
        assert model[0].conv.out_channels == expected


@pytest.mark.parametrize(
    ("depth", "repeats", "expected"), [(0.33, 3, 1), (0.67, 6, 4), (1.0, 2, 2), (0.1, 2, 1), (0.1, 1, 1)]
)
def test_repeats_are_scaled_by_depth(depth, repeats, expected):
    scales = {"scales": {"n": [depth, 1.0, 1024]}, "scale": "n"}
    model, _ = parse_model(with_row(1, [-1, repeats, "C2f", [16]]) | scales)
    assert len(model[1].m) == expected
    model, _ = parse_model(with_row(1, [-1, repeats, "Conv", [16]]) | scales)
    assert (len(model[1]) if isinstance(model[1], nn.Sequential) else 1) == expected


@pytest.mark.parametrize(("scale", "kind"), [("n", "bottleneck"), ("s", "bottleneck"), ("m", "c3k"), ("x", "c3k")])
def test_large_scales_force_the_deeper_element(scale, kind):
    description = with_row(1, [-1, 1, "C3k2", [16, False, 0.25]]) | {"scales": {scale: [1, 1, 64]}, "scale": scale}
    model, _ = parse_model(description)
    assert isinstance(model[1], C3k2)
    assert model[1].kind == kind
    assert model[1].c == 4


def test_relative_and_absolute_sources_are_resolved():
    description = tiny()
    description["backbone"] += [
        [-2, 1, "Conv", [8]],
        [[-1, 1, -3], 1, "Concat", [1]],
        [-1, 1, "nn.Upsample", ["None", 2, "nearest"]],
    ]
    description["head"] = [[[2, 5], 1, "Detect", ["nc"]]]
    model, save = parse_model(description)
    assert model[3].f == 1
    assert model[3].conv.in_channels == 16
    assert model[4].f == [-1, 1, 1]
    assert model[5](torch.zeros(1, 1, 2, 2)).shape == (1, 1, 4, 4)
    assert save == [1, 2, 5]


def test_the_class_branch_depends_on_the_layers_of_the_file():
    plain, _ = parse_model(with_row(1, [-1, 1, "C2f", [16]]))
    assert not any(isinstance(m, DWConv) for m in plain[-1].modules())
    light, _ = parse_model(with_row(1, [-1, 1, "C3k2", [16]]))
    assert any(isinstance(m, DWConv) for m in light[-1].modules())


def test_yolov8_layers_have_the_published_number_of_parameters():
    c2f, sppf = "C2f", [1024, 5]
    up = [-1, 1, "nn.Upsample", [None, 2, "nearest"]]
    rows = [
        [-1, 1, "Conv", [64, 3, 2]], [-1, 1, "Conv", [128, 3, 2]], [-1, 3, c2f, [128, True]], [-1, 1, "Conv", [256, 3, 2]],
        [-1, 6, c2f, [256, True]], [-1, 1, "Conv", [512, 3, 2]], [-1, 6, c2f, [512, True]], [-1, 1, "Conv", [1024, 3, 2]],
        [-1, 3, c2f, [1024, True]], [-1, 1, "SPPF", sppf],
    ]  # fmt: skip
    head = [
        up, [[-1, 6], 1, "Concat", [1]], [-1, 3, c2f, [512]], up, [[-1, 4], 1, "Concat", [1]], [-1, 3, c2f, [256]],
        [-1, 1, "Conv", [256, 3, 2]], [[-1, 12], 1, "Concat", [1]], [-1, 3, c2f, [512]], [-1, 1, "Conv", [512, 3, 2]],
        [[-1, 9], 1, "Concat", [1]], [-1, 3, c2f, [1024]], [[15, 18, 21], 1, "Detect", ["nc"]],
    ]  # fmt: skip
    model, _ = parse_model(
        {"nc": 80, "backbone": rows, "head": head, "scales": {"n": [0.33, 0.25, 1024]}, "scale": "n"}
    )
    expected = """464 4672 7360 18560 49664 73984 197632 295424 460288 164608 0 0 148224 0 0 37248 36992 0 123648 147712 0
        493056 897664"""
    assert [layer.np for layer in model] == [int(n) for n in expected.split()]


@pytest.mark.parametrize(
    ("wanted", "layer"),
    [("ReLU", nn.ReLU), ("nn.Hardswish", nn.Hardswish), ("torch.nn.LeakyReLU(0.2)", nn.LeakyReLU), (None, nn.SiLU)],
)
def test_activation_is_looked_up(wanted, layer):
    description = tiny() | ({"activation": wanted} if wanted else {})
    model, _ = parse_model(description)
    assert type(model[0].act) is layer
    assert type(model[-1].cv2[0][0].act) is layer
    assert model[0].act.inplace
    if wanted and "(" in wanted:
        assert model[0].act.negative_slope == 0.2


def test_an_activation_that_was_given_explicitly_is_left_alone():
    model, _ = parse_model(with_row(1, [-1, 1, "Conv", [16, 3, 1, 1, 1, 1, False]]) | {"activation": "ReLU"})
    assert isinstance(model[1].act, nn.Identity)


@pytest.mark.parametrize(
    "wanted",
    ["__import__('os').getcwd()", "nn.SiLU(print(1))", "Conv2d(3,3,3)", "RelU6x", 3, "LeakyReLU(0.1", "ReLU(1,x)"],
)
def test_an_activation_that_is_not_in_the_table_is_refused(wanted):
    with pytest.raises(ModelError, match="activation"):
        parse_model(tiny(activation=wanted))


# ------------------------------------------------------------------------------------------------------ a stranger's layer


class Doubling(nn.Module):
    """States itself that it emits twice as many channels."""

    def __init__(self, gain: float) -> None:
        super().__init__()
        self.gain = gain

    @classmethod
    def from_yaml(cls, channels_in, args, row):
        return cls(*args), 2 * row.one_input(channels_in)

    def forward(self, x):
        return torch.cat((x, x * self.gain), 1)


def build_function(channels_in, args, row):
    return Conv(channels_in[0], args[0]), args[0]


def test_a_strangers_layer_or_function():
    registry = {**parse.LAYERS, "Doubling": Doubling, "made": build_function}
    description = tiny()
    description["backbone"] += [[-1, 1, "Doubling", [0.5]], [-1, 1, "made", [40]]]
    description["head"] = [[[4], 1, "Detect", ["nc"]]]
    model = DetectionModel(description, verbose=False, registry=registry)
    assert model.model[4].conv.in_channels == 32
    assert model.stride.tolist() == [8]
    assert model.eval()(torch.zeros(1, 3, 32, 32))[0].shape == (1, 7, 16)


def test_a_layer_that_takes_its_repeats_itself():
    class Stack(ScaledLayer):
        takes_repeats = True

        def __init__(self, c1, c2, n):
            super().__init__()
            self.m = nn.Sequential(*(nn.Conv2d(c1 if i == 0 else c2, c2, 1) for i in range(n)))

    model, _ = parse_model(with_row(1, [-1, 3, "Stack", [24]]), registry={**parse.LAYERS, "Stack": Stack})
    assert isinstance(model[1], Stack)
    assert len(model[1].m) == 3


def test_built_in_layers_register_through_the_hook():
    seen = {}

    class Register:
        def register(self, name, layer):
            seen[name] = layer

    parse.BuiltinModules().register_modules(Register())
    assert seen == dict(parse.LAYERS)


def test_head_task():
    assert head_task(TINY) == "detect"
    assert head_task({"head": [[-1, 1, "Nobody", []]]}) is None
    assert head_task({}) is None


# ------------------------------------------------------------------------------------------------------------------ faults


@pytest.mark.parametrize(
    ("description", "message"),
    [
        (tiny(backbone=[]), "'backbone' is"),
        ({"backbone": TINY["backbone"]}, "'head' is None"),
        (tiny(bakbone=1), "unknown key 'bakbone'.*'backbone'"),
        (with_row(1, [-1, 1, "Covn", [16]]), r"layer 1 \(Covn\): there is no such layer. Did you mean 'Conv'"),
        (with_row(1, [99, 1, "Conv", [16]]), r"layer 1 \(Conv\): 'from' is 99, out of range; -1 to 0"),
        (with_row(1, [1, 1, "Conv", [16]]), "layer 1 .* out of range"),
        (with_row(1, [-3, 1, "Conv", [16]]), "layer 1 .* out of range"),
        (with_row(0, [0, 1, "Conv", [16]]), "layer 0 .* the image"),
        (with_row(1, ["x", 1, "Conv", [16]]), "'from' is 'x'"),
        (with_row(1, [[], 1, "Conv", [16]]), r"'from' is \[\]"),
        (with_row(1, [[0, 0], 1, "Conv", [16]]), "lists 2 layers.*Concat"),
        (with_row(1, [-1, 0, "Conv", [16]]), "repeats is 0"),
        (with_row(1, [-1, 10**9, "Conv", [16]]), "repeats is 1000000000"),
        (with_row(1, [-1, 1, "Conv"]), "layer 1: .*expected"),
        (with_row(1, [-1, 1, 5, [16]]), "layer 1: .*expected"),
        (with_row(1, "Conv"), "layer 1: 'Conv'; expected"),
        (
            with_row(1, [-1, 1, "Conv", [16, 3, 2, 1, 1, 1, True, 9]]),
            r"layer 1 \(Conv\): arguments .* do not fit Conv\(c1",
        ),
        (with_row(1, [-1, 1, "Conv", [16, "3"]]), "layer 1 .* do not fit"),
        (with_row(1, [-1, 1, "Conv", [0]]), "channels is 0"),
        (with_row(1, [-1, 1, "Conv", []]), "channels is None"),
        (with_row(1, [-1, 1, "Conv", [True]]), "channels is True"),
        (with_row(1, [-1, 1, "C2PSA", [64]]), "C2PSA keeps"),
        (
            with_row(1, [-1, 1, "Conv", [10**9, 3]]),
            r"layer 1 \(Conv\): 16 to 1000000000 channels need about 536\.4 GiB",
        ),
        (tiny(nc=0), "number of classes is 0"),
        (tiny(nc=None), "number of classes is None"),
        (tiny(end2end=True, head=[[[2], 1, "OBB", ["nc"]]]), r"layer 3 \(OBB\): end2end"),
        (tiny(scales={"n": [1, 1]}, scale="n"), "three positive numbers"),
        (tiny(scales={"n": [1, 1, float("nan")]}, scale="n"), "three positive numbers"),
        (tiny(scales={"n": [1, 1, 64]}, scale="q"), "scale 'q' is not among its scales n"),
    ],
)
def test_a_wrong_description_names_the_place(description, message):
    with pytest.raises(ModelError, match=message):
        parse_model(description)


def test_a_layer_class_without_from_yaml_is_refused():
    with pytest.raises(ModelError, match="from_yaml"):
        parse_model(with_row(1, [-1, 1, "Plain", []]), registry={**parse.LAYERS, "Plain": nn.ReLU})


def test_a_key_that_resembles_nothing_is_only_warned_of(caplog):
    with caplog.at_level(logging.WARNING):
        parse_model(tiny(zzz=1))
    assert "'zzz'" in caplog.text


def test_the_first_layer_may_take_any_number_of_channels():
    model = DetectionModel(tiny(), ch=1, verbose=False)
    assert model.model[0].conv.in_channels == 1
    assert model.yaml["channels"] == 1
    assert DetectionModel(tiny(channels=5), verbose=False).model[0].conv.in_channels == 5
