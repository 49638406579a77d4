"""Boxes of one image in its own pixels, and the files a validation writes from them."""

from __future__ import annotations

import contextlib
import io
import json
import logging
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from yolocore.kernels.keypoints import keypoint_sigmas
from yolocore.utils.metrics import box_iou
from yolocore.utils.ops import clip_boxes, xyxy2ltwh, xyxy2xywhn

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

LOGGER = logging.getLogger(__name__)
UNUSED_COCO_IDS = frozenset((12, 26, 29, 30, 45, 66, 68, 69, 71, 83))
COCO_IDS = tuple(i for i in range(1, 91) if i not in UNUSED_COCO_IDS)
COCO_NUMBERS = (
    *("AP", "AP50", "AP75", "APsmall", "APmedium", "APlarge"),
    *("AR1", "AR10", "AR100", "ARsmall", "ARmedium", "ARlarge"),
)
COCO_POSE_NUMBERS = (
    *("AP", "AP50", "AP75", "APmedium", "APlarge"),
    *("AR", "AR50", "AR75", "ARmedium", "ARlarge"),
)


@dataclass(frozen=True, slots=True)
class FoundBoxes:
    """Detections of one image, best first; a task adds fields with one row a detection.

    Attributes:
        boxes: (N, 4) xyxy pixels.
        cls: (N,) classes.
        conf: (N,) confidences.
    """

    boxes: NDArray[Any]
    cls: NDArray[Any]
    conf: NDArray[Any]

    def select(self, index: NDArray[Any]) -> Self:
        """Return the detections of an index array or mask."""
        return replace(self, **{field.name: getattr(self, field.name)[index] for field in fields(self)})

    def overlap(self, boxes: NDArray[Any]) -> NDArray[np.float64]:
        """Return the intersection over union (N, M) with boxes (M, 4) xyxy."""
        return box_iou(self.boxes, boxes)

    def coordinates(self, shape: tuple[int, int]) -> Sequence[NDArray[Any]]:
        """Return the numbers between class and confidence of N label lines, for an image of (height, width)."""
        return list(xyxy2xywhn(self.boxes, w=shape[1], h=shape[0]))


@dataclass(frozen=True, slots=True)
class ImageTruth:
    """Labels of one image, and where it lies in its batch image.

    Attributes:
        file: path of the image.
        shape: (height, width) of the original image.
        gain: (x, y) scale from original to batch image.
        pad: (x, y) of its corner in the batch image, pixels.
        boxes: (M, 4) xyxy, pixels of the original image.
        cls: (M,) classes.
    """

    file: str
    shape: tuple[int, int]
    gain: tuple[float, float]
    pad: tuple[float, float]
    boxes: NDArray[Any]
    cls: NDArray[Any]

    @classmethod
    def place(cls, file: str, shape: Sequence[int], ratio_pad: Sequence[Sequence[float]]) -> Self:
        """Return an image without labels from ((ratio_h, ratio_w), (pad_x, pad_y)) of its batch."""
        h, w = int(shape[0]), int(shape[1])
        (ratio_h, ratio_w), (pad_x, pad_y) = ratio_pad
        gain = (round(w * ratio_w) / w, round(h * ratio_h) / h)  # the picture has whole pixels
        return cls(file, (h, w), gain, (pad_x, pad_y), np.zeros((0, 4)), np.zeros(0))

    def unplace(self, points: NDArray[Any]) -> NDArray[Any]:
        """Return (..., 2) x, y of the batch image in pixels of the original image."""
        moved: NDArray[Any] = (points - np.array(self.pad)) / np.array(self.gain)
        return moved

    def unplace_boxes(self, boxes: NDArray[Any]) -> NDArray[Any]:
        """Return (N, 4) xyxy of the batch image in pixels of the original image, clipped to it."""
        return clip_boxes(self.unplace(boxes.reshape(-1, 2, 2)).reshape(-1, 4), self.shape)

    def with_labels(self, boxes: NDArray[Any], cls: NDArray[Any]) -> Self:
        """Return the image with labels: (M, 4) xyxy in pixels of the batch image, and (M,) classes."""
        return replace(self, boxes=self.unplace_boxes(boxes), cls=cls)

    def to_image(self, found: FoundBoxes) -> FoundBoxes:
        """Return detections of the batch image in pixels of the original image."""
        return replace(found, boxes=self.unplace_boxes(found.boxes))

    def as_found(self) -> FoundBoxes:
        """Return the labels as if they had been detected with certainty."""
        return FoundBoxes(self.boxes, self.cls, np.ones(len(self.cls)))


def unmatched(found: FoundBoxes, truth: ImageTruth, iou: float) -> FoundBoxes:
    """Return the detections that overlap no object of their class by ``iou`` or more."""
    same = found.cls[:, None] == truth.cls
    return found.select(~(same & (found.overlap(truth.boxes) >= iou)).any(1))


def label_lines(found: FoundBoxes, shape: tuple[int, int], *, conf: bool = False) -> list[str]:
    """Return ``class <coordinates> [confidence]`` per detection, coordinates divided by image width and height.

    A detection without coordinates, such as a mask without a pixel, has no line.
    """
    return [
        " ".join((f"{int(c)}", *(f"{value:g}" for value in row), *((f"{score:g}",) if conf else ())))
        for c, row, score in zip(found.cls, found.coordinates(shape), found.conf, strict=True)
        if len(row)
    ]


def write_lines(path: Path, lines: Sequence[str]) -> None:
    """Replace the text file ``path``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def write_json(path: Path, records: Sequence[Mapping[str, Any]]) -> None:
    """Replace the JSON file ``path``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(list(records)), encoding="utf-8")
    LOGGER.info("%d detections in %s", len(records), path)


def is_coco(names: Mapping[int, str]) -> bool:
    """Tell whether these are the 80 classes of COCO, which have other numbers in its JSON files."""
    return len(names) == 80 and names.get(0) == "person" and names.get(79) == "toothbrush"


def image_id(file: str) -> int | str:
    """Return the number that names the image, else its stem."""
    stem = Path(file).stem
    return int(stem) if stem.isdecimal() else stem


def coco_records(found: FoundBoxes, file: str, class_map: Sequence[int]) -> list[dict[str, Any]]:
    """Return the detections of one image in COCO's result format."""
    path = Path(file)
    boxes = xyxy2ltwh(found.boxes).round(3).tolist()
    return [
        {
            "image_id": image_id(file),
            "file_name": path.name,
            "category_id": class_map[int(c)],
            "bbox": box,
            "score": round(float(score), 5),
        }
        for box, c, score in zip(boxes, found.cls, found.conf, strict=True)
    ]


def coco_ground_truth(data: Mapping[str, Any], split: str, prefix: str = "instances") -> Path | None:
    """Return the file with the ground truth of ``split`` in ``annotations`` of the dataset, if there."""
    folder = Path(data.get("path", "")) / "annotations"
    names = (f"{prefix}_{split}2017.json", f"{prefix}_{split}.json", f"{split}.json")
    return next((folder / name for name in names if (folder / name).is_file()), None)


def coco_statistics(
    truth: Path,
    records: Sequence[Mapping[str, Any]],
    images: Sequence[int | str],
    kind: str = "bbox",
    suffix: str = "",
) -> dict[str, float]:
    """Return the numbers of pycocotools on ``images``, or nothing when it is not installed.

    Args:
        truth: the ground truth in COCO's format.
        records: results in COCO's format.
        images: the images that count.
        kind: what is judged: ``bbox``, ``segm`` or ``keypoints``.
        suffix: end of the keys, such as ``(M)``.
    """
    try:
        from pycocotools.coco import COCO  # optional
        from pycocotools.cocoeval import COCOeval
    except ImportError:
        LOGGER.warning("%s: COCO statistics need pycocotools: pip install pycocotools", truth)
        return {}
    # a result with a box would be measured by the box
    judged = [{k: v for k, v in record.items() if k != "bbox" or kind == "bbox"} for record in records]
    with contextlib.redirect_stdout(io.StringIO()) as text:
        ground_truth = COCO(str(truth))
        evaluation = COCOeval(ground_truth, ground_truth.loadRes(judged), kind)
        if kind == "keypoints":
            count = len(judged[0]["keypoints"]) // 3
            evaluation.params.kpt_oks_sigmas = np.array(keypoint_sigmas(count))
        evaluation.params.imgIds = sorted(set(images) & set(ground_truth.getImgIds()))
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    LOGGER.info("COCO evaluation of %s with %s\n%s", kind, truth, text.getvalue().strip())
    names = COCO_POSE_NUMBERS if kind == "keypoints" else COCO_NUMBERS
    return {f"coco/{name}{suffix}": float(v) for name, v in zip(names, evaluation.stats, strict=True)}
