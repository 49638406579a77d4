"""Labelling images by networks: a detector finds the boxes, a promptable segmenter outlines what they show."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from yolocore.data.conversion import Conversion, Written, summarise, write_rows
from yolocore.data.convert_boxes import polygon_row
from yolocore.data.listing import walk_images
from yolocore.data.report import Finding
from yolocore.data.segmenter import find_segmenter, outline_boxes
from yolocore.errors import MissingFileError
from yolocore.models.facade import YOLO
from yolocore.utils.files import new_files, refuse_existing

if TYPE_CHECKING:
    from yolocore.data.segmenter import Segmenter

UNREADABLE = "image was skipped: it cannot be read"


def auto_annotate(
    data: str | Path,
    det_model: str | Path = "yolo11x.pt",
    sam_model: str | Segmenter = "sam_b.pt",
    device: str = "",
    conf: float = 0.25,
    iou: float = 0.45,
    imgsz: int = 640,
    max_det: int = 300,
    classes: list[int] | None = None,
    output_dir: str | Path | None = None,
) -> Conversion:
    """Write a polygon row for every object that a detector finds in the images of a directory.

    An image without detections gets no file.

    Args:
        data: directory of images, searched recursively.
        det_model: the detector.
        sam_model: name under which a plugin registered a promptable segmenter, or the segmenter: a function of an
            image (H, W, 3) BGR and boxes (N, 4) xyxy in pixels that returns masks (N, H, W).
        device: where both networks run.
        conf: smallest confidence of a detection.
        iou: overlap above which the weaker of two detections is dropped.
        imgsz: size at which the detector looks, in pixels.
        max_det: detections an image at most.
        classes: only these.
        output_dir: where to write; by default ``<data>_auto_annotate_labels`` beside ``data``.

    Raises:
        PluginError: no plugin brings ``sam_model``; told before any work.
        MissingFileError: there is no such directory, or it holds no image.
        DataError: a label file exists already; nothing is written then.
    """
    segmenter = find_segmenter(sam_model, device or None)
    root = Path(data).expanduser().absolute()
    images = sorted(walk_images(str(root))) if root.is_dir() else []
    if not images:
        raise MissingFileError(f"{root}: {'holds no image' if root.is_dir() else 'there is no such folder'}")
    folder = root.parent / f"{root.name}_auto_annotate_labels" if output_dir is None else Path(output_dir).expanduser()
    names = {image: Path(image).relative_to(root).with_suffix(".txt") for image in images}
    refuse_existing(folder / name for name in names.values())
    settings: dict[str, Any] = {"conf": conf, "iou": iou, "imgsz": imgsz, "max_det": max_det, "classes": classes}
    results = YOLO(det_model).predict(images, stream=True, device=device or None, verbose=False, **settings)
    written, unread = [], dict.fromkeys(images)
    with new_files(folder) as temporary:
        for result in results:
            unread.pop(result.path, None)
            boxes = result.boxes
            if boxes is None or not len(boxes):
                continue
            xyxy = np.asarray(boxes.numpy().xyxy, np.float32)
            outlines = outline_boxes(segmenter, result.orig_img, xyxy)
            rows = [polygon_row(int(c), o) for c, o in zip(boxes.numpy().cls, outlines, strict=True)]
            target = temporary / names[result.path]
            target.parent.mkdir(parents=True, exist_ok=True)
            write_rows(target, rows)
            written.append(Written(len(rows)))
    findings = [Finding(image, UNREADABLE, UNREADABLE) for image in unread]
    return summarise("auto_annotate", folder, written, findings)
