"""Pictures with numbers: for ``images/train/7.png`` the file ``labels/train/7.txt`` holds them, separated by spaces."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import torch

from yolocore.data.augment.classify import ClassifyEval
from yolocore.data.base import BaseDataset
from yolocore.data.cache import ImageStore
from yolocore.data.labels import LabelStore
from yolocore.data.listing import label_paths, list_images
from yolocore.data.verify import verify_image
from yolocore.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

BRIGHTNESS = 0.2


class RegressionDataset(BaseDataset):
    """The pictures of one split.

    Args:
        info: the dataset description; ``names`` are those of the numbers.
        entries: folders or list files of the split.
        imgsz: side of the square samples in pixels.
        augment: vary the brightness; nothing else, as it might change the number.
        seed: of the order and of the brightness.
        max_pixels: limit of the decoder.

    Raises:
        DataError: a picture is damaged, or its numbers are missing or no numbers.
    """

    def __init__(
        self,
        info: Mapping[str, Any],
        entries: Sequence[str],
        *,
        imgsz: int,
        augment: bool = False,
        seed: int = 0,
        max_pixels: int,
    ) -> None:
        files, _ = list_images(entries, info["path"])
        if not files:
            raise DataError(f"{info['yaml_file']}: no picture in {', '.join(entries)}")
        self.values = np.array([_read(label, info["nc"]) for label in label_paths(files)], np.float32)  # (N, nc)
        shapes = np.array([verify_image(file, max_pixels).shape for file in files], np.int32)
        store = _without_objects(files, shapes)
        super().__init__(store, ImageStore(files, shapes, None, max_pixels=max_pixels), augment=augment, seed=seed)
        self.mixing = False
        self.fit = ClassifyEval(imgsz, 1.0)

    def _sample(self, target: int, place: int, rng: np.random.Generator) -> dict[str, Any]:
        del place
        image = self.fit(self.image(target))  # (3, imgsz, imgsz)
        if self.augment:
            image = (image * rng.uniform(1 - BRIGHTNESS, 1 + BRIGHTNESS)).clamp(0, 1).float()
        return {"img": image, "values": torch.from_numpy(self.values[target]), "im_file": self.im_files[target]}

    @staticmethod
    def collate(samples: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Return ``img`` (B, 3, H, W) float32 RGB 0-1, ``values`` (B, nc) float32, ``im_file`` (B)."""
        return {
            "img": torch.stack([sample["img"] for sample in samples]),
            "values": torch.stack([sample["values"] for sample in samples]),
            "im_file": tuple(sample["im_file"] for sample in samples),
        }


def make_dials(folder: str | Path, train: int = 64, val: int = 16, imgsz: int = 32, seed: int = 0) -> Path:
    """Draw dials whose needle stands between 0 and 180 degrees, and return the path of their description."""
    rng, root = np.random.default_rng(seed), Path(folder)
    for split, count in (("train", train), ("val", val)):
        for kind in ("images", "labels"):
            (root / kind / split).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            angle = float(rng.uniform(0, 180))
            image = rng.integers(0, 60, (imgsz, imgsz, 3), dtype=np.uint8)
            foot = (imgsz // 2, imgsz - 3)
            tip = (
                round(foot[0] - 0.45 * imgsz * math.cos(math.radians(angle))),
                round(foot[1] - 0.8 * imgsz * math.sin(math.radians(angle))),
            )
            cv2.line(image, foot, tip, (240, 240, 240), 2)
            cv2.imwrite(str(root / "images" / split / f"{i}.png"), image)
            (root / "labels" / split / f"{i}.txt").write_text(f"{angle:.3f}\n", encoding="utf-8")
    text = "train: images/train\nval: images/val\nnames: [angle]\n"
    (root / "data.yaml").write_text(text, encoding="utf-8")
    return root / "data.yaml"


def _read(label: str, count: int) -> list[float]:
    try:
        numbers = [float(word) for word in Path(label).read_text(encoding="utf-8").split()]
    except (OSError, ValueError) as error:
        raise DataError(f"{label}: {error}; expected {count} numbers") from error
    if len(numbers) != count or not all(map(math.isfinite, numbers)):
        raise DataError(f"{label}: {numbers}; expected {count} finite numbers, as many as the dataset has names")
    return numbers


def _without_objects(files: list[str], shapes: np.ndarray[Any, np.dtype[np.int32]]) -> LabelStore:
    return LabelStore(
        im_files=files,
        shapes=shapes,
        offsets=np.zeros(len(files) + 1, np.int64),
        cls=np.zeros(0, np.float32),
        bboxes=np.zeros((0, 4), np.float32),
        seg_points=np.zeros((0, 2), np.float32),
        seg_offsets=np.zeros(1, np.int64),
    )
