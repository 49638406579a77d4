"""From a dataset on disk to batches, with the real configuration."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import yaml

from yolocore.config import make_config
from yolocore.config.dataset import load_dataset
from yolocore.data.build import build_dataset, build_loader


@pytest.fixture(scope="module")
def info(tmp_path_factory: pytest.TempPathFactory):
    """Eight training and six validation images; two classes, and a polygon in the last image."""
    root = tmp_path_factory.mktemp("set")
    rng = np.random.default_rng(0)
    for split, n in (("train", 8), ("val", 6)):
        (root / "images" / split).mkdir(parents=True)
        (root / "labels" / split).mkdir(parents=True)
        for i in range(n):
            h, w = (96, 112) if i % 2 else (112, 64)
            cv2.imwrite(str(root / f"images/{split}/{i}.png"), rng.integers(0, 255, (h, w, 3), np.uint8))
            rows = "0 0.5 0.5 0.5 0.5\n1 0.3 0.3 0.2 0.2\n" if i < n - 1 else "1 0.1 0.1 0.9 0.1 0.9 0.8\n"
            (root / f"labels/{split}/{i}.txt").write_text(rows)
    text = yaml.safe_dump({"train": "images/train", "val": "images/val", "names": ["a", "b"]})
    (root / "data.yaml").write_text(text)
    return load_dataset(root / "data.yaml", task="detect", settings={"datasets_dir": str(root)})


def config(**changes):
    return make_config("train", {"imgsz": 64, **changes})


def test_training_and_validation(info) -> None:
    train = build_loader(build_dataset(info, "train", config()), 3, shuffle=True)
    batches = list(train)
    assert [tuple(b["img"].shape) for b in batches] == [(3, 3, 64, 64), (3, 3, 64, 64), (2, 3, 64, 64)]
    val = build_loader(build_dataset(info, "val", config(), mode="val", batch=3), 3, shuffle=True)
    shapes = [tuple(b["img"].shape) for b in val]
    assert shapes == [(3, 3, 96, 96), (3, 3, 96, 64)]
    assert next(iter(val))["im_file"][0].endswith("1.png"), "the order by aspect ratio is kept"


def test_validation_may_be_square(info) -> None:
    dataset = build_dataset(info, "val", config(), mode="val", rect=False)
    assert {tuple(dataset[i]["img"].shape) for i in range(6)} == {(3, 64, 64)}


def test_fraction(info) -> None:
    assert len(build_dataset(info, "train", config(fraction=0.5))) == 4
    assert len(build_dataset(info, "train", config(fraction=3))) == 3
    assert len(build_dataset(info, "train", config(fraction=[0.5, 2]))) == 4
    assert len(build_dataset(info, "val", config(fraction=[0.5, 2]), mode="val")) == 2
    assert len(build_dataset(info, "val", config(fraction=0.5), mode="val")) == 6
    assert build_dataset(info, "train", config(fraction=0.5)).im_files[-1].endswith("3.png")


def test_classes_and_single_cls(info) -> None:
    only = build_dataset(info, "train", config(classes=[1]))
    assert set(only.store.cls.tolist()) == {1.0}
    assert len(only) == 8
    merged = build_dataset(info, "train", config(classes=[1], single_cls=True))
    assert set(merged.store.cls.tolist()) == {0.0}
    assert len(merged.store.cls) == 8


def test_arguments_reach_the_dataset(info, caplog: pytest.LogCaptureFixture) -> None:
    dataset = build_dataset(info, "train", config(cache="ram", seed=7, bgr=1.0), imgsz=96)
    assert (dataset.images.mode, dataset.seed, dataset.bgr, dataset.imgsz) == ("ram", 7, 1.0, 96)
    assert dataset[0]["img"].shape == (3, 96, 96)
    same = build_dataset(info, "train", config(seed=7, bgr=1.0), imgsz=96)
    assert torch.equal(dataset[0]["img"], same[0]["img"]), "a cache changes no sample"


def test_nothing_is_written_into_the_dataset(info) -> None:
    root = Path(info["path"])
    before = {p: p.stat().st_mtime_ns for p in root.rglob("*")}
    for cache in (True, "disk"):
        list(build_loader(build_dataset(info, "train", config(cache=cache)), 4, shuffle=True))
    assert {p: p.stat().st_mtime_ns for p in root.rglob("*")} == before


def test_every_augmentation_at_once(info) -> None:
    everything = {"degrees": 20.0, "translate": 0.2, "scale": (0.5, 1.2), "shear": 5.0, "perspective": 0.0005}
    everything |= {"mixup": 0.5, "cutmix": 0.5, "copy_paste": 0.5, "flipud": 0.5, "bgr": 0.5}
    for mode in ("flip", "mixup"):
        dataset = build_dataset(info, "train", config(**everything, copy_paste_mode=mode))
        for epoch in range(4):
            dataset.set_epoch(epoch)
            for batch in build_loader(dataset, 4):
                boxes = batch["bboxes"]
                assert torch.isfinite(boxes).all()
                low, high = boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2
                assert (low > -1e-5).all()
                assert (high < 1 + 1e-5).all()
                assert (boxes[:, 2:] * 64 > 2).all()


@pytest.mark.shared
def test_pictures_of_every_dense_task(shared_dir: Path) -> None:
    sets = {"detect": "coco128", "segment": "coco8-seg", "pose": "coco8-pose", "obb": "dota8"}
    extra = {"detect": set(), "segment": {"masks"}, "pose": {"keypoints"}, "obb": set()}
    for task, name in sets.items():
        (file,) = (shared_dir / "data" / name).glob("*.yaml")
        info = load_dataset(file, task=task, settings={"datasets_dir": "."})
        settings = {"task": task, "imgsz": 160, "degrees": 10.0, "shear": 3.0}
        dataset = build_dataset(info, "train", make_config("train", settings, tasks=tuple(sets)))
        for epoch in range(3):
            dataset.set_epoch(epoch)
            for batch in build_loader(dataset, 4, shuffle=True):
                assert batch["img"].shape[1:] == (3, 160, 160)
                assert set(batch) >= extra[task]
                xywh = batch["bboxes"][:, :4]
                assert (xywh[:, 2:] > 0).all()
                if task != "obb":  # an oriented box keeps its size where it leaves the image
                    assert (xywh >= 0).all()
                    assert (xywh <= 1).all()
