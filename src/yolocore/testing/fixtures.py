"""The fixtures of the kit; ``pytest_plugins = ["yolocore.testing"]`` brings them in."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest

from yolocore.hooks.discovery import rescan
from yolocore.testing.conformance import PluginConformance
from yolocore.testing.datasets import make_tiny_dataset, tiny_model
from yolocore.testing.installation import install_fake
from yolocore.testing.lab import PluginLab
from yolocore.testing.network import NetworkBlocker
from yolocore.testing.ranks import fake_rank
from yolocore.testing.recorder import HookRecorder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from yolocore.engine.ranks import Ranks


@pytest.fixture(scope="session")
def tiny_detect_dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Path of the YAML of a detection dataset: 12 pictures to train, 4 to validate, 32 px square, 4 classes."""
    return make_tiny_dataset(tmp_path_factory.mktemp("tiny-detect"), "detect")


@pytest.fixture(scope="session")
def tiny_segment_dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Like ``tiny_detect_dataset``, with polygons as labels."""
    return make_tiny_dataset(tmp_path_factory.mktemp("tiny-segment"), "segment")


@pytest.fixture(scope="session")
def tiny_pose_dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Like ``tiny_detect_dataset``, with 4 keypoints an object."""
    return make_tiny_dataset(tmp_path_factory.mktemp("tiny-pose"), "pose")


@pytest.fixture(scope="session")
def tiny_obb_dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Like ``tiny_detect_dataset``, with four corners an object."""
    return make_tiny_dataset(tmp_path_factory.mktemp("tiny-obb"), "obb")


@pytest.fixture(scope="session")
def tiny_classify_dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Path of the directory of a classification set: 12 pictures to train, 4 to validate, 32 px, 4 classes."""
    return make_tiny_dataset(tmp_path_factory.mktemp("tiny-classify"), "classify")


@pytest.fixture(scope="session")
def tiny_detect_model() -> Path:
    """Path of the model file of a detector with strides 8 and 16; its weights are random."""
    return tiny_model("detect")


@pytest.fixture(scope="session")
def tiny_segment_model() -> Path:
    """Like ``tiny_detect_model``, for masks."""
    return tiny_model("segment")


@pytest.fixture(scope="session")
def tiny_pose_model() -> Path:
    """Like ``tiny_detect_model``, for keypoints."""
    return tiny_model("pose")


@pytest.fixture(scope="session")
def tiny_obb_model() -> Path:
    """Like ``tiny_detect_model``, for rotated boxes."""
    return tiny_model("obb")


@pytest.fixture(scope="session")
def tiny_classify_model() -> Path:
    """Path of the model file of a classifier with random weights."""
    return tiny_model("classify")


@pytest.fixture
def hook_recorder() -> HookRecorder:
    """A new :class:`HookRecorder`; ``hook_recorder.attach(model)`` lets it listen."""
    return HookRecorder()


@pytest.fixture
def no_network() -> Iterator[NetworkBlocker]:
    """Let every connection to another machine fail during the test; ``no_network.attempts`` lists them."""
    with NetworkBlocker() as blocker:
        yield blocker


@pytest.fixture
def fake_ranks(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ranks]:
    """A function ``fake_ranks(rank, world_size=2)`` whose result goes to a trainer as ``ranks=``."""
    for variable in ("RANK", "LOCAL_RANK", "WORLD_SIZE"):
        monkeypatch.setenv(variable, "0")  # so that it is put back afterwards
        monkeypatch.delenv(variable)
    return fake_rank


@pytest.fixture
def fake_installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Path]]:
    """A function ``fake_installation(name, source)`` that installs a plugin for the rest of the test."""
    folder = tmp_path / "site"
    before = set(sys.modules)

    def install(name: str, source: str, **options: Any) -> Path:
        install_fake(folder, name, source, **options)
        monkeypatch.syspath_prepend(folder)
        rescan()
        return folder

    yield install
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", None)).startswith(str(folder)):
            del sys.modules[name]
    rescan()


@pytest.fixture(scope="class")
def plugin_lab(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> PluginLab:
    """What the checks of a :class:`PluginConformance` class found out, made when first asked for."""
    suite = request.cls() if request.cls else None
    if not isinstance(suite, PluginConformance):
        raise pytest.UsageError("the fixture plugin_lab is for classes derived from PluginConformance")
    return PluginLab(suite, tmp_path_factory.mktemp(f"conformance-{suite.name}"))
