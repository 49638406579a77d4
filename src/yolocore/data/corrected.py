"""A corrected copy of a dataset: usable images and rows only, in the plain YOLO layout, never in place."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import yaml

from yolocore.config.settings import get_settings
from yolocore.data.conversion import write_rows
from yolocore.data.images import read_image
from yolocore.data.listing import label_paths
from yolocore.data.verify import DAMAGED
from yolocore.errors import DataError
from yolocore.utils.files import new_files

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
    drop: Collection[tuple[str, str]] = (),
) -> Path:
    """Write a copy of a dataset and return its YAML, for ``classify`` its directory.

    Rows and images that a scan skipped are not in it; boxes are clipped to their images; damaged but readable images
    are encoded anew. Images lie in ``images/<split>``, labels in ``labels/<split>``.

    Args:
        folder: Where to write; must not exist, or be empty, and lie outside the dataset's images and labels.
        info: The checked description.
        task: What the labels are for.
        stores: The usable labels by split.
        reports: What the scans found.
        drop: Splits and images to leave out, such as those that are in another split as well; a split that would
            lose all its objects keeps them.

    Raises:
        DataError: the folder is not empty, or lies in the dataset.
    """
    target = check_free(folder)
    for place in _places(info, stores):
        if target.is_relative_to(place):
            raise DataError(f"{target}: lies in {place}; a dataset is never corrected in place")
    damaged = {remark.place for report in reports for remark in report.remarks if remark.reason == DAMAGED}
    with new_files(target) as temporary:
        for split, store in stores.items():
            kept = [image for image in store.im_files if (split, image) not in drop]
            labelled = {store.im_files[index] for index in np.flatnonzero(store.counts)}
            names = _names(kept if labelled.intersection(kept) else store.im_files)
            _write_split(temporary, split, names, store, info, task, damaged)
        if task != "classify":
            (temporary / YAML_NAME).write_text(_description(info, stores), encoding="utf-8")
    return target if task == "classify" else target / YAML_NAME


def check_free(folder: str | Path) -> Path:
    """Return the absolute path of a directory that a copy can be written to.

    Raises:
        DataError: it is not empty, or cannot be made.
    """
    target = Path(folder).expanduser().resolve()
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise DataError(f"{target}: exists and is not empty; a corrected copy needs a directory of its own")
    above = next(parent for parent in (target, *target.parents) if parent.exists())
    if not above.is_dir() or not os.access(above, os.W_OK):
        raise DataError(f"{target}: cannot be made; {above} is no directory that can be written to")
    return target


def _places(info: Mapping[str, Any], stores: Mapping[str, LabelStore]) -> set[Path]:
    """Return the directories that a dataset consists of."""
    entries = {Path(entry).resolve() for split in stores for entry in info[split]}
    images = [image for store in stores.values() for image in store.im_files]
    folders = {os.path.dirname(file) for file in (*images, *label_paths(images))}  # noqa: PTH120
    return entries | {Path(folder).resolve() for folder in folders}


def _names(images: Sequence[str]) -> dict[str, str]:
    """Return of every image its path below what all have in common, without suffix, and without ``images`` in it.

    Below a directory ``images`` of its own, its label file would be searched elsewhere.
    """
    common = os.path.commonpath([os.path.dirname(image) for image in images])  # noqa: PTH120
    paths = {image: Path(image).relative_to(common).with_suffix("") for image in images}
    return {
        image: "/".join([*(p for p in path.parts[:-1] if p != "images"), path.name]) for image, path in paths.items()
    }


def _write_split(
    root: Path,
    split: str,
    names: dict[str, str],
    store: LabelStore,
    info: Mapping[str, Any],
    task: str,
    damaged: Collection[str],
) -> None:
    """Write the images of a split that have a name, each once, and their labels."""
    taken: set[str] = set()
    for labels in store:
        if (stem := names.pop(labels.im_file, None)) is None:
            continue
        folder = root / "images" / split
        if task == "classify":
            folder, stem = root / split / str(info["names"][int(labels.cls[0])]), stem.rpartition("/")[2]
        image = _free(folder / stem, Path(labels.im_file).suffix, taken)
        _copy_image(Path(labels.im_file), image, renew=labels.im_file in damaged)
        if task != "classify":
            _write_label(image, labels, task, info)


def _free(stem: Path, suffix: str, taken: set[str]) -> Path:
    """Return a path for an image whose stem, in any case, no other has; stems name label files."""
    name, number = stem, 2
    while str(name).lower() in taken:
        name, number = stem.with_name(f"{stem.name}_{number}"), number + 1
    taken.add(str(name).lower())
    return name.with_name(name.name + suffix)


def _write_label(image: Path, labels: ImageLabels, task: str, info: Mapping[str, Any]) -> None:
    label = Path(label_paths([str(image)])[0])
    label.parent.mkdir(parents=True, exist_ok=True)
    write_rows(label, label_rows(labels, task, tuple(info.get("kpt_shape") or (0, 0))))


def _copy_image(source: Path, target: Path, *, renew: bool) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if not renew:
        shutil.copyfile(source, target)
        return
    im_bgr = read_image(source, get_settings()["max_pixels"])
    try:
        target.write_bytes(cv2.imencode(target.suffix, im_bgr)[1].tobytes())
    except cv2.error:  # a suffix that OpenCV only reads
        shutil.copyfile(source, target)


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
