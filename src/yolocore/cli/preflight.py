"""What can be known to be wrong before anything heavy is loaded: paths of model, data and source."""

from __future__ import annotations

import re
import textwrap
from glob import glob, has_magic
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from yolocore.cli.extensions import plugin_models, plugin_tasks
from yolocore.config.settings import get_settings
from yolocore.errors import ConfigError, MissingFileError, did_you_mean
from yolocore.utils.downloads import advice, known_assets

if TYPE_CHECKING:
    from yolocore.config import Config

SUFFIXES: Final = {"detect": "", "segment": "-seg", "classify": "-cls", "pose": "-pose", "obb": "-obb"}
YAML: Final = (".yaml", ".yml")
SCALE_LETTER: Final = re.compile(r"^(yolov?\d+)[a-z](?=$|[-_.])")
NAMED_SOURCE: Final = re.compile(r"\w+://|\d+$|screen\b", re.IGNORECASE)  # addresses, webcams, the screen


def default_model(task: str | None, mode: str) -> str:
    """Return the model of a command line that names none: random weights for train, else published ones."""
    suffix = ".yaml" if mode == "train" else ".pt"
    if task is None or task in SUFFIXES:
        return f"yolo11n{SUFFIXES[task or 'detect']}{suffix}"
    return str(Path(plugin_tasks()[task].default_model).with_suffix(suffix))


def check_files(config: Config, model: str, task: str | None) -> None:
    """Look for the files that ``config`` names.

    Raises:
        MissingFileError: one is missing; the message lists where it was searched.
        ConfigError: the mode needs one that is not named.
    """
    if config.mode in {"predict", "track"}:
        check_source(config.source)
    builtin = task in (None, *SUFFIXES)  # a plugin's task may describe its datasets in a way of its own
    if builtin and config.data is not None and config.mode in {"train", "val", "benchmark"}:
        check_data(config, task or task_of(model))
    check_model(model)


def task_of(model: str) -> str:
    """Return the task that the name of ``model`` suggests."""
    stem = Path(model).stem
    return next((task for task, suffix in SUFFIXES.items() if suffix and stem.endswith(suffix)), "detect")


def check_model(model: str) -> None:
    """Refuse a model that is in none of the places where models are searched.

    Raises:
        MissingFileError: lists the places, and similar names.
    """
    given = Path(model).expanduser()
    if given.exists():
        return
    if given.suffix in YAML:
        _check_packaged(model)
        return
    weights = Path(get_settings()["weights_dir"]).expanduser()
    places = [given] if given.is_absolute() else [given, weights / given.name]
    if any(place.exists() for place in places):
        return
    base = get_settings()["assets_url"]
    if base and model in known_assets():
        return  # fetched once everything else has been checked
    folders = {place.absolute().parent for place in places}
    names = [p.name for folder in folders if folder.is_dir() for p in folder.glob(f"*{given.suffix}")]
    searched = ", ".join(str(place.absolute()) for place in places)
    raise MissingFileError(
        f"model={model!r}: no such file; searched {searched}.{did_you_mean(given.name, names)} "
        f"{advice(model, weights, base)}, or name another model with model="
    )


def split_name(model: str) -> str:
    """Return the name of a model file without the letter of its size: ``yolo11n.yaml`` gives ``yolo11.yaml``."""
    return SCALE_LETTER.sub(r"\1", Path(model).stem) + ".yaml"


def _check_packaged(model: str) -> None:
    packaged = [item.name for item in files("yolocore").joinpath("nn", "models").iterdir()]
    unscaled = split_name(model)
    if Path(model).parent == Path() and {unscaled, model} & set(packaged):
        return
    registered = plugin_models()
    if model in registered or split_name(model) in registered:
        return
    known = ", ".join(sorted(name for name in packaged if name.endswith(YAML)))
    raise MissingFileError(
        f"model={model!r}: no such file in {Path(model).absolute().parent}, and no description of that name "
        f"comes with yolocore; those are {known}, with a letter for the size: yolo11n.yaml"
    )


def check_data(config: Config, task: str) -> None:
    """Read the dataset description and resolve its paths.

    Raises:
        DataError: the description is wrong.
        MissingFileError: it, or a folder it names, does not exist.
    """
    from yolocore.data.paths import resolve_dataset

    data = str(config.data)
    splits = ("train", "val") if config.mode == "train" else (config.split,)
    resolve_dataset(data, "classify" if is_class_folder(data) else task, get_settings(), splits=splits)


def is_class_folder(data: str) -> bool:
    """Tell whether ``data`` is a folder without a description, which only classification takes."""
    given = Path(data).expanduser()
    if given.suffix.lower() in YAML:
        return False
    folder = given if given.is_dir() else Path(get_settings()["datasets_dir"]) / given
    return folder.is_dir() and not any(file.suffix.lower() in YAML for file in folder.iterdir())


def check_source(source: Any) -> None:
    """Refuse a path or pattern that matches nothing.

    Raises:
        MissingFileError: names the path and, where there is one, a similar file.
    """
    if not isinstance(source, str) or NAMED_SOURCE.match(source):
        return
    path = Path(source).expanduser()
    shown = textwrap.shorten(repr(source), 200)
    try:
        found = path.exists() or (has_magic(source) and _matches(source))
    except OSError as error:
        raise ConfigError(f"source={shown}: {error.strerror}") from error
    if found:
        return
    if has_magic(source):
        raise MissingFileError(f"source={shown}: no file matches this pattern in {Path.cwd()}")
    folder = path.absolute().parent
    while not folder.is_dir():
        folder = folder.parent
    hint = did_you_mean(path.name, [p.name for p in folder.iterdir()])
    raise MissingFileError(f"source={shown}: no such file or folder; {folder} is the part that exists.{hint}")


def _matches(pattern: str) -> bool:
    return bool(glob(pattern, recursive=True))  # noqa: PTH207 (Path.glob takes no absolute pattern)
