"""What prediction looks at: files, folders, patterns, lists, addresses, streams, arrays, tensors, in bounded batches.

:func:`load_source` picks the class by the kind of the source. Each one is an iterable of batches
``(paths, images, logs)``; all images of a batch are stills, frames of one video, or frames of several live streams.
"""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image

from yolocore.data.arrays import as_bgr
from yolocore.data.remote import Remote
from yolocore.data.screen import ScreenSource
from yolocore.data.shapes import sample_images
from yolocore.data.source_base import Options, Source, SourceType
from yolocore.data.source_files import FileSource
from yolocore.data.source_memory import MemorySource, TensorSource
from yolocore.data.source_paths import expand
from yolocore.data.streams import LiveSource
from yolocore.errors import ConfigError, ConfigTypeError, DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

__all__ = ["FileSource", "LiveSource", "MemorySource", "Options", "Source", "SourceType", "as_bgr", "load_source"]
LOGGER = logging.getLogger(__name__)
SCREEN = re.compile(r"screen( \d+)*", re.IGNORECASE)
ACCEPTED = (
    "a path of an image or video, a folder, a pattern such as dir/*.jpg, a .txt, .csv or .streams list, the address of "
    "an image, video or live stream, the number of a webcam, 'screen', an array (H, W, 3) uint8 BGR, a PIL image, a "
    "tensor (B, 3, H, W) RGB 0-1, a list of paths, arrays and PIL images"
)


def _samples(_: None, options: Options) -> Source:
    LOGGER.warning("no source given: predicting on the bundled sample images")
    return FileSource(sample_images(), options)


def _path(source: str | Path, options: Options) -> Source:
    if isinstance(source, str) and SCREEN.fullmatch(source) and not Path(source).exists():
        return ScreenSource(source, options)
    return _places(expand(source, options.web), options)


def _webcam(source: int, options: Options) -> Source:
    if isinstance(source, bool) or source < 0:
        raise ConfigError(f"source={source!r}: a number is that of a webcam, from 0")
    return LiveSource([source], options)


def _places(places: Sequence[Path | Remote], options: Options) -> Source:
    """Return one source for files, or one for live streams."""
    live = [place for place in places if isinstance(place, Remote) and place.kind == "stream"]
    if not live:
        return FileSource(places, options)
    if len(live) < len(places):
        raise ConfigError(f"source: {live[0]} is a live stream; live streams cannot be mixed with images and files")
    return LiveSource([place.address for place in live], options)


def _array(source: NDArray[Any], options: Options) -> Source:
    return MemorySource(list(source) if source.ndim == 4 and len(source) else [source], options)


def _list(source: Sequence[Any], options: Options) -> Source:
    if not source:
        raise DataError(f"source: the list is empty; give {ACCEPTED}")
    for x in source:
        if isinstance(x, bool) or not isinstance(x, str | int | Path | np.ndarray | Image.Image):
            hint = "; stack tensors into one (B, 3, H, W)" if isinstance(x, torch.Tensor) else ""
            may = "it may hold paths, arrays (H, W, 3) uint8 BGR and PIL images"
            raise ConfigTypeError(f"source: the list holds a {type(x).__name__}; {may}{hint}")
    texts = [str(x) if isinstance(x, int) else x for x in source]
    if all(isinstance(x, str | Path) for x in texts):
        return _places([place for x in texts for place in expand(x, options.web)], options)
    return MemorySource(texts, options)


OPENERS: tuple[tuple[Any, Callable[[Any, Options], Source]], ...] = (
    (type(None), _samples),
    (int, _webcam),
    (str | Path, _path),
    (torch.Tensor, TensorSource),
    (np.ndarray, _array),
    (Image.Image, lambda image, options: MemorySource([image], options)),
    (list | tuple, _list),
)


def load_source(source: Any, **values: Any) -> Source:
    """Open what prediction looks at.

    Args:
        source: see :data:`ACCEPTED`; ``None`` for the bundled sample images.
        **values: how it is read, the fields of :class:`Options`, such as ``batch``; a tensor is one batch whatever
            its length, live streams give one image each.

    Raises:
        MissingFileError: no such file or folder, or nothing matches the pattern.
        DataError: there is no image in the folder or list, the array is no image, or a stream cannot be opened.
        ConfigError: an address that may not be followed, or live streams mixed with others.
        ConfigTypeError: a type that is no source.
        UnsupportedError: a kind that needs a package which is not installed.
    """
    options = Options(**values)
    for kind, opener in OPENERS:
        if isinstance(source, kind):
            return opener(source, options)
    raise ConfigTypeError(f"source: got a {type(source).__name__}; it is {ACCEPTED}")
