"""Batches do not depend on workers, restarts or interruptions; a lost worker is replaced once and then named."""

from __future__ import annotations

import hashlib
import logging
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from yolocore.config import make_config
from yolocore.data.build import build_loader, effective_workers
from yolocore.data.dataset import BadSampleError, YOLODataset
from yolocore.data.images import ImageFault
from yolocore.data.labels import LabelStore
from yolocore.data.loader import EpochLoader, WorkerError
from yolocore.data.sampler import epoch_batches, epoch_order
from yolocore.data.watch import Watch

# torch's advice, where the suite may use one core only
pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create")

SIZE = 32
N = 11


class Tiny(YOLODataset):
    """Eleven images that need no files: image i is full of noise from generator i; index 5 can misbehave."""

    def __init__(self, tricks: Path | None = None, trick: str = "", **options) -> None:
        files = [f"image{i:02}.png" for i in range(N)]
        store = LabelStore(
            im_files=files,
            shapes=np.full((N, 2), SIZE, np.int32),
            offsets=np.arange(N + 1, dtype=np.int64),
            cls=np.arange(N, dtype=np.float32),
            bboxes=np.full((N, 4), 0.5, np.float32),
            seg_points=np.empty((0, 2), np.float32),
            seg_offsets=np.zeros(N + 1, np.int64),
        )
        self.tricks, self.trick = tricks, trick
        super().__init__(store, imgsz=SIZE, **options)
        self.images = Noise(self)  # type: ignore[assignment]


class Noise:
    """Stands in for the decoder only: same interface, pixels from a generator, misfortunes on demand."""

    def __init__(self, owner: Tiny) -> None:
        self.owner = owner
        self.originals = self.sizes = [(SIZE, SIZE)] * N

    def limit(self, budget: int) -> None:
        assert budget > 0

    def __getitem__(self, index: int) -> np.ndarray:
        if index == 5 and self.owner.trick:
            self.misbehave()
        return np.random.default_rng(index).integers(0, 255, (SIZE, SIZE, 3), np.uint8)

    def misbehave(self) -> None:
        owner = self.owner
        if owner.trick == "bad":
            raise ImageFault("image05.png", "gone")
        if owner.trick == "wrong":
            raise KeyError("a programming error")
        first = not (owner.tricks / "done").exists()
        (owner.tricks / "done").touch()
        if first or owner.trick.endswith("always"):
            if owner.trick.startswith("kill"):
                os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(600)


def prints(loader: EpochLoader) -> list[str]:
    """One fingerprint a batch."""
    return [
        hashlib.sha256(
            b["img"].numpy().tobytes() + b["bboxes"].numpy().tobytes() + str(b["im_file"]).encode()
        ).hexdigest()
        for b in loader
    ]


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("yolocore.data.loader.POLL_SECONDS", 0.5)
    monkeypatch.setattr("yolocore.data.loader.STALL_SECONDS", 1.0)


# --- order ---


def test_order_follows_seed_and_epoch() -> None:
    assert sorted(epoch_order(20, 0, 0)) == list(range(20))
    assert epoch_order(20, 0, 0).tolist() == epoch_order(20, 0, 0).tolist()
    assert epoch_order(20, 0, 0).tolist() != epoch_order(20, 0, 1).tolist()
    assert epoch_order(20, 0, 0).tolist() != epoch_order(20, 1, 0).tolist()


def test_batches_of_one_process() -> None:
    batches = epoch_batches(10, 4, shuffle=True)
    assert [len(b) for b in batches] == [4, 4, 2]
    assert sorted(np.concatenate(batches)) == list(range(10))
    assert [len(b) for b in epoch_batches(10, 4, shuffle=False, drop_last=True)] == [4, 4]
    assert epoch_batches(10, 4, shuffle=False)[1].tolist() == [4, 5, 6, 7]
    assert epoch_batches(0, 4, shuffle=True) == []


@pytest.mark.parametrize("shuffle", [True, False])
def test_ranks_share_the_samples_evenly(shuffle: bool) -> None:
    ranks = [epoch_batches(23, 4, shuffle=shuffle, rank=r, world_size=3, epoch=2) for r in range(3)]
    assert len({len(r) for r in ranks}) == 1
    assert set(np.concatenate([np.concatenate(r) for r in ranks])) == set(range(23))


def test_validation_never_repeats_a_sample() -> None:
    ranks = [epoch_batches(23, 4, shuffle=False, even=False, rank=r, world_size=4) for r in range(4)]
    assert sorted(np.concatenate([np.concatenate(r) for r in ranks])) == list(range(23))


# --- loading ---


def test_length_and_last_batch() -> None:
    loader = build_loader(Tiny(), 4)
    assert len(loader) == 3
    assert [len(b["img"]) for b in loader] == [4, 4, 3]
    assert (loader.batch_size, loader.num_workers) == (4, 0)
    assert next(iter(loader))["im_file"] == ("image00.png", "image01.png", "image02.png", "image03.png")


def test_the_number_of_workers_does_not_change_a_batch() -> None:
    zero, two = (EpochLoader(Tiny(), 4, w, shuffle=True, seed=3) for w in (0, 2))
    for epoch in (0, 1):
        zero.set_epoch(epoch)
        two.set_epoch(epoch)
        assert prints(zero) == prints(two)
    zero.set_epoch(0)
    assert prints(zero) != prints(two)
    two.reset()
    assert two.epoch == 1


@pytest.mark.parametrize("workers", [0, 2])
def test_skip_goes_on_in_the_middle(workers: int) -> None:
    loader = EpochLoader(Tiny(), 2, workers, shuffle=True)
    loader.set_epoch(4)
    whole = prints(loader)
    loader.skip(2)
    assert prints(loader) == whole[2:]
    assert prints(loader) == whole, "skip is for one iteration"
    assert len(loader) == 6
    loader.skip(6)
    assert prints(loader) == []


@pytest.mark.parametrize("workers", [0, 2])
def test_an_iteration_may_be_left(workers: int) -> None:
    loader = EpochLoader(Tiny(), 2, workers)
    whole = prints(loader)
    for _ in loader:
        break
    assert prints(loader) == whole


def test_workers_leave_the_global_random_stream_alone() -> None:
    loader = EpochLoader(Tiny(), 4, 2, shuffle=True)
    torch.manual_seed(0)
    before = torch.get_rng_state()
    np_before = np.random.get_state()[1].copy()  # noqa: NPY002 - the global state is the point
    prints(loader)
    assert torch.equal(before, torch.get_rng_state())
    assert (np_before == np.random.get_state()[1]).all()  # noqa: NPY002


def test_close_mosaic_reaches_workers_that_run_already() -> None:
    still = {"scale": 0.0, "translate": 0.0, "hsv_h": 0.0, "hsv_s": 0.0, "hsv_v": 0.0, "fliplr": 0.0}
    loader = EpochLoader(Tiny(args=make_config("train", {**still, "mosaic": 1.0}), augment=True), 4, 2)
    tiled = prints(loader)
    loader.dataset.close_mosaic()
    assert prints(loader) != tiled
    plain = make_config("train", {**still, "mosaic": 0.0})
    assert prints(loader) == prints(EpochLoader(Tiny(args=plain, augment=True), 4, 0))


def test_workers_are_kept_between_epochs() -> None:
    loader = EpochLoader(Tiny(), 4, 2)
    prints(loader)
    first = sorted(loader._crew.watch.pids())
    prints(loader)
    assert sorted(loader._crew.watch.pids()) == first
    loader.reset()
    prints(loader)
    assert sorted(loader._crew.watch.pids()) != first


@pytest.mark.parametrize("workers", [0, 1])
def test_errors_reach_the_caller(tmp_path: Path, workers: int) -> None:
    with pytest.raises(KeyError, match="programming error"):
        prints(EpochLoader(Tiny(tmp_path, "wrong"), 4, workers))


@pytest.mark.parametrize("workers", [0, 2])
def test_bad_images_are_counted_in_the_main_process(tmp_path: Path, workers: int) -> None:
    loader = EpochLoader(Tiny(tmp_path, "bad"), 4, workers)
    files = [f for b in loader for f in b["im_file"]]
    assert "image05.png" not in files
    assert len(files) == N
    assert list(loader.dataset.bad) == ["image05.png"]


@pytest.mark.parametrize("workers", [0, 1])
def test_too_many_bad_images_stop_the_loader(tmp_path: Path, workers: int) -> None:
    with pytest.raises(BadSampleError, match="image05"):
        prints(EpochLoader(Tiny(tmp_path, "bad", strict=True), 4, workers))


# --- lost workers ---


@pytest.mark.parametrize("trick", ["kill", "hang"])
def test_a_lost_worker_is_replaced(tmp_path: Path, trick: str, quick: None, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        got = prints(EpochLoader(Tiny(tmp_path, trick), 2, 2))
    assert got == prints(EpochLoader(Tiny(), 2, 0))
    (record,) = [r for r in caplog.records if "worker" in r.getMessage()]
    assert ("died" if trick == "kill" else "hangs") in record.getMessage()
    assert "image05.png" in record.getMessage()


@pytest.mark.parametrize("trick", ["kill-always", "hang-always"])
def test_a_worker_lost_twice_is_an_error_that_names_the_sample(tmp_path: Path, trick: str, quick: None) -> None:
    loader = EpochLoader(Tiny(tmp_path, trick), 2, 2)
    start = time.monotonic()
    with pytest.raises(WorkerError, match="image05"):
        prints(loader)
    assert time.monotonic() - start < 15
    loader.dataset.trick = ""
    assert len(prints(loader)) == 6


def test_time_limits_leave_room_for_two_attempts() -> None:
    from yolocore.data.loader import POLL_SECONDS, STALL_SECONDS

    assert 2 * (POLL_SECONDS + STALL_SECONDS) < 27  # 30 s promised, the rest is for starting workers


def test_watch() -> None:
    watch = Watch(3)
    assert watch.pids() == []
    assert watch.busy() == []
    watch.start(1)
    assert watch.pids() == [os.getpid()]
    watch.work(1, 7)
    assert watch.busy() == [7]
    assert watch.busy(5.0) == []
    watch.work(1, -1)
    assert watch.busy() == []
    assert not watch.silent()
    assert watch.silent(-1.0)


def test_effective_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)), raising=False)
    assert effective_workers(16, 100) == 8
    assert effective_workers(4, 100) == 4
    assert effective_workers(8, 3) == 3
    assert effective_workers(8, 100, world_size=4) == 2
    assert effective_workers(8, 100, world_size=16) == 0
    assert effective_workers(8, 100, device="cpu") == 0
    assert effective_workers(8, 100, device=torch.device("cuda", 0)) == 8
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {5, 7})
    assert effective_workers(16, 100) == 2, "the job may use two of the eight cores"
    assert effective_workers(16, 100, world_size=8) == 1
