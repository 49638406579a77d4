"""Where weights files are looked for."""

from __future__ import annotations

from pathlib import Path

from yolocore.config.settings import get_settings
from yolocore.errors import MissingFileError


def find_weights(name: str) -> Path:
    """Return the weights file called ``name``: as given, in the working directory or in ``weights_dir``.

    Raises:
        MissingFileError: it is in none of them; the message lists them.
    """
    given = Path(name)
    places = [given] if given.is_absolute() else [given, Path(get_settings()["weights_dir"]) / given.name]
    for place in places:
        if place.is_file():
            return place
    searched = ", ".join(str(p.resolve()) for p in places)
    raise MissingFileError(
        f"model={name!r}: no such file; searched {searched}. Nothing is downloaded: put the file there, "
        f"or start from random weights with model={given.with_suffix('.yaml').name!r}"
    )
