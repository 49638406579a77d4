"""Looking into a dataset: similar images by their embeddings, SQL over the labels, and pictures of both."""

from __future__ import annotations

import hashlib
import logging
import operator
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from yolocore.config.dirs import cache_dir
from yolocore.config.settings import get_settings
from yolocore.engine.model import Model
from yolocore.errors import ConfigError, ConfigTypeError, PluginError, did_you_mean
from yolocore.models.facade import YOLO
from yolocore.tools.explorer_data import read_split
from yolocore.tools.explorer_figures import MOST, draw_counts, draw_grid, tiles_of
from yolocore.tools.explorer_store import EmbeddingStore, open_store, prepare, write_store
from yolocore.tools.explorer_vectors import Embedder, distances, neighbours, pictures

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray
    from PIL import Image

LOGGER = logging.getLogger(__name__)
FORMS: Final = {"pandas": ("pandas", "DataFrame"), "arrow": ("pyarrow", "table"), "dict": ("builtins", "dict")}
DEFAULT_SPLIT: Final = "train"


class Explorer:
    """Embeddings and labels of a dataset, kept in one file and searched by likeness or by SQL.

    The embedding of an image is ``model.embed(image)``. Nothing is computed before the table is made, by
    :meth:`create_embeddings_table` or by the first question.

    Args:
        data: dataset, as for training; files on this machine only.
        model: weights or model file as for ``YOLO``, or a ``YOLO``.
        uri: directory of the embeddings; by default ``explorer`` in the user's cache directory.

    Attributes:
        model: makes the embeddings.
        table: the embeddings and labels, an `EmbeddingStore`; ``None`` before they are made.

    Raises:
        MissingFileError: there is no such model file.
        UnsupportedError: the model is an exported file, which has no embeddings.
    """

    def __init__(
        self, data: str | Path = "coco8.yaml", model: str | Path | Model = "yolo11n.pt", uri: str | Path | None = None
    ) -> None:
        self.data = data
        self.model: Model = model if isinstance(model, Model) else YOLO(model)
        self.uri = cache_dir("explorer") if uri is None else Path(uri).expanduser().absolute()
        self.table: EmbeddingStore | None = None
        self._embedder = Embedder(self.model)
        self._neighbours: dict[tuple[float, int], list[NDArray[np.int64]]] = {}

    def create_embeddings_table(self, force: bool = False, split: str = DEFAULT_SPLIT) -> None:
        """Embed the images of a split, or take the table that is there, if data and model are still the same.

        Images that cannot be decoded are left out, with a warning. A run that is interrupted leaves nothing behind.

        Args:
            force: compute in any case.
            split: ``train``, ``val`` or ``test``.

        Raises:
            ConfigError: there is no such split, or ``uri`` cannot be written to.
            MissingFileError, DataKeyError, DataError: the dataset cannot be used.
        """
        part = read_split(self.data, split, self.model.task)
        signature = f"{part.fingerprint()}-{self._embedder.signature()}"
        file = self._file(part.source, split)
        store = None if force else open_store(file, signature)
        if store is None:
            prepare(self.uri)
            vectors, good = self._embedder.embed_files(part.labels)
            facts = {"data": part.source, "model": self.model.source, "split": split, "task": part.task}
            labels = part.labels if good.all() else part.labels.select(np.flatnonzero(good))
            store = write_store(file, signature, labels, part.names, vectors[good], facts)
            store.vectors = vectors[good]
        self.table = store
        self._neighbours.clear()

    def _file(self, source: str, split: str) -> Path:
        """Return where the table of this data, model and split lies."""
        key = f"{source}\0{Path(self.model.source).absolute()}\0{split}".encode("utf-8", "surrogateescape")
        name = f"{Path(source).parent.name}-{Path(source).stem}-{Path(self.model.source).stem}-{split}"
        return self.uri / f"{name[-80:]}-{hashlib.blake2b(key, digest_size=8).hexdigest()}.db"

    @property
    def _store(self) -> EmbeddingStore:
        if self.table is None:
            self.create_embeddings_table()
        assert self.table is not None
        return self.table

    # by likeness -----------------------------------------------------------------------------------------------

    def get_similar(
        self, img: Any = None, idx: int | Sequence[int] | None = None, limit: int = 25, return_type: str = "pandas"
    ) -> Any:
        """Return the images most like others, the nearest first, with their Euclidean ``_distance``.

        Args:
            img: path, web address, array (H, W, 3) uint8 BGR, PIL image, or a list of these.
            idx: number of a row of the table, which itself comes first, or a list of numbers.
            limit: number of images at most.
            return_type: ``pandas`` for a data frame, ``arrow`` for a columnar table, ``dict`` for column name to list.

        Several inputs are averaged in embedding space.

        Raises:
            ConfigError: both ``img`` and ``idx`` are given or none, or a value is out of range.
            ImportError: the package of ``return_type`` is not installed; the message names the extra.
        """
        form = _form(return_type)
        return form(self._similar(img, idx, limit))

    def query(self, imgs: Any, limit: int = 25) -> dict[str, list[Any]]:
        """Return what :meth:`get_similar` returns for images, as a dict of column name to values."""
        return self._similar(imgs, None, limit)

    def _similar(self, img: Any, idx: Any, limit: int) -> dict[str, list[Any]]:
        if (img is None) == (idx is None):
            raise ConfigError(f"give img= or idx=, {'not both' if img is not None else 'one of them'}")
        if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
            raise ConfigError(f"limit={limit!r}: a number of images, at least 1")
        images = None if img is None else pictures(img)
        store = self._store
        if images is None:
            rows = _row_numbers(idx, len(store))
            wanted = store.vectors[rows]
        else:
            rows = []
            wanted = np.concatenate([self._embedder([image]) for image in images])
        far = distances(store.vectors, wanted.astype(np.float64).mean(0))
        later = ~np.isin(np.arange(len(far)), rows)  # of equal images the one asked for comes first
        order = np.lexsort((np.arange(len(far)), later, far))[:limit]
        return {**store.rows(order), "_distance": far[order].tolist()}

    def similarity_index(self, max_dist: float = 0.2, top_k: float | None = None, force: bool = False) -> Any:
        """Return for each image which ones are near: a data frame ``idx, im_file, count, sim_im_files``.

        An image counts among its own neighbours and is the first of them; the others follow by distance. The images
        with the most neighbours come first. The result is kept until the table changes.

        Args:
            max_dist: largest Euclidean distance of two embeddings.
            top_k: share of the images, in (0, 1], that are looked at as neighbours, the nearest.
            force: compute in any case.

        Raises:
            ConfigError: a value is out of range.
            ImportError: pandas is not installed; :meth:`plot_similarity_index` does without.
        """
        form = _form("pandas")
        near, order = self._near(max_dist, top_k, force)
        files = self._store.im_files
        return form(
            {
                "idx": order,
                "im_file": [files[i] for i in order],
                "count": [len(near[i]) for i in order],
                "sim_im_files": [[files[k] for k in near[i]] for i in order],
            }
        )

    def _near(self, max_dist: float, top_k: float | None, force: bool) -> tuple[list[NDArray[np.int64]], list[int]]:
        """Return the neighbours of each row, and the rows in the order of their number."""
        if not 0 <= max_dist < float("inf"):
            raise ConfigError(f"max_dist={max_dist!r}: a distance, at least 0")
        if top_k is not None and not 0 < top_k <= 1:
            raise ConfigError(f"top_k={top_k!r}: a share of the images, above 0 and at most 1")
        store = self._store
        most = len(store) if top_k is None else max(round(top_k * len(store)), 1)
        key = (float(max_dist), most)
        if force or key not in self._neighbours:
            self._neighbours[key] = list(neighbours(store.vectors, max_dist, most))
        near = self._neighbours[key]
        return near, sorted(range(len(near)), key=lambda i: (-len(near[i]), i))

    # by SQL ----------------------------------------------------------------------------------------------------

    def sql_query(self, query: str, return_type: str = "pandas") -> Any:
        """Return what a question in SQL finds; it can read the table and nothing else.

        Args:
            query: ``SELECT ... FROM 'table' WHERE ...`` in SQLite's dialect, or ``WHERE ...`` alone. Lists are JSON
                text there: ``labels LIKE '%person%'``. The number of a row is ``rowid``.
            return_type: see :meth:`get_similar`.

        Raises:
            ConfigError: the query is wrong, does more than reading, or takes more than 30 seconds.
            ImportError: see :meth:`get_similar`.
        """
        form = _form(return_type)
        return form(self._store.query(query))

    def ask_ai(self, query: str) -> Any:
        """Return a data frame of what a question in plain words finds, ``None`` if it could not be translated.

        A plugin turns the question into SQL, see the hook ``register_query_translators``; its answer goes through
        :meth:`sql_query`. The plugin is told the question, the columns and the names of the classes.

        Raises:
            PluginError: no installed plugin translates questions, or more than one.
            ConfigError: the SQL of the plugin is wrong or does more than reading.
        """
        if not isinstance(query, str) or not query.strip():
            raise ConfigTypeError(f"query={query!r}: a question as text, e.g. 'images with a dog and no person'")
        translators = self.model.plugins.registry("query_translators")
        if not translators:
            raise PluginError(
                "ask_ai: no installed plugin turns questions into SQL. A plugin does so by the hook "
                "register_query_translators; sql_query takes SQL without one"
            )
        if len(translators) > 1:
            owners = ", ".join(f"{name} of {translators.owner(name)}" for name in translators)
            raise PluginError(f"ask_ai: several plugins would answer ({owners}); leave one: yolo plugins disable NAME")
        form = _form("pandas")
        ((name, translate),) = translators.items()
        statement = translate(query, self._schema())
        if not statement:
            LOGGER.warning("ask_ai: %s could not turn the question into SQL: %s", name, query)
            return None
        LOGGER.info("ask_ai: %s", statement)
        return form(self._store.query(statement))

    def _schema(self) -> str:
        """Return what a translator has to know."""
        counts = self._store.query("SELECT DISTINCT value FROM 'table', json_each(labels) ORDER BY value")
        names = ", ".join(map(repr, counts["value"]))
        return (
            f"SQLite, reading only. One table, written 'table', a row an image: im_file TEXT; labels TEXT, JSON list of "
            "class names, one an object; cls TEXT, JSON list of class indices; bboxes TEXT, JSON list of [x, y, w, h], "
            "centre and size divided by those of the image; masks, keypoints TEXT, JSON lists; vector BLOB. json_each "
            f"may be used. Class names: {names}"
        )

    # pictures --------------------------------------------------------------------------------------------------

    def plot_similar(
        self, img: Any = None, idx: int | Sequence[int] | None = None, limit: int = 25, labels: bool = True
    ) -> Image.Image:
        """Return a picture of the images :meth:`get_similar` finds, with their distances, at most 100.

        Args:
            img: see :meth:`get_similar`.
            idx: see :meth:`get_similar`.
            limit: number of images at most.
            labels: draw the objects.
        """
        table = self._similar(img, idx, limit)
        asked = f"image {idx}" if isinstance(idx, int) else "the images given" if img is None else "the query"
        return self._grid(table, f"Most similar to {asked}, with Euclidean distance", labels)

    def plot_sql_query(self, query: str, labels: bool = True) -> Image.Image | None:
        """Return a picture of the images a query finds, at most 100; ``None``, with a warning, if there are none.

        Args:
            query: see :meth:`sql_query`; it has to give ``im_file``, and ``*`` for the objects to be drawn.
            labels: draw the objects.
        """
        table = self._store.query(query)
        if "im_file" not in table:
            raise ConfigError(f"query: the column im_file is missing; write SELECT * or WHERE alone: {query.strip()}")
        if not table["im_file"]:
            LOGGER.warning("no image is found by: %s", query.strip())
            return None
        count = len(table["im_file"])
        shown = f"{count} images" if count <= MOST else f"first {MOST} of {count} images"
        return self._grid(table, f"{shown}: {' '.join(query.split())}", labels)

    def plot_similarity_index(
        self, max_dist: float = 0.2, top_k: float | None = None, force: bool = False
    ) -> Image.Image:
        """Return a bar chart of the counts of :meth:`similarity_index`, which has the same arguments."""
        near, order = self._near(max_dist, top_k, force)
        return draw_counts([len(near[i]) for i in order], order, max_dist)

    def _grid(self, table: Mapping[str, Sequence[Any]], title: str, labels: bool) -> Image.Image:
        numbers = {file: i for i, file in enumerate(self._store.im_files)}
        tiles = tiles_of(table, numbers, labels=labels, whole=self._store.facts["task"] == "classify")
        return draw_grid(tiles, title, int(get_settings()["max_pixels"]))


def _form(return_type: str) -> Callable[[dict[str, list[Any]]], Any]:
    """Return the function that makes what ``return_type`` names of columns.

    Raises:
        ConfigError: an unknown name.
        ImportError: its package is not installed.
    """
    if return_type not in FORMS:
        hint = did_you_mean(str(return_type), FORMS)
        raise ConfigError(f"return_type={return_type!r}: one of {', '.join(FORMS)}.{hint}")
    package, name = FORMS[return_type]
    try:
        form: Callable[..., Any] = getattr(import_module(package), name)  # optional packages
    except ImportError as error:
        raise ImportError(
            f"return_type={return_type!r} needs {package}: pip install 'yolocore[tables]'; return_type='dict' does not"
        ) from error
    return form


def _row_numbers(idx: Any, rows: int) -> list[int]:
    """Return ``idx`` as a list of row numbers.

    Raises:
        ConfigTypeError: it is no number and no list of numbers.
        ConfigError: the list is empty, or there is no such row.
    """
    many = isinstance(idx, list | tuple | range | np.ndarray)
    try:
        numbers = [operator.index(i) for i in (idx if many else [idx])]
    except TypeError as error:
        raise ConfigTypeError(f"idx={idx!r}: the number of a row, or a list of numbers") from error
    if not numbers:
        raise ConfigError("idx: the list is empty")
    for number in numbers:
        if not 0 <= number < rows:
            raise ConfigError(f"idx={number}: the table has the rows 0 to {rows - 1}")
    return numbers
