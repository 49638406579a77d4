"""The checked description of a dataset, as every later stage reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from yolocore.errors import DataKeyError, MissingFileError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SPLITS = ("train", "val", "test")
YAML_SUFFIXES = (".yaml", ".yml")
IMAGE_SUFFIXES = frozenset(
    {"avif", "bmp", "dng", "heic", "heif", "jp2", "jpeg", "jpg", "mpo", "pfm", "png", "tif", "tiff", "webp"}
)


class DatasetInfo(dict[str, Any]):
    """A checked dataset description, read like a dict: ``info["names"]``, ``info["nc"]``, ``info["train"]``.

    Keys: everything of the YAML, plus ``path`` (absolute ``Path``), ``train``/``val``/``test`` (lists of
    absolute paths as text; only those the YAML gives), ``names`` (dict from class index to text), ``nc``,
    ``channels``, ``yaml_file`` (text) and, when the YAML has them, ``kpt_shape`` and ``flip_idx``. A split
    that was not required and does not exist on disk is an empty list.

    Attributes:
        missing: Where the splits that do not exist were searched.
        label_classes: Number of classes in the label files; stays when ``single_cls`` sets ``nc`` to 1.
        label_names: Names of those classes, by index.
    """

    def __init__(self, values: Mapping[str, Any], missing: Mapping[str, Sequence[str]] | None = None) -> None:
        super().__init__(values)
        self.label_classes: int = self.get("nc", 0)
        self.label_names: dict[int, str] = dict(self.get("names") or {})
        self.missing: dict[str, list[str]] = {split: list(paths) for split, paths in (missing or {}).items()}

    @property
    def yaml_file(self) -> str:
        """The file (or directory, for classification) the description came from."""
        return str(self["yaml_file"])

    def split(self, name: str) -> list[str]:
        """Return the absolute paths of split ``name``.

        Raises:
            MissingFileError: the YAML names the split but nothing exists there; lists every path tried.
            DataKeyError: the YAML has no such split.
        """
        if self.missing.get(name):
            raise MissingFileError(missing_text(self.yaml_file, {name: self.missing[name]}, ""))
        if not self.get(name):
            given = [split for split in SPLITS if self.get(split)]
            raise DataKeyError(f"{self.yaml_file}: no {name!r} split; the file gives {', '.join(given) or 'none'}")
        return list(self[name])


def missing_text(where: str, missing: Mapping[str, Sequence[str]], advice: str) -> str:
    """Return the error text that lists every path tried for every missing split."""
    lines = [f"{where}: images not found. Searched:"]
    lines += [f"  {split}: {path}" for split, paths in missing.items() for path in paths]
    return "\n".join(lines) + advice
