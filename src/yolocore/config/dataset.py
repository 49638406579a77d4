"""Dataset descriptions: finding the YAML, checking every key, resolving every path.

Nothing is downloaded and nothing in the file is executed: ``download`` is information only.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yolocore.config.dataset_checks import check_keypoints, check_names
from yolocore.config.dataset_folders import find_folder, load_folders
from yolocore.config.dataset_formats import DEFAULT_FORMAT, FORMATS, find_format, names_elsewhere, names_of_json
from yolocore.config.dataset_info import SPLITS, YAML_SUFFIXES, DatasetInfo, missing_text
from yolocore.config.dirs import cache_dir
from yolocore.config.settings import get_settings
from yolocore.config.yaml_reader import YamlDocument, read_yaml_mapping
from yolocore.errors import DataError, DataKeyError, MissingFileError, closest, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

logger = logging.getLogger(__name__)

PACKAGED = Path(__file__).parent / "datasets"
KNOWN_KEYS = frozenset(
    {
        *("path", *SPLITS, "validation", "names", "nc", "kpt_shape", "flip_idx", "kpt_names"),
        *("channels", "download", "format", "generated"),
    }
)
INFORMATION_KEYS = frozenset(
    {
        *("author", "citation", "comment", "date", "description", "homepage", "info", "licence"),
        *("license", "roboflow", "source", "task", "title", "url", "version", "yaml_file"),
    }
)


def load_dataset(
    data: str | Path,
    *,
    task: str,
    settings: Mapping[str, Any] | None = None,
    splits: Sequence[str] = ("train", "val"),
) -> DatasetInfo:
    """Find, read and check a dataset description and resolve its paths.

    Args:
        data: Path or name of a YAML file; for ``classify`` also a directory or a name below ``datasets_dir``.
        task: ``detect``, ``segment``, ``pose``, ``obb`` or ``classify``; decides which keys must be there.
        settings: Where ``datasets_dir`` is looked up; the user's settings when ``None``.
        splits: Splits that must exist on disk. Others that are missing are reported as a warning.

    Raises:
        MissingFileError: the YAML, or a required split, does not exist; every place searched is listed.
        DataKeyError: a key the task needs is missing.
        DataError: a value is wrong, or the file is not a YAML mapping; starts with ``file:line``.
    """
    root = datasets_dir(settings)
    if task == "classify":
        folder = find_folder(data, root)
        if folder is not None:
            return load_folders(folder, splits)
    document = read_yaml_mapping(find_dataset_yaml(data, datasets=root))
    values = dict(document.values)
    _merge_validation(document, values)
    _warn_unknown(document)
    _check_plain_values(document, values)
    roots = _roots(document, root, task)
    if task == "classify":
        return load_folders(_first_existing(roots), splits)
    elsewhere = names_elsewhere(values)
    if not elsewhere:
        values["names"], values["nc"] = check_names(document)
    if task == "pose" or values.get("kpt_shape") is not None:
        check_keypoints(document, required=task == "pose")
    values["channels"] = values.get("channels") or 3
    found, missing = _resolve_splits(document, values, roots, splits)
    form = values.get("format") or find_format(found)
    if form != DEFAULT_FORMAT:
        values["format"] = form
    if elsewhere:
        values["names"], values["nc"] = names_of_json(document, found) if form == "coco" else check_names(document)
    values.update(found, path=_first_existing(roots), yaml_file=str(document.path))
    return DatasetInfo(values, missing)


def datasets_dir(settings: Mapping[str, Any] | None = None) -> Path:
    """Return ``settings["datasets_dir"]``, absolute: the root for sets that do not lie beside their YAML."""
    if settings is None:
        settings = get_settings()
    return Path(str(settings["datasets_dir"])).expanduser().absolute()


def find_dataset_yaml(data: str | Path, *, datasets: Path) -> Path:
    """Return the absolute path of a YAML: as given, then, for a bare name, packaged, then ``datasets``.

    Raises:
        MissingFileError: lists every place searched, and packaged or neighbouring files with a similar name.
        DataError: the path is a directory, or not a YAML file.
    """
    given = Path(data).expanduser()
    candidates = [Path.cwd() / given]
    if given.parent == Path() and not given.is_absolute():
        candidates += [PACKAGED / given, datasets / given]
    for candidate in candidates:
        if candidate.is_file():
            if candidate.suffix.lower() not in YAML_SUFFIXES:
                raise DataError(f"{candidate}: a dataset is described by a .yaml file, found {candidate.suffix!r}")
            return candidate.absolute()
    if candidates[0].is_dir():
        inside = sorted(p.name for p in candidates[0].iterdir() if p.suffix.lower() in YAML_SUFFIXES)
        hint = f" Use data={str(given / inside[0])!r}." if inside else ""
        raise DataError(f"{candidates[0]}: is a directory; data= names the YAML file that describes the set.{hint}")
    if any(c.exists() for c in candidates):
        raise DataError(f"{given}: is not a regular file")
    tried = "".join(f"\n  {candidate}" for candidate in candidates)
    names = {p.name for c in candidates if c.parent.is_dir() for p in c.parent.iterdir() if p.suffix in YAML_SUFFIXES}
    hint = did_you_mean(given.name, names)
    if not given.suffix:
        hint = hint or f" A description ends in .yaml: data={str(given) + '.yaml'!r}?"
    raise MissingFileError(f"dataset {str(data)!r} not found. Searched:{tried}{chr(10) + hint.strip() if hint else ''}")


def is_packaged(path: Path) -> bool:
    """Tell whether ``path`` is one of the descriptions that ship with the package."""
    return path.parent == PACKAGED


def _merge_validation(document: YamlDocument, values: dict[str, Any]) -> None:
    if "validation" not in values:
        return
    alias = values.pop("validation")
    if values.get("val") not in (None, alias):
        raise DataError(f"{document.where('validation')}: both 'val' and 'validation' are given and differ; keep 'val'")
    values["val"] = alias


def _warn_unknown(document: YamlDocument) -> None:
    for key in document.values:
        if key not in KNOWN_KEYS and key.lower() not in INFORMATION_KEYS:
            hint = did_you_mean(key, KNOWN_KEYS)
            logger.warning("%s: unknown key %r is ignored.%s", document.where(key), key, hint)


def _check_plain_values(document: YamlDocument, values: dict[str, Any]) -> None:
    channels = values.get("channels")
    if channels is not None and (type(channels) is not int or not 1 <= channels <= 64):
        raise DataError(f"{document.where('channels')}: channels is {channels!r}; expected an integer from 1 to 64")
    path = values.get("path")
    if path is not None and not isinstance(path, str):
        raise DataError(f"{document.where('path')}: path is {path!r}; expected a text, e.g. path: ../datasets/mine")
    form = values.get("format")
    if form is not None and form not in FORMATS:
        hint = did_you_mean(str(form), FORMATS)
        raise DataError(f"{document.where('format')}: format is {form!r}; expected one of {', '.join(FORMATS)}.{hint}")
    if values.get("download") is not None:
        logger.info("%s: 'download' is never executed by yolocore", document.where("download"))


def _roots(document: YamlDocument, datasets: Path, task: str) -> list[Path]:
    """Return the directories that ``path`` may mean, in order of preference."""
    generated = document.values.get("generated")
    if generated is not None and is_packaged(document.path):
        return [cache_dir("datasets", str(generated), task)]
    here = document.path.parent
    given = document.values.get("path")
    if given in (None, ""):
        return [here]
    path = Path(str(given)).expanduser()
    if path.is_absolute():
        return [path]
    return list(dict.fromkeys(_tidy(base / path) for base in (here, datasets, Path.cwd())))


def _first_existing(paths: Sequence[Path]) -> Path:
    return next((path for path in paths if path.exists()), paths[0])


def _tidy(path: Path) -> Path:
    """Make absolute and fold ``..`` where that is safe; symbolic links keep their names."""
    path = path.absolute()
    return path.resolve() if ".." in path.parts else path


def _entries(document: YamlDocument, values: dict[str, Any], split: str) -> list[str]:
    value = values.get(split)
    if value is None or value in ("", []):
        return []
    entries = value if isinstance(value, list) else [value]
    for entry in entries:
        if not isinstance(entry, str) or not entry:
            raise DataError(
                f"{document.where(split)}: {split} holds {entry!r}; expected a directory or list file as "
                f"text, or a list of them, e.g. {split}: images/{split}"
            )
    return entries


def _resolve_splits(
    document: YamlDocument, values: dict[str, Any], roots: Sequence[Path], required: Sequence[str]
) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Return ``(absolute paths per split, candidates per split that is missing)``."""
    root = _first_existing(roots)
    found: dict[str, list[str]] = {}
    missing: dict[str, list[str]] = {}
    for split in SPLITS:
        entries = _entries(document, values, split)
        if not entries and split in required:
            raise DataKeyError(_no_split_text(document, split))
        if not entries:
            values.pop(split, None)
            continue
        paths = [_tidy(root / Path(entry).expanduser()) for entry in entries]
        for entry, path in zip(entries, paths, strict=True):
            if not path.exists():
                tries = [_tidy(base / Path(entry).expanduser()) for base in roots]
                missing.setdefault(split, []).extend(str(p) for p in dict.fromkeys(tries))
        found[split] = [] if split in missing else [str(path) for path in paths]
    fatal = {split: tries for split, tries in missing.items() if split in required}
    if fatal:
        raise MissingFileError(missing_text(document.where(next(iter(fatal))), fatal, _advice(document, values, root)))
    for split, searched in missing.items():
        logger.warning("%s: %s does not exist: %s", document.where(split), split, ", ".join(searched))
    return found, missing


def _no_split_text(document: YamlDocument, split: str) -> str:
    near = [key for key in closest(split, document.values) if key not in KNOWN_KEYS]
    hint = f" Did you mean {near[0]!r} to be {split!r}?" if near else ""
    return f"{document.path}: the key {split!r} is missing; add e.g. '{split}: images/{split}'.{hint}"


def _advice(document: YamlDocument, values: dict[str, Any], root: Path) -> str:
    if document.values.get("generated") and is_packaged(document.path):
        return "\nThis set is drawn on first use, by yolocore.data.paths.resolve_dataset."
    for split in SPLITS:
        for entry in _entries(document, values, split):
            inner = entry.removeprefix("../")
            if inner != entry and (root / inner).exists():
                return f"\nA relative path starts at 'path' ({root}). There it is: write '{split}: {inner}'."
    if values.get("path") in (None, ""):
        return f"\nRelative paths start at the YAML file's directory, {root}. Set 'path:' to the data's root."
    text = "" if root.exists() else f"\n'path: {values['path']}' resolves to {root}, which does not exist."
    if values.get("download"):
        text += "\n'download' is never executed: fetch and unpack the data yourself."
    return text
