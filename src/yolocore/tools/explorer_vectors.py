"""Embeddings of images, and how far they are from one another."""

from __future__ import annotations

import hashlib
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image

from yolocore.config.settings import get_settings
from yolocore.data.arrays import as_bgr
from yolocore.data.images import ImageFault, decode_image, read_image
from yolocore.data.remote import Web, fetch_bytes, is_address, look_up
from yolocore.engine.predictor import private_sources
from yolocore.errors import ConfigError, ConfigTypeError, DataError, MissingFileError, UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from yolocore.data.labels import LabelStore
    from yolocore.engine.model import Model

LOGGER = logging.getLogger(__name__)
BATCH = 16
READERS = 4  # threads that decode the images of a batch
TOLD_EVERY = 5.0  # seconds between two lines on the progress
BLOCK = 1 << 23  # distances computed at a time


class Embedder:
    """Makes embeddings, each equal to that of ``model.embed(image)``.

    Args:
        model: a trainable model.

    Raises:
        UnsupportedError: the model is an exported file.
    """

    def __init__(self, model: Model) -> None:
        if isinstance(model.model, str):
            raise UnsupportedError(f"model={model.model!r} is an exported file; embeddings need a .pt or .yaml model")
        self._model = model
        self._engine: Any = None

    def signature(self) -> str:
        """Return a hash of the weights, the architecture and the size that images are brought to."""
        network: Any = self._model.model
        facts = (self._model.task, network.yaml, self._model.overrides.get("imgsz"))
        digest = hashlib.blake2b(repr(facts).encode(), digest_size=16)
        for name, tensor in sorted(network.state_dict().items()):
            digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
            digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
        return digest.hexdigest()

    def __call__(self, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Return the embeddings (n, C) of BGR images of one shape: a batch of several shapes is padded otherwise."""
        if self._engine is None:
            vectors = self._model.embed(list(images), batch=BATCH, verbose=False)
            self._engine = self._model.predictor
        else:
            vectors = self._engine(list(images))
        return np.stack([vector.float().cpu().numpy() for vector in vectors])

    def embed_files(self, labels: LabelStore) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Return the embeddings (N, C) of all images, and which of them could be decoded, (N,).

        Raises:
            DataError: none could be decoded.
        """
        vectors = np.zeros((len(labels), 0), np.float32)
        good = np.zeros(len(labels), np.bool_)
        read = partial(_try_to_read, most=int(get_settings()["max_pixels"]))
        started = told = time.monotonic()
        done = 0
        with ThreadPoolExecutor(READERS) as pool:
            for batch in same_shape(labels.shapes, BATCH):
                images = list(pool.map(read, [labels.im_files[i] for i in batch]))
                kept = [k for k, image in enumerate(images) if image is not None]
                if kept:
                    found = self([image for image in images if image is not None])
                    if not vectors.shape[1]:
                        vectors = np.zeros((len(labels), found.shape[1]), np.float32)
                    vectors[batch[kept]], good[batch[kept]] = found, True
                done += len(batch)
                if time.monotonic() - told > TOLD_EVERY:
                    told = time.monotonic()
                    share = f"{done / (told - started):.3g} a second"
                    LOGGER.info("embeddings: %d of %d images, %s", done, len(labels), share)
        if not good.any():
            raise DataError(f"embeddings: none of the {len(labels)} images can be decoded, e.g. {labels.im_files[0]}")
        LOGGER.info("embeddings: %d images in %.1f s", np.count_nonzero(good), time.monotonic() - started)
        return vectors, good


def _try_to_read(file: str, most: int) -> NDArray[np.uint8] | None:
    try:
        file.encode()  # the store holds text
        return read_image(file, most)
    except ImageFault as fault:
        LOGGER.warning("left out: %s", fault)
    except UnicodeEncodeError:
        LOGGER.warning("left out: %r: the name of the file is not UTF-8", file)
    return None


def same_shape(shapes: NDArray[np.integer], most: int) -> Iterator[NDArray[np.int64]]:
    """Yield the indices of all images in batches of at most ``most`` images that have one (h, w)."""
    order = np.lexsort((np.arange(len(shapes)), shapes[:, 1], shapes[:, 0]))
    cuts = np.flatnonzero((np.diff(shapes[order], axis=0) != 0).any(1)) + 1
    for group in np.split(order, cuts):
        yield from np.split(group, np.arange(most, len(group), most))


def pictures(img: Any) -> list[NDArray[np.uint8]]:
    """Return the images of a query as BGR arrays.

    Args:
        img: path, web address of an image, array (H, W, 3) uint8 BGR, PIL image, or a list of these; an array
            (B, H, W, 3) is B images.

    Raises:
        MissingFileError: there is no such file.
        ConfigError: an address that may not be followed, or that is no image; the list is empty.
        ConfigTypeError: a type that is no image.
        DataError: it is no image that can be decoded.
    """
    many = isinstance(img, list | tuple) or (isinstance(img, np.ndarray) and img.ndim == 4)
    if many and not len(img):
        raise ConfigError("img: the list is empty; give a path, an address, an array, or a list of these")
    return [_picture(item) for item in img] if many else [_picture(img)]


def _picture(item: Any) -> NDArray[np.uint8]:
    most = int(get_settings()["max_pixels"])
    if is_address(item):
        web = Web(private=private_sources())
        place = look_up(item, web)
        if place.kind != "image":
            raise ConfigError(f"img={str(place)!r} is a {place.kind}; a query takes the address of an image")
        return decode_image(fetch_bytes(item, web), str(place), most)
    if isinstance(item, str | Path):
        path = Path(item).expanduser()
        if not path.exists():
            raise MissingFileError(f"img={str(item)!r}: there is no such file; looked for {path.absolute()}")
        return read_image(path, most)
    if isinstance(item, np.ndarray | Image.Image):
        return as_bgr(item, "img")
    raise ConfigTypeError(f"img: got a {type(item).__name__}; it is a path, an address, an array, or a list of these")


def distances(vectors: NDArray[np.float32], query: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the Euclidean distances (N,) of ``vectors`` (N, C) to ``query`` (C,)."""
    rows = max(BLOCK // max(vectors.shape[1], 1), 1)
    parts = [
        np.linalg.norm(vectors[i : i + rows].astype(np.float64) - query, axis=1) for i in range(0, len(vectors), rows)
    ]
    return np.concatenate(parts)


def neighbours(vectors: NDArray[np.float32], max_dist: float, most: int) -> Iterator[NDArray[np.int64]]:
    """Yield for each of N vectors which ones lie within ``max_dist``: itself, then the nearest, at most ``most``.

    |a - b|² = |a|² + |b|² - 2 a·b in float32 finds the candidates, with room for its rounding; those are measured
    directly, so that equal vectors are at distance 0 exactly.
    """
    centred = (vectors - vectors.mean(0, dtype=np.float64)).astype(np.float32)
    norms = np.einsum("nc,nc->n", centred, centred)  # (N,)
    rounding = 4 * (vectors.shape[1] + 2) * np.finfo(np.float32).eps * float(norms.max(initial=0))
    rows = max(BLOCK // len(vectors), 1)
    told = time.monotonic()
    for start in range(0, len(vectors), rows):
        if time.monotonic() - told > TOLD_EVERY:
            told = time.monotonic()
            LOGGER.info("similarity index: %d of %d images", start, len(vectors))
        rest = centred[start : start + rows] @ centred.T  # (rows, N)
        rest *= -2
        rest += norms
        bounds = max_dist**2 + rounding - norms[start : start + rows]
        for i, (row, bound) in enumerate(zip(rest, bounds, strict=True), start):
            near = np.flatnonzero(row <= bound)
            exact = distances(vectors[near], vectors[i].astype(np.float64))
            near, exact = near[exact <= max_dist], exact[exact <= max_dist]
            yield near[np.lexsort((near, near != i, exact))][:most]
