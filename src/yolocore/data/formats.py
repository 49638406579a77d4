"""Which reader a dataset description asks for."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yolocore.data.coco_reader import CocoReader
from yolocore.data.images import ImageFault
from yolocore.data.listing import label_paths
from yolocore.data.readers import YoloReader, read_label_file
from yolocore.data.voc_reader import VocReader
from yolocore.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from yolocore.data.readers import LabelReader

COCO_TASKS = ("detect", "segment", "pose")
VOC_TASKS = ("detect",)
LOOKED_AT = 50  # label files
OBB_COLUMNS = 9


def reader_for(info: Mapping[str, Any], task: str) -> LabelReader:
    """Return the reader of a dataset.

    Args:
        info: The checked description; ``format`` decides: ``yolo`` (default), ``coco`` or ``voc``.
        task: What the labels are for.

    Raises:
        DataError: the format has no labels for that task.
    """
    form = info.get("format") or "yolo"
    if form == "yolo" or task == "classify":
        return YoloReader(info["path"])
    tasks = COCO_TASKS if form == "coco" else VOC_TASKS
    where = info.get("yaml_file", info["path"])
    if task not in tasks:
        raise DataError(f"{where}: format {form} holds labels for {', '.join(tasks)}, not for task {task}")
    names: Mapping[int, str] = getattr(info, "label_names", info.get("names") or {})
    if form == "voc":
        return VocReader(Path(info["path"]), names)
    kpt_shape = info.get("kpt_shape")
    if task == "pose" and kpt_shape and kpt_shape[1] != 3:
        text = f"expected [{kpt_shape[0]}, 3]: a COCO keypoint is x, y, visibility"
        raise DataError(f"{where}: kpt_shape is {list(kpt_shape)}; {text}")
    return CocoReader(Path(info["path"]), names, task)


def task_of_rows(info: Mapping[str, Any], images: Sequence[str]) -> str:
    """Return ``obb`` or ``segment`` where no row of the first label files is a box, but all could be such rows.

    Args:
        info: The checked description.
        images: Images of a split.
    """
    if info.get("format") not in (None, "yolo"):
        return ""
    columns: set[int] = set()
    for label in label_paths(images[:LOOKED_AT]):
        with suppress(ImageFault):
            columns |= {len(line.split()) for line in (read_label_file(label) or b"").splitlines()}
    columns -= {0}
    if columns == {OBB_COLUMNS}:
        return "obb"
    return "segment" if columns and all(count >= 7 and count % 2 for count in columns) else ""
