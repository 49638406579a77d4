"""Samples and batches of a dataset: shapes, types, order, replacement of bad images, caches."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch

from yolocore.data.cache import ImageStore, resized_shape
from yolocore.data.dataset import BadSampleError, YOLODataset, rect_shapes
from yolocore.data.images import ImageFault
from yolocore.data.labels import LabelStore

OFF = {"mosaic": 0.0, "mixup": 0.0, "cutmix": 0.0, "copy_paste": 0.0, "copy_paste_mode": "flip", "bgr": 0.0}
OFF |= {"hsv_h": 0.0, "hsv_s": 0.0, "hsv_v": 0.0, "flipud": 0.0, "fliplr": 0.0}
OFF |= {"degrees": 0.0, "translate": 0.0, "scale": 0.0, "shear": 0.0, "perspective": 0.0}
USUAL = OFF | {"mosaic": 1.0, "translate": 0.1, "scale": 0.5, "fliplr": 0.5, "hsv_s": 0.7, "hsv_v": 0.4}


def arguments(**changes) -> SimpleNamespace:
    return SimpleNamespace(**(OFF | changes))


def make_store(folder: Path, shapes: list[tuple[int, int]]) -> LabelStore:
    """Noise images; image i has i % 3 objects of class i."""
    rng = np.random.default_rng(0)
    files, counts, boxes = [], [], []
    for i, (h, w) in enumerate(shapes):
        file = folder / f"{i:03}.png"
        cv2.imwrite(str(file), rng.integers(0, 255, (h, w, 3), np.uint8))
        files.append(str(file))
        counts.append(i % 3)
        boxes += [(0.5, 0.5, 0.4, 0.6)] * (i % 3)
    n = sum(counts)
    return LabelStore(
        im_files=files,
        shapes=np.array(shapes, np.int32),
        offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        cls=np.repeat(np.arange(len(shapes)), counts).astype(np.float32),
        bboxes=np.array(boxes, np.float32).reshape(-1, 4),
        seg_points=np.empty((0, 2), np.float32),
        seg_offsets=np.zeros(n + 1, np.int64),
    )


@pytest.fixture
def store(tmp_path: Path) -> LabelStore:
    return make_store(tmp_path, [(48, 64), (64, 40), (64, 64), (30, 60), (64, 48), (50, 50)])


# --- shapes ---


def test_resized_shape() -> None:
    assert resized_shape((96, 112), 64) == (55, 64)
    assert resized_shape((480, 640), 640) == (480, 640)
    assert resized_shape((10, 20), 64) == (32, 64)


def test_rect_shape_of_the_specification() -> None:
    assert rect_shapes(np.array([[96, 112]]), 1, 64, 32, 0.5).tolist() == [[96, 96]]


def test_rect_shapes_by_batch() -> None:
    shapes = np.array([[50, 100], [60, 100], [90, 100], [110, 100], [150, 100], [200, 100]])
    wide, mixed, tall = rect_shapes(shapes, 2, 640, 32, 0.0).tolist()
    assert wide == [384, 640]
    assert mixed == [640, 640]
    assert tall == [640, 448]


# --- samples ---


def test_validation_batch_has_the_documented_keys(store: LabelStore) -> None:
    dataset = YOLODataset(store, imgsz=64, rect=True, batch_size=3, pad=0.5)
    batch = dataset.collate([dataset[i] for i in range(3)])
    keys = {"img", "cls", "bboxes", "batch_idx", "im_file", "ori_shape", "resized_shape", "ratio_pad"}
    assert set(batch) == keys
    assert batch["img"].dtype == torch.uint8
    assert batch["img"].shape[:2] == (3, 3)
    m = len(batch["batch_idx"])
    assert (batch["cls"].shape, batch["bboxes"].shape) == ((m, 1), (m, 4))
    assert {batch[k].dtype for k in ("cls", "bboxes", "batch_idx")} == {torch.float32}
    assert isinstance(batch["im_file"], tuple)
    assert batch["resized_shape"] == (tuple(batch["img"].shape[2:]),) * 3
    ratios = [h / w for h, w in batch["ori_shape"]]
    assert ratios == sorted(ratios)
    for (h, w), ((rh, rw), (pad_x, pad_y)), (H, W) in zip(
        batch["ori_shape"], batch["ratio_pad"], batch["resized_shape"], strict=True
    ):
        assert round(w * rw) + 2 * pad_x in (W, W - 1)
        assert round(h * rh) + 2 * pad_y in (H, H - 1)


def test_batch_idx_counts_the_images(store: LabelStore) -> None:
    dataset = YOLODataset(store, imgsz=64)
    batch = dataset.collate([dataset[i] for i in range(6)])
    assert batch["batch_idx"].tolist() == [1, 2, 2, 4, 5, 5]
    assert batch["cls"].flatten().tolist() == [1, 2, 2, 4, 5, 5]


def test_batch_without_objects(store: LabelStore) -> None:
    dataset = YOLODataset(store, imgsz=64)
    batch = dataset.collate([dataset[0], dataset[3]])
    assert batch["bboxes"].shape == (0, 4)
    assert batch["batch_idx"].shape == (0,)


def test_validation_boxes_are_those_of_the_letterboxed_image(store: LabelStore) -> None:
    item = YOLODataset(store, imgsz=64)[4]  # 64x48: 8 columns of padding on either side
    assert item["img"].shape == (3, 64, 64)
    np.testing.assert_allclose(item["bboxes"], [[0.5, 0.5, 0.4 * 48 / 64, 0.6]], rtol=1e-6)
    assert (item["img"][:, :, :8] == 114).all()
    want = cv2.imread(store.im_files[4])[..., ::-1].transpose(2, 0, 1)
    np.testing.assert_array_equal(item["img"][:, :, 8:56], want)


def test_training_meta(store: LabelStore) -> None:
    dataset = YOLODataset(store, imgsz=64, args=arguments(**USUAL), augment=True)
    item = dataset[3]
    assert item["im_file"] == store.im_files[3]
    assert item["ori_shape"] == (30, 60)
    assert item["resized_shape"] == (64, 64)
    assert item["ratio_pad"] == (32 / 30, 64 / 60)
    assert item["img"].shape == (3, 64, 64)


def test_boxes_past_the_border_are_clipped(tmp_path: Path) -> None:
    store = make_store(tmp_path, [(64, 64), (64, 64)])
    store.bboxes[:] = (0.95, 0.5, 0.2, 0.2)
    np.testing.assert_allclose(YOLODataset(store, imgsz=64)[1]["bboxes"], [[0.925, 0.5, 0.15, 0.2]], atol=1e-6)


def test_samples_depend_on_seed_epoch_and_index_only(store: LabelStore) -> None:
    def sample(index: int, epoch: int = 0, seed: int = 0) -> torch.Tensor:
        dataset = YOLODataset(store, imgsz=64, args=arguments(**USUAL), augment=True, seed=seed)
        dataset.set_epoch(epoch)
        return dataset[index]["img"]

    dataset = YOLODataset(store, imgsz=64, args=arguments(**USUAL), augment=True)
    for i in (3, 1, 1, 4):
        assert torch.equal(dataset[i]["img"], sample(i))
    assert not torch.equal(sample(1), sample(1, epoch=1))
    assert not torch.equal(sample(1), sample(1, seed=1))


def test_bgr_hands_over_the_other_order(store: LabelStore) -> None:
    plain = YOLODataset(store, imgsz=64, args=arguments(), augment=True)[2]["img"]
    swapped = YOLODataset(store, imgsz=64, args=arguments(bgr=1.0), augment=True)[2]["img"]
    assert torch.equal(swapped, plain.flip(0))
    assert torch.equal(YOLODataset(store, imgsz=64, args=arguments(bgr=1.0))[2]["img"], plain)


def test_close_mosaic(store: LabelStore) -> None:
    dataset = YOLODataset(store, imgsz=64, args=arguments(mosaic=1.0), augment=True)
    dataset.close_mosaic()
    plain = YOLODataset(store, imgsz=64, args=arguments(), augment=True)
    assert torch.equal(dataset[2]["img"], plain[2]["img"])


def test_rectangular_training_has_no_mosaic(store: LabelStore) -> None:
    dataset = YOLODataset(store, imgsz=64, args=arguments(mosaic=1.0), augment=True, rect=True, batch_size=1)
    assert dataset[0]["img"].shape == (3, 32, 64)
    assert dataset[0]["im_file"].endswith("003.png")


def test_keypoints_without_mirrored_partners_are_not_flipped(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    points = np.array([[[0.25, 0.5, 2], [0.75, 0.5, 1]]], np.float32)
    store = replace(make_store(tmp_path, [(64, 64), (64, 64)]), keypoints=points)
    args = arguments(fliplr=1.0)
    plain = YOLODataset(store, imgsz=64)[1]["img"]
    assert torch.equal(YOLODataset(store, imgsz=64, args=args, augment=True)[1]["img"], plain)
    assert "flip_idx" in caplog.text
    told = YOLODataset(store, imgsz=64, args=args, augment=True, data={"flip_idx": [1, 0]})
    assert torch.equal(told[1]["img"], plain.flip(2))
    assert told.instances(1).keypoints.tolist() == [[[16, 32, 2], [48, 32, 1]]]


def test_augment_needs_arguments(store: LabelStore) -> None:
    with pytest.raises(TypeError, match="args"):
        YOLODataset(store, imgsz=64, augment=True)


def test_an_index_past_the_end(store: LabelStore) -> None:
    dataset = YOLODataset(store, imgsz=64)
    assert dataset[-1]["im_file"] == store.im_files[-1]
    with pytest.raises(IndexError):
        dataset[6]


# --- bad images ---


def test_a_bad_image_is_replaced_and_counted(store: LabelStore, caplog: pytest.LogCaptureFixture) -> None:
    Path(store.im_files[2]).write_bytes(b"broken")
    dataset = YOLODataset(store, imgsz=64, args=arguments(**USUAL), augment=True)
    with caplog.at_level(logging.WARNING):
        items = [dataset[i] for i in range(6)]
    assert items[2]["im_file"] != store.im_files[2]
    assert all(items[i]["im_file"] == store.im_files[i] for i in (0, 1, 3, 4, 5))
    assert list(dataset.bad) == [store.im_files[2]]
    assert len([r for r in caplog.records if store.im_files[2] in r.getMessage()]) == 1


def test_the_replacement_is_the_same_every_time(store: LabelStore) -> None:
    Path(store.im_files[2]).unlink()
    first, second = (YOLODataset(store, imgsz=64)[2] for _ in range(2))
    assert first["im_file"] == second["im_file"] != store.im_files[2]


def test_more_than_one_per_cent_stops(store: LabelStore) -> None:
    for i in (1, 2):
        Path(store.im_files[i]).write_bytes(b"")
    dataset = YOLODataset(store, imgsz=64)
    with pytest.raises(BadSampleError, match=r"2 of 6 images.*at most 1") as caught:
        [dataset[i] for i in range(6)]
    assert "001.png" in str(caught.value)
    assert "002.png" in str(caught.value)


def test_strict_stops_at_the_first(store: LabelStore) -> None:
    Path(store.im_files[2]).write_bytes(b"")
    with pytest.raises(BadSampleError, match="strict"):
        YOLODataset(store, imgsz=64, strict=True)[2]


def test_an_image_of_another_size_is_bad(store: LabelStore) -> None:
    cv2.imwrite(store.im_files[2], np.zeros((20, 20, 3), np.uint8))
    dataset = YOLODataset(store, imgsz=64)
    dataset[2]
    assert "size changed" in dataset.bad[store.im_files[2]]


def test_all_images_bad_ends_with_an_error(tmp_path: Path) -> None:
    store = make_store(tmp_path, [(32, 32)])
    Path(store.im_files[0]).unlink()
    with pytest.raises(BadSampleError, match="000"):
        YOLODataset(store, imgsz=64)[0]


# --- caches ---


def test_recent_images_are_bounded(store: LabelStore) -> None:
    images = ImageStore(store.im_files, store.shapes, 64, budget=30_000)
    for i in [*range(6), 5, 5]:
        images[i]
        assert images.held_bytes <= 30_000
    assert images[5] is images[5]
    images.limit(0)
    assert images.held_bytes == 0
    assert images[5] is not images[5]
    with pytest.raises(ValueError, match="read-only"):
        images[5][0] = 0


@pytest.mark.parametrize("mode", ["ram", True, "disk"])
def test_caches_give_the_same_pixels(store: LabelStore, mode: str | bool, tmp_path: Path) -> None:
    before = sorted(tmp_path.iterdir())
    plain = ImageStore(store.im_files, store.shapes, 96)
    kept = ImageStore(store.im_files, store.shapes, 96, cache=mode)
    assert kept.mode == ("disk" if mode == "disk" else "ram")
    for _ in range(2):
        for i in range(6):
            np.testing.assert_array_equal(kept[i], plain[i])
        kept.limit(0)
    assert sorted(tmp_path.iterdir()) == before


def test_disk_cache_survives_damage_and_follows_changes(
    store: LabelStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("YOLOCORE_CACHE_DIR", str(tmp_path / "cache"))
    images = ImageStore(store.im_files, store.shapes, 64, cache="disk", budget=0)
    want = images[0].copy()
    (file,) = (tmp_path / "cache").rglob("*.npy")
    file.write_bytes(b"\x93NUMPY rubbish")
    np.testing.assert_array_equal(images[0], want)
    np.testing.assert_array_equal(np.load(file), want)
    cv2.imwrite(store.im_files[0], np.zeros((48, 64, 3), np.uint8))
    assert not images[0].any()
    assert not list((tmp_path / "cache").rglob("*.tmp"))


def test_memory_that_does_not_suffice(
    store: LabelStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("yolocore.data.cache.free_memory", lambda: 50_000)
    images = ImageStore(store.im_files, store.shapes, 64, cache="ram")
    assert images.mode is False
    assert "cache=ram needs" in caplog.text
    assert images.budget == 12_500
    assert images[0].shape == (48, 64, 3)


def test_disk_that_does_not_suffice(
    store: LabelStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=1000))
    assert ImageStore(store.im_files, store.shapes, 64, cache="disk").mode is False
    assert "cache=disk needs" in caplog.text


def test_memory_cache_leaves_bad_images_to_the_samples(store: LabelStore) -> None:
    Path(store.im_files[1]).write_bytes(b"")
    images = ImageStore(store.im_files, store.shapes, 64, cache="ram")
    with pytest.raises(ImageFault):
        images[1]
    assert images[0].shape == (48, 64, 3)
