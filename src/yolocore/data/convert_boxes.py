"""Box labels into polygon labels, with a network that outlines what each box shows."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from yolocore.config.settings import get_settings
from yolocore.data.conversion import (
    Conversion,
    Written,
    convert_files,
    summarise,
    write_rows,
)
from yolocore.data.images import ImageFault, read_image
from yolocore.data.listing import label_paths, walk_images
from yolocore.data.readers import read_label_file
from yolocore.data.report import Finding
from yolocore.data.row_faults import diagnose
from yolocore.data.rows import Schema
from yolocore.data.segmenter import find_segmenter, outline_boxes
from yolocore.errors import MissingFileError
from yolocore.utils.files import new_files, refuse_existing
from yolocore.utils.ops import clip_boxes, xywhn2xyxy

if TYPE_CHECKING:
    from yolocore.data.conversion import Progress
    from yolocore.data.segmenter import Segmenter

FOLDER = "labels-segment"
BOX_COLUMNS = 5
ROWS = Schema("detect", nc=1 << 31)  # boxes or polygons, of whatever class


def yolo_bbox2segment(
    im_dir: str | Path,
    save_dir: str | Path | None = None,
    sam_model: str | Segmenter = "sam_b.pt",
    device: Any = None,
    *,
    progress: Progress | None = None,
) -> Conversion:
    """Turn the box labels of a directory of images into polygon labels.

    Label files that hold polygons already are copied; an image without label file gets none.

    Args:
        im_dir: images, searched recursively; their label files are found as in training.
        save_dir: where to write; by default ``labels-segment`` beside ``im_dir``.
        sam_model: name under which a plugin registered a promptable segmenter, or the segmenter: a function of an
            image (H, W, 3) BGR and boxes (N, 4) xyxy in pixels that returns masks (N, H, W).
        device: where the plugin's network runs.
        progress: called with images done and all images; a line in the log every two seconds without.

    Raises:
        MissingFileError: the directory is not there, or none of its images has a label file.
        PluginError: no plugin brings ``sam_model``; nothing is written then.
        DataError: a file exists already; nothing is written then.
    """
    segmenter = find_segmenter(sam_model, device)
    root = Path(im_dir).expanduser().absolute()
    if not root.is_dir():
        raise MissingFileError(f"{root}: there is no such folder")
    images = sorted(walk_images(str(root)))
    pairs = [pair for pair in zip(images, label_paths(images), strict=True) if Path(pair[1]).is_file()]
    if not pairs:
        where = f"; the label of {images[0]} would be {label_paths(images[:1])[0]}" if images else ""
        raise MissingFileError(f"{root}: holds no image with a label file{where}")
    folder = root.parent / FOLDER if save_dir is None else Path(save_dir).expanduser()
    jobs = [(image, label, Path(image).relative_to(root).with_suffix(".txt")) for image, label in pairs]
    refuse_existing(folder / name for _, _, name in jobs)
    with new_files(folder) as temporary:
        written = convert_files(partial(_convert, segmenter, temporary), jobs, "yolo_bbox2segment", progress)
    return summarise("yolo_bbox2segment", folder, written)


def _convert(segmenter: Segmenter, folder: Path, job: tuple[str, str, Path]) -> Written:
    image, label, name = job
    target = folder / name
    try:
        values, columns, faults = diagnose(read_label_file(label) or b"", ROWS)
        boxes = bool(columns) and set(columns) == {BOX_COLUMNS}
        im_bgr = read_image(image, get_settings()["max_pixels"]) if boxes else None
    except ImageFault as fault:
        return Written(None, [fault.finding])
    findings = [Finding(f"{label}:{fault.line}", fault.reason, fault.message) for fault in faults]
    if faults and not columns:  # an empty file would say that there is nothing in the image
        return Written(None, findings)
    target.parent.mkdir(parents=True, exist_ok=True)
    if im_bgr is None:
        shutil.copyfile(label, target)
        return Written(len(columns), findings)
    table = np.array(values, np.float32).reshape(-1, BOX_COLUMNS)
    h, w = im_bgr.shape[:2]
    outlines = outline_boxes(segmenter, im_bgr, clip_boxes(xywhn2xyxy(table[:, 1:], w=w, h=h), (h, w)))
    rows = [polygon_row(int(cls), outline) for cls, outline in zip(table[:, 0], outlines, strict=True)]
    write_rows(target, rows)
    return Written(len(rows), findings)


def polygon_row(cls: int, outline: np.ndarray) -> str:
    """Return the label row of a normalised outline (k, 2)."""
    return " ".join([str(cls), *(f"{value:.6g}" for value in outline.reshape(-1).tolist())])
