"""Which reader a dataset description asks for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from yolocore.data.coco_reader import CocoReader
from yolocore.data.readers import YoloReader
from yolocore.data.voc_reader import VocReader
from yolocore.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from yolocore.data.readers import LabelReader

COCO_TASKS = ("detect", "segment", "pose")
VOC_TASKS = ("detect",)


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
