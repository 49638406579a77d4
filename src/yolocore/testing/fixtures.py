"""The fixtures of the kit; ``pytest_plugins = ["yolocore.testing"]`` brings them in."""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

import yolocore
from yolocore.hooks.discovery import rescan
from yolocore.testing.conformance import PluginConformance
from yolocore.testing.datasets import make_tiny_dataset, tiny_model
from yolocore.testing.disk import mounted
from yolocore.testing.installation import install_fake
from yolocore.testing.lab import PluginLab
from yolocore.testing.network import NetworkBlocker
from yolocore.testing.ranks import fake_rank
from yolocore.testing.recorder import HookRecorder
from yolocore.testing.short import two_epochs, weights_digest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
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


@pytest.fixture(scope="session")
def isolated_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An empty directory in which yolocore keeps settings and caches; the user's settings and proxies are away.

    Numbers are computed by one thread, so that trainings in several processes end with the same bits.
    """
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.lower().endswith("_proxy") or name.startswith("YOLOCORE_")]:
            patch.delenv(name)
        for kind in ("CONFIG", "CACHE"):
            patch.setenv(f"YOLOCORE_{kind}_DIR", str(home / f"yolocore-{kind.lower()}"))
        patch.setenv("OMP_NUM_THREADS", "1")
        yield home


@pytest.fixture(scope="session")
def short_training(tiny_detect_dataset: Path, tiny_detect_model: Path) -> Callable[..., Any]:
    """A function that trains a detector for two epochs of three batches and returns the trainer.

    ``short_training(folder, callbacks, plugins="bell")``: ``folder`` is the ``project``, by default that of any
    training; ``callbacks`` are functions by event; ``attach=[hook_recorder]`` lets recorders and clocks listen; all
    else are arguments of the training.
    """

    def train(
        folder: Path | None = None,
        callbacks: dict[str, Callable[[Any], Any]] | None = None,
        *,
        plugins: str,
        attach: Iterable[Any] = (),
        **more: Any,
    ) -> Any:
        model = yolocore.YOLO(tiny_detect_model)
        for listener in attach:
            listener.attach(model)
        for event, function in (callbacks or {}).items():
            model.add_callback(event, function)
        place = {} if folder is None else {"project": str(folder)}
        model.train(**two_epochs(tiny_detect_dataset, plugins, **{**place, **more}))
        return model.trainer

    return train


@pytest.fixture(scope="session")
def control_digest(short_training: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> str:
    """Hash of the weights that ``short_training`` ends with when no plugin takes part."""
    return weights_digest(short_training(tmp_path_factory.mktemp("control"), plugins="none", plots=False))


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
def small_disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """A function ``small_disk(kilobytes)`` that gives an empty directory on a file system of that size.

    The test is skipped where nothing may be mounted.
    """
    with ExitStack() as disks:

        def make(kilobytes: int) -> Path:
            folder = tmp_path / f"disk-of-{kilobytes}k"
            try:
                return disks.enter_context(mounted(folder, kilobytes))
            except PermissionError as error:
                pytest.skip(str(error))

        yield make


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
