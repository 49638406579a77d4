"""A corrected copy of a dataset: usable images and rows only, in the plain YOLO layout, never in place."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import yaml

from yolocore.data.conversion import write_rows
from yolocore.data.images import read_image
from yolocore.data.verify import DAMAGED
from yolocore.errors import DataError
from yolocore.utils.files import atomic_directory, write_atomic

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from yolocore.data.labels import ImageLabels, LabelStore
    from yolocore.data.report import ScanReport

YAML_NAME = "data.yaml"
KEPT_KEYS = ("kpt_shape", "flip_idx", "kpt_names", "channels")


def write_corrected(
    folder: str | Path,
    info: Mapping[str, Any],
    task: str,
    stores: Mapping[str, LabelStore],
    reports: Sequence[ScanReport],
    drop: Collection[str] = (),
) -> Path:
    """Write a copy of a dataset and return its YAML, for ``classify`` its directory.

    Rows and images that a scan skipped are not in it; boxes are clipped to their images; damaged but readable images
    are encoded anew. Images lie in ``images/<split>``, labels in ``labels/<split>``.

    Args:
        folder: Where to write; must not exist, or be empty, and lie outside the dataset's splits.
        info: The checked description.
        task: What the labels are for.
        stores: The usable labels by split.
        reports: What the scans found.
        drop: Images to leave out, such as those that are in another split as well.

    Raises:
        DataError: the folder is not empty, or lies in the dataset.
    """
    target = Path(folder).expanduser().absolute()
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise DataError(f"{target}: exists and is not empty; a corrected copy needs a directory of its own")
    for split in stores:
        for entry in info[split]:
            if target.is_relative_to(entry):
                raise DataError(f"{target}: lies in {entry}; a dataset is never corrected in place")
    damaged = {line.rsplit(f": {DAMAGED}", 1)[0] for report in reports for line in report.notes if DAMAGED in line}
    with atomic_directory(target) as temporary:
        for split, store in stores.items():
            names = _names([image for image in store.im_files if image not in drop])
            for labels in store:
                if labels.im_file not in names:
                    continue
                place = _place(temporary, split, names[labels.im_file], labels, info, task)
                _copy_image(Path(labels.im_file), place, renew=labels.im_file in damaged)
        if task != "classify":
            write_atomic(temporary / YAML_NAME, _description(info, stores))
    return target if task == "classify" else target / YAML_NAME


def _names(images: Sequence[str]) -> dict[str, str]:
    """Return a name for every image, without suffix and unique: its path below what all have in common."""
    if not images:
        return {}
    common = os.path.commonpath([os.path.dirname(image) for image in images])  # noqa: PTH120
    names: dict[str, str] = {}
    taken: set[str] = set()
    for image in images:
        stem = Path(image).relative_to(common).with_suffix("").as_posix()
        name, number = stem, 2
        while name.lower() in taken:
            name, number = f"{stem}_{number}", number + 1
        taken.add(name.lower())
        names[image] = name
    return names


def _place(root: Path, split: str, name: str, labels: ImageLabels, info: Mapping[str, Any], task: str) -> Path:
    """Write the label file of an image and return where the image goes."""
    suffix = Path(labels.im_file).suffix
    if task == "classify":
        folder = root / split / str(info["names"][int(labels.cls[0])])
        return folder / f"{name.replace('/', '_')}{suffix}"
    label = root / "labels" / split / f"{name}.txt"
    label.parent.mkdir(parents=True, exist_ok=True)
    write_rows(label, label_rows(labels, task, tuple(info.get("kpt_shape") or (0, 0))))
    return root / "images" / split / f"{name}{suffix}"


def _copy_image(source: Path, target: Path, *, renew: bool) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if not renew:
        shutil.copyfile(source, target)
        return
    done, data = cv2.imencode(target.suffix, read_image(source))
    target.write_bytes(data.tobytes() if done else source.read_bytes())


def label_rows(labels: ImageLabels, task: str, kpt_shape: tuple[int, ...] = (0, 0)) -> list[str]:
    """Return the rows of a label file for stored labels, the boxes clipped to the image."""
    half = labels.bboxes[:, 2:].astype(np.float64) / 2
    low = (labels.bboxes[:, :2] - half).clip(0, 1)
    high = (labels.bboxes[:, :2] + half).clip(0, 1)
    boxes = np.concatenate([(low + high) / 2, high - low], axis=1)  # (n, 4)
    rows = []
    for index, cls in enumerate(labels.cls.astype(int).tolist()):
        outline = labels.segments[index].reshape(-1)
        numbers = outline if task in ("segment", "obb") and len(outline) else boxes[index]
        if labels.keypoints is not None:
            points = labels.keypoints[index].astype(np.float64)
            if kpt_shape[1:] == (2,):
                points = np.where(points[:, 2:] > 0, points[:, :2], -1.0)
            numbers = np.concatenate([numbers, points.reshape(-1)])
        rows.append(" ".join([str(cls), *(f"{value:.6g}" for value in numbers.tolist())]))
    return rows


def _description(info: Mapping[str, Any], stores: Mapping[str, LabelStore]) -> str:
    names = dict(getattr(info, "label_names", None) or info["names"])
    values: dict[str, Any] = {split: f"images/{split}" for split in stores}
    values |= {"names": names} | {key: info[key] for key in KEPT_KEYS if info.get(key)}
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
