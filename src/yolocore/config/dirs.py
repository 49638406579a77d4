"""Where the user's cache lies."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

CACHE_VARIABLE = "YOLOCORE_CACHE_DIR"


def cache_dir(*parts: str) -> Path:
    """Return the user cache directory (or ``parts`` below it); nothing is created.

    The environment variable ``YOLOCORE_CACHE_DIR`` wins over the directory the operating system suggests.
    """
    base = os.environ.get(CACHE_VARIABLE)
    root = Path(base).expanduser() if base else Path(platformdirs.user_cache_dir("yolocore", appauthor=False))
    return root.absolute().joinpath(*parts)
