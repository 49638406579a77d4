"""Where weights files come from: a path, the working directory, ``weights_dir``, a plugin, the assets server."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yolocore.config.settings import get_settings
from yolocore.errors import MissingFileError
from yolocore.nn.checkpoint import read_checkpoint
from yolocore.nn.parse import load_model_yaml, split_scale
from yolocore.utils.downloads import advice, fetch_asset, known_assets

if TYPE_CHECKING:
    from collections.abc import Mapping

    from yolocore.hooks.records import ModelRecord

LOGGER = logging.getLogger(__name__)
WEIGHT_SUFFIXES = (".pt", ".safetensors")
TRUSTED = frozenset({"environment", "user"})  # who may name a server in a private network


def find_description(name: str, models: Mapping[str, ModelRecord]) -> dict[str, Any]:
    """Return the content of the model file ``name``: a file, a packaged one, or one that a plugin registered.

    The scale letter may be in the name: ``yolo11n-birds.yaml`` finds the registered ``yolo11-birds.yaml``.
    """
    record = models.get(name) or models.get(split_scale(name)[0])
    if Path(name).is_file() or record is None or record.yaml is None:
        return load_model_yaml(name)
    content = load_model_yaml(record.yaml) if isinstance(record.yaml, Path) else record.yaml
    return {**content, "scale": split_scale(name)[1] or content.get("scale", ""), "yaml_file": name}


def find_weights(name: str, models: Mapping[str, ModelRecord] | None = None) -> Path:
    """Return the weights file called ``name``.

    It is searched as given, in the working directory, in ``weights_dir``, and among the ``models`` of plugins. A
    published file that is nowhere is fetched into ``weights_dir`` when the setting ``assets_url`` names a server.

    Raises:
        MissingFileError: it is in none of them, or cannot be fetched; the message lists them.
        CheckpointError: what the server sent is damaged or another file.
        ConfigError: ``assets_url`` is no address, or one that a project's file may not name.
    """
    settings = get_settings()
    given, folder = Path(name), Path(settings["weights_dir"]).expanduser()
    places = [given] if given.is_absolute() else [given, folder / given.name]
    for place in places:
        if place.is_file():
            return place
    record = (models or {}).get(name)
    if record is not None and record.weights is not None:
        LOGGER.info("%s: weights of a plugin, licence %s", name, record.license or "not stated")
        return record.weights()
    base, source = settings.lookup("assets_url")
    if base and given.parent == Path() and name in known_assets():
        return fetch_asset(name, folder, base, private=source in TRUSTED, verify=read_checkpoint)
    searched = ", ".join(str(p.resolve()) for p in places)
    fresh = given.with_suffix(".yaml").name
    raise MissingFileError(
        f"model={name!r}: no such file; searched {searched}. {advice(name, folder, base)}. "
        f"Random weights need no file: model={fresh!r}"
    )
