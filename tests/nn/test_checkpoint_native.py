"""What yolocore's own checkpoint promises: plain, durable, checked."""

from __future__ import annotations

import itertools
import os
import random
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from yolocore.errors import CheckpointError, MissingFileError
from yolocore.nn.checkpoint import (
    build_model,
    native_payload,
    newest_valid,
    previous_path,
    read_checkpoint,
    strip_training,
    write_checkpoint,
)


class Tiny(nn.Module):
    """A network with the attributes of a detection model and a known arithmetic."""

    def __init__(self, yaml: dict[str, Any], ch: int = 3, nc: int | None = None, verbose: bool = True) -> None:
        super().__init__()
        self.yaml = dict(yaml)
        self.nc = nc or yaml["nc"]
        self.names = {i: str(i) for i in range(self.nc)}
        self.stride = torch.tensor([8.0, 16.0, 32.0])
        self.task = "detect"
        self.conv = nn.Conv2d(ch, self.nc, 3)
        self.bn = nn.BatchNorm2d(self.nc)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.bn(self.conv(x))


@pytest.fixture
def model() -> Tiny:
    torch.manual_seed(0)
    tiny = Tiny({"nc": 4, "ch": 3})
    tiny.bn.eps, tiny.bn.momentum = 1e-3, 0.03
    tiny.names = {0: "ant", 1: "bee", 2: "cat", 3: "dög"}
    return tiny


@pytest.fixture
def training() -> dict[str, Any]:
    return {
        "model": {"conv.weight": torch.randn(4, 3, 3, 3)},
        "optimizer": {
            "state": {0: {"step": torch.tensor(3.0), "exp_avg": torch.randn(7)}},
            "groups": [{"lr": 0.1}],
        },
        "rng": {"torch": torch.get_rng_state(), "python": (3, tuple(range(625)), None), "big": 1 << 120},
        "flags": [True, False, None, "text", -1.5],
        "half": torch.arange(6, dtype=torch.bfloat16).view(2, 3).t(),
        "mask": torch.tensor([True, False]),
        "empty": torch.zeros(0, 4),
        "position": {"epoch": 2, "batch": 11},
    }


def same(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and a == b


def test_round_trip_keeps_everything_bit_for_bit(model, training, tmp_path):
    payload = native_payload(model, {"imgsz": 320, "data": "x.yaml"}, training=training, metadata={"epoch": 2})
    path = write_checkpoint(tmp_path / "wéights" / "last run.pt", payload)
    read = read_checkpoint(path)
    assert (read.kind, read.task, read.nc, read.stride, read.imgsz, read.epoch) == (
        "native",
        "detect",
        4,
        (8.0, 16.0, 32.0),
        320,
        2,
    )
    assert read.names == model.names
    assert read.yaml == model.yaml
    assert read.train_args == {"imgsz": 320, "data": "x.yaml"}
    assert same(dict(model.state_dict()), read.state_dict)
    assert same(training, read.training)
    assert read.resumable
    assert {"date", "version", "license"} <= set(read.metadata)


def test_torch_reads_it_without_yolocore(model, training, tmp_path):
    path = write_checkpoint(tmp_path / "last.pt", native_payload(model, training=training))
    plain = torch.load(path, weights_only=True)
    assert plain["format"] == "yolocore"
    assert plain["version"] == 1
    assert same(training, plain["training"])


def test_build_model_restores_the_function(model, tmp_path):
    model.bn.running_mean.normal_()
    path = write_checkpoint(tmp_path / "best.pt", native_payload(model.eval()))
    rebuilt = build_model(read_checkpoint(path), Tiny)
    image = torch.randn(2, 3, 8, 8)
    assert torch.equal(model(image), rebuilt(image))
    assert rebuilt.names == model.names
    assert (rebuilt.bn.eps, rebuilt.bn.momentum) == (1e-3, 0.03)
    assert not rebuilt.training


def test_build_model_lists_what_does_not_fit(model, tmp_path):
    payload = native_payload(model)
    payload["model"]["extra.weight"] = payload["model"].pop("bn.bias")
    payload["model"]["conv.weight"] = torch.zeros(4, 3, 1, 1)
    path = write_checkpoint(tmp_path / "odd.pt", payload)
    with pytest.raises(
        CheckpointError,
        match=r"lacks bn\.bias.*unknown extra\.weight.*\(4, 3, 1, 1\), expected \(4, 3, 3, 3\)",
    ):
        build_model(read_checkpoint(path), Tiny)


@pytest.mark.parametrize(
    "value",
    [
        np.zeros(2),
        np.float64(1.5),
        {1, 2},
        b"bytes",
        Path("x"),
        print,
        object(),
        torch.device("cpu"),
        torch.float32,
    ],
    ids=lambda v: type(v).__name__,
)
def test_other_types_are_refused_with_their_key_path(model, tmp_path, value):
    payload = native_payload(model, training={"plugins": [{"state": value}]})
    with pytest.raises(CheckpointError, match=r"training\.plugins\.0\.state"):
        write_checkpoint(tmp_path / "last.pt", payload)
    assert not list(tmp_path.iterdir())


def test_odd_keys_missing_keys_and_endless_nesting_are_refused(model, tmp_path):
    loop: list[Any] = []
    loop.append(loop)
    for training, message in (({"a": {(1, 2): 3}}, r"\(1, 2\)"), ({"a": loop}, "nested deeper")):
        with pytest.raises(CheckpointError, match=message):
            write_checkpoint(tmp_path / "x.pt", native_payload(model, training=training))
    with pytest.raises(CheckpointError, match="names, nc, yaml"):
        write_checkpoint(tmp_path / "x.pt", {"task": "detect", "model": {}})


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("part", ["model", "training"])
def test_non_finite_weights_are_never_written(model, training, tmp_path, value, part):
    path = write_checkpoint(tmp_path / "last.pt", native_payload(model, training=training))
    before = path.read_bytes()
    payload = native_payload(model, training=training)
    (payload["model"] if part == "model" else training["model"])["conv.weight"].data[0, 0, 0, 0] = value
    with pytest.raises(CheckpointError, match=r"conv\.weight.*NaN or infinite"):
        write_checkpoint(path, payload)
    assert path.read_bytes() == before


def test_a_view_does_not_take_its_storage_along(model, tmp_path):
    large = torch.zeros(1_000_000)
    path = write_checkpoint(tmp_path / "last.pt", native_payload(model, training={"x": large[:3]}))
    assert path.stat().st_size < 50_000


def test_a_flipped_byte_names_the_tensor(model, training, tmp_path):
    path = write_checkpoint(tmp_path / "last.pt", native_payload(model, training=training))
    data = bytearray(path.read_bytes())
    for name, tensor in (
        ("model.conv.weight", model.conv.weight),
        ("training.optimizer.state.0.exp_avg", None),
    ):
        tensor = training["optimizer"]["state"][0]["exp_avg"] if tensor is None else tensor
        at = data.find(tensor.detach().numpy().tobytes())
        assert at > 0
        damaged = bytearray(data)
        damaged[at + 5] ^= 0x10
        path.write_bytes(damaged)
        with pytest.raises(CheckpointError, match=rf"last\.pt.*'{name}'.*checksum"):
            read_checkpoint(path)


def test_any_flipped_byte_is_noticed_or_harmless(model, training, tmp_path):
    path = write_checkpoint(tmp_path / "last.pt", native_payload(model, training=training))
    data, reference = path.read_bytes(), read_checkpoint(path)
    draw = random.Random(0)
    noticed = 0
    for _ in range(250):
        damaged = bytearray(data)
        damaged[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
        path.write_bytes(damaged)
        try:
            read = read_checkpoint(path)
        except CheckpointError:
            noticed += 1
        else:
            assert same(reference.state_dict, read.state_dict)
            assert same(reference.training, read.training)
    assert noticed > 50


def test_every_cut_is_noticed(model, tmp_path):
    path = write_checkpoint(tmp_path / "last.pt", native_payload(model))
    data = path.read_bytes()
    for length in [0, 1, 3, 4, 30, *range(50, len(data) - 1, 997), len(data) - 1]:
        path.write_bytes(data[:length])
        with pytest.raises(CheckpointError, match=r"last\.pt"):
            read_checkpoint(path)


def test_a_newer_format_says_so(model, tmp_path):
    path = tmp_path / "future.pt"
    torch.save({**native_payload(model), "format": "yolocore", "version": 99}, path)
    with pytest.raises(CheckpointError, match=r"version 99.*update yolocore"):
        read_checkpoint(path)


def test_missing_file_and_directory(tmp_path):
    with pytest.raises(MissingFileError, match=r"none\.pt"):
        read_checkpoint(tmp_path / "none.pt")
    with pytest.raises(CheckpointError, match="is a directory"):
        read_checkpoint(tmp_path)


def test_two_are_kept_and_the_newest_valid_one_is_picked(model, training, tmp_path, caplog):
    last = tmp_path / "last.pt"
    for epoch in (1, 2, 3):
        write_checkpoint(last, native_payload(model, training=training, metadata={"epoch": epoch}))
    best = write_checkpoint(tmp_path / "best.pt", native_payload(model))
    os.utime(best, (time.time() + 60,) * 2)  # a file system may keep times to a second only
    assert {p.name for p in tmp_path.iterdir()} == {"last.pt", "last.prev.pt", "best.pt"}
    assert read_checkpoint(previous_path(last)).epoch == 2
    assert newest_valid(tmp_path) == best
    assert newest_valid(tmp_path, resumable=True) == last
    last.write_bytes(last.read_bytes()[:-100])
    assert newest_valid(tmp_path, resumable=True) == previous_path(last)
    assert newest_valid(last) == previous_path(last)
    assert "skipped a damaged checkpoint" in caplog.text
    assert newest_valid(tmp_path / "nowhere") is None


def test_strip_training_leaves_weights_and_removes_the_predecessor(model, training, tmp_path):
    path = tmp_path / "last.pt"
    for _ in range(2):
        write_checkpoint(path, native_payload(model, {"imgsz": 64}, training=training, metadata={"epoch": 7}))
    size = path.stat().st_size
    assert strip_training(path) == path
    read = read_checkpoint(path)
    assert read.training is None
    assert not read.resumable
    assert (read.epoch, read.imgsz) == (7, 64)
    assert same(dict(model.state_dict()), read.state_dict)
    assert path.stat().st_size < size
    assert [p.name for p in tmp_path.iterdir()] == ["last.pt"]


def test_a_full_disk_leaves_the_previous_file(model, training, tmp_path):
    path = write_checkpoint(tmp_path / "last.pt", native_payload(model, training=training))
    before = path.read_bytes()
    large = {"x": torch.zeros(500_000)}
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))  # writes beyond fail like those on a full disk
    try:
        with pytest.raises(CheckpointError, match=r"last\.pt.*could not be written.*\d+ bytes are free"):
            write_checkpoint(path, native_payload(model, training=large))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["last.pt"]


def test_a_place_that_takes_no_files_is_an_error_with_the_path(model, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match=r"file/last\.pt: could not be written"):
        write_checkpoint(tmp_path / "file" / "last.pt", native_payload(model))


def test_a_link_is_followed(model, tmp_path):
    real = tmp_path / "elsewhere" / "weights.pt"
    real.parent.mkdir()
    real.write_bytes(b"old")
    link = tmp_path / "last.pt"
    link.symlink_to(real)
    write_checkpoint(link, native_payload(model))
    assert link.is_symlink()
    assert read_checkpoint(real).nc == 4


KILLED = """
import os, random, signal, sys, time
from pathlib import Path
import torch
from yolocore.nn.checkpoint import newest_valid, read_checkpoint, write_checkpoint

folder = Path(sys.argv[1])
last = folder / "last.pt"
big = torch.arange(1_500_000, dtype=torch.float32)
payload = lambda n: {"task": "detect", "names": {0: "a"}, "nc": 1, "yaml": {}, "stride": [8.0],
                     "model": {"w": big + n}, "training": {"n": n, "big": big}, "metadata": {"epoch": n}}
write_checkpoint(last, payload(0))
draw = random.Random(1)
for round_ in range(8):
    child = os.fork()
    if child == 0:
        n = read_checkpoint(last).epoch
        while True:
            n += 1
            write_checkpoint(last, payload(n))
    time.sleep(draw.uniform(0.05, 0.25))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    found = newest_valid(folder, resumable=True)
    read = read_checkpoint(found)
    assert found == last and torch.equal(read.state_dict["w"], big + read.epoch), found
write_checkpoint(last, payload(1))
print(sorted(p.name for p in folder.iterdir()))
"""


@pytest.mark.skipif(os.name != "posix", reason="kills a forked process")
def test_kill_9_at_any_moment_leaves_a_valid_checkpoint(tmp_path):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path)],
        capture_output=True,
        text=True,
        env=environment,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "['last.prev.pt', 'last.pt']"


def test_reading_is_quick_and_aliases_stay_small(model, tmp_path):
    shared = torch.randn(1000)
    payload = native_payload(model, training={"model": {"a": shared}, "ema": {"a": shared}})
    path = write_checkpoint(tmp_path / "last.pt", payload)
    assert path.stat().st_size < 25_000
    read = read_checkpoint(path).training
    assert all(torch.equal(shared, tensor) for tensor in itertools.chain(read["model"].values(), read["ema"].values()))
