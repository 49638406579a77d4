"""Classification: crops, erasing, the two transforms, the dataset and its batches."""

from __future__ import annotations

import logging
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torchvision.transforms as reference
from PIL import Image

from yolocore.config import make_config
from yolocore.config.dataset import load_dataset
from yolocore.data.augment.classify import ClassifyEval, ClassifyTrain, area_range, erase, random_crop
from yolocore.data.build import build_classification_dataset, build_loader
from yolocore.data.classify import ClassificationDataset
from yolocore.errors import DataError

TASKS = ("detect", "segment", "pose", "obb", "classify")
OFF = {"scale": (1.0, 1.0), "fliplr": 0.0, "flipud": 0.0, "hsv_h": 0.0, "hsv_s": 0.0, "hsv_v": 0.0}
OFF |= {"auto_augment": None, "erasing": 0.0}


def arguments(**changes) -> SimpleNamespace:
    return SimpleNamespace(**(OFF | changes))


def picture(h: int, w: int, seed: int = 0) -> np.ndarray:
    small = np.random.default_rng(seed).integers(0, 255, (5, 7, 3), np.uint8)
    return np.asarray(Image.fromarray(small).resize((w, h), Image.Resampling.BICUBIC))


# --- crops and erasing ---


def test_area_range() -> None:
    assert area_range(0.5) == (0.5, 1.0)
    assert area_range(1.0) == (0.08, 1.0)
    assert area_range(0.0) == (1.0, 1.0)
    assert area_range((0.3, 0.8)) == (0.3, 0.8)
    assert area_range((0.01, 1.7)) == (0.08, 1.0)


def test_random_crops_have_the_asked_areas_and_ratios() -> None:
    rng = np.random.default_rng(0)
    boxes = np.array([random_crop((300, 400), (0.2, 0.6), rng) for _ in range(2000)])
    w, h = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    assert (boxes[:, :2] >= 0).all()
    assert (boxes[:, 2] <= 400).all()
    assert (boxes[:, 3] <= 300).all()
    share, ratio = w * h / 120_000, w / h
    assert 0.19 < share.min() < 0.22
    assert 0.57 < share.max() < 0.61
    assert share.mean() == pytest.approx(0.4, abs=0.02)
    assert 0.74 < ratio.min() < 0.77
    assert 1.30 < ratio.max() < 1.36
    assert np.log(ratio).mean() == pytest.approx(0, abs=0.02)


def test_a_narrow_image_gives_the_largest_allowed_crop() -> None:
    assert random_crop((100, 1000), (1.0, 1.0), np.random.default_rng(0)) == (433, 0, 566, 100)
    assert random_crop((1000, 100), (1.0, 1.0), np.random.default_rng(0)) == (0, 433, 100, 566)


def test_erased_rectangles() -> None:
    rng = np.random.default_rng(0)
    shares = []
    for _ in range(300):
        planes = np.ones((3, 64, 64), np.float32)
        erase(planes, rng)
        gone = planes[0] == 0
        assert (planes == planes[0]).all()
        rows, columns = np.flatnonzero(gone.any(1)), np.flatnonzero(gone.any(0))
        assert gone[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()
        shares.append(gone.mean())
    assert 0.015 < min(shares) < 0.04
    assert 0.3 < max(shares) < 0.345


# --- transforms ---


@pytest.mark.parametrize("shape", [(48, 64), (64, 48), (50, 50), (123, 200), (20, 31)])
@pytest.mark.parametrize(("imgsz", "fraction"), [(32, 1.0), (40, 0.875), (64, 0.5)])
def test_evaluation_is_that_of_torchvision(shape: tuple[int, int], imgsz: int, fraction: float) -> None:
    image = picture(*shape)
    ours = ClassifyEval(imgsz, fraction)(image[..., ::-1])  # takes BGR
    theirs = reference.Compose(
        [reference.Resize(int(imgsz / fraction)), reference.CenterCrop(imgsz), reference.ToTensor()]
    )(Image.fromarray(image))
    assert ours.shape == (3, imgsz, imgsz)
    assert ours.dtype == torch.float32
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)


def test_evaluation_of_a_rectangle() -> None:
    out = ClassifyEval((32, 64))(picture(100, 100))
    assert out.shape == (3, 32, 64)


def test_training_without_chance_is_a_resize() -> None:
    image = picture(60, 60)
    out = ClassifyTrain(arguments(), 30)(image[..., ::-1], np.random.default_rng(0))
    want = np.asarray(Image.fromarray(image).resize((30, 30), Image.Resampling.BILINEAR)).transpose(2, 0, 1) / 255
    np.testing.assert_allclose(out, want, atol=1e-6)


def test_flips() -> None:
    image = picture(32, 32)
    plain = ClassifyTrain(arguments(), 32)(image, np.random.default_rng(0))
    mirrored = ClassifyTrain(arguments(fliplr=1.0), 32)(image, np.random.default_rng(0))
    turned = ClassifyTrain(arguments(flipud=1.0), 32)(image, np.random.default_rng(0))
    assert torch.equal(mirrored, plain.flip(2))
    assert torch.equal(turned, plain.flip(1))


def test_erasing_has_its_probability() -> None:
    transform = ClassifyTrain(arguments(erasing=0.4), 32)
    white = np.full((32, 32, 3), 255, np.uint8)
    erased = sum(float(transform(white, np.random.default_rng(s)).min()) == 0 for s in range(400))
    assert 120 < erased < 200


def test_a_policy_replaces_the_colour_jitter() -> None:
    image = picture(32, 32)
    rng = np.random.default_rng
    jittered = ClassifyTrain(arguments(hsv_v=0.9, hsv_s=0.9), 32)(image, rng(1))
    with_policy = ClassifyTrain(arguments(hsv_v=0.9, hsv_s=0.9, auto_augment="randaugment"), 32)(image, rng(1))
    policy_only = ClassifyTrain(arguments(auto_augment="randaugment"), 32)(image, rng(1))
    assert torch.equal(with_policy, policy_only)
    assert not torch.equal(jittered, with_policy)


# --- dataset ---


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three classes with five training and two validation pictures each; the class shows in the red channel."""
    for split, count in (("train", 5), ("val", 2)):
        for number, name in enumerate(("ant", "bee", "cat")):
            (tmp_path / split / name).mkdir(parents=True)
            for i in range(count):
                image = picture(40, 50, seed=i).copy()
                image[..., 0] = 60 * (number + 1)
                Image.fromarray(image).save(tmp_path / split / name / f"{i}.png")
    return tmp_path


def build(folder: Path, split: str = "train", mode: str = "train", **changes) -> ClassificationDataset:
    info = load_dataset(folder, task="classify", settings={"datasets_dir": "."})
    args = make_config("train", {"task": "classify", "imgsz": 32, **changes}, tasks=TASKS)
    return build_classification_dataset(info, split, args, mode=mode)  # type: ignore[arg-type]


def test_batches(folder: Path) -> None:
    loader = build_loader(build(folder, "val", "val"), 4)
    first, second = loader
    assert (first["img"].shape, first["img"].dtype) == ((4, 3, 32, 32), torch.float32)
    assert (first["cls"].tolist(), first["cls"].dtype) == ([0, 0, 1, 1], torch.int64)
    assert second["cls"].tolist() == [2, 2]
    assert first["ori_shape"] == ((40, 50),) * 4
    assert Path(first["im_file"][2]).parts[-2:] == ("bee", "0.png")
    red = torch.cat([first["img"], second["img"]])[:, 0].mean((1, 2)) * 255
    np.testing.assert_allclose(red, [60, 60, 120, 120, 180, 180], atol=1e-3)  # RGB, and the class of its folder


def test_samples_depend_on_seed_epoch_and_index(folder: Path) -> None:
    one, two, other = build(folder), build(folder), build(folder, seed=5)
    assert torch.equal(one[3]["img"], two[3]["img"])
    assert not torch.equal(one[3]["img"], other[3]["img"])
    before = one[3]["img"]
    one.set_epoch(1)
    assert not torch.equal(one[3]["img"], before)
    one.set_epoch(0)
    assert torch.equal(one[3]["img"], before)
    state = torch.get_rng_state()
    for i in range(len(one)):
        assert one[i]["img"].min() >= 0
        assert one[i]["img"].max() <= 1
    assert torch.equal(torch.get_rng_state(), state), "the generator of PyTorch is left alone"


def test_workers_and_caches_change_no_sample(folder: Path) -> None:
    before = {p: p.stat().st_mtime_ns for p in folder.rglob("*")}
    want = list(build_loader(build(folder), 4, shuffle=True))
    assert sorted(torch.cat([b["cls"] for b in want]).tolist()) == [0] * 5 + [1] * 5 + [2] * 5
    for cache in ("ram", "disk"):
        dataset = build(folder, cache=cache)
        assert dataset.images.mode == cache
        for a, b in zip(want, build_loader(dataset, 4, shuffle=True), strict=True):
            assert torch.equal(a["img"], b["img"])
            assert a["im_file"] == b["im_file"]
    assert {p: p.stat().st_mtime_ns for p in folder.rglob("*")} == before, "nothing is written into the dataset"


@pytest.mark.slow
def test_worker_processes_give_the_same_batches(folder: Path) -> None:
    loader = build_loader(build(folder), 4, shuffle=True)
    want = list(loader)
    loader.num_workers = 2
    for a, b in zip(want, loader, strict=True):
        assert torch.equal(a["img"], b["img"])
        assert a["cls"].tolist() == b["cls"].tolist()


def test_a_fraction_takes_as_much_of_every_class(folder: Path) -> None:
    assert build(folder, fraction=0.6).store.cls.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert build(folder, fraction=3).store.cls.tolist() == [0, 1, 2]
    assert len(build(folder, "val", "val", fraction=0.5)) == 6


def test_classes_and_single_cls(folder: Path) -> None:
    assert set(build(folder, classes=[0, 2]).store.cls.tolist()) == {0, 2}
    assert set(build(folder, single_cls=True).store.cls.tolist()) == {0}
    for file in (folder / "val" / "cat").iterdir():
        file.unlink()
    with pytest.raises(DataError, match=r"no image of the classes \[2\]"):
        build(folder, "val", "val", classes=[2])


def test_broken_files_are_counted_and_fatal_only_when_strict(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    (folder / "train" / "bee" / "1.png").write_bytes(b"no image")
    with caplog.at_level(logging.WARNING):
        assert len(build(folder)) == 14
    assert "bee/1.png" in caplog.text
    with pytest.raises(DataError, match="strict"):
        build(folder, strict=True)


def test_an_image_that_breaks_during_the_run_is_replaced(folder: Path) -> None:
    dataset = build(folder)
    Path(dataset.im_files[7]).write_bytes(b"gone")
    assert dataset[7]["im_file"] != dataset.im_files[7]
    assert list(dataset.bad) == [dataset.im_files[7]]


def test_augmentation_needs_its_arguments(folder: Path) -> None:
    with pytest.raises(TypeError, match="needs args"):
        ClassificationDataset(build(folder).store, imgsz=32, augment=True)


@pytest.mark.shared
@pytest.mark.parametrize(("name", "counts"), [("sign-digits", (200, 100)), ("cifar10-mini", (400, 200))])
def test_real_sets(shared_dir: Path, name: str, counts: tuple[int, int]) -> None:
    folder = shared_dir / "data" / name
    for split, count in zip(("train", "val"), counts, strict=True):
        dataset = build(folder, split, split)
        assert len(dataset) == count
        assert np.bincount(dataset.store.cls.astype(int)).tolist() == [count // 10] * 10
        batch = next(iter(build_loader(dataset, 8)))
        assert batch["img"].shape == (8, 3, 32, 32)
