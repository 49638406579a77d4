"""From what a person writes as ``data=`` to a checked description whose images are there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from yolocore.config.dataset import datasets_dir, find_dataset_yaml, is_packaged, load_dataset
from yolocore.config.dataset_info import YAML_SUFFIXES, DatasetInfo
from yolocore.data.shapes import ensure_shapes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

GENERATED = "shapes.yaml"


def resolve_dataset(
    data: str | Path,
    task: str,
    settings: Mapping[str, Any] | None = None,
    *,
    splits: Sequence[str] = ("train", "val"),
) -> DatasetInfo:
    """Load the description ``data`` names; the packaged ``shapes.yaml`` is drawn on first use.

    Raises:
        MissingFileError, DataKeyError, DataError: see ``yolocore.config.dataset.load_dataset``.
    """
    if _is_generated(data, settings):
        data = ensure_shapes(task)
    return load_dataset(data, task=task, settings=settings, splits=splits)


def _is_generated(data: str | Path, settings: Mapping[str, Any] | None) -> bool:
    path = Path(data)
    if path.suffix.lower() not in YAML_SUFFIXES or path.name != GENERATED:
        return False
    return is_packaged(find_dataset_yaml(path, datasets=datasets_dir(settings)))
