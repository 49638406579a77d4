"""Comparing the formats of a model as a function; the measuring itself is :mod:`yolocore.engine.benchmark`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from yolocore.engine.benchmark import EPS
from yolocore.engine.benchmark_table import BenchmarkTable
from yolocore.engine.model import Model
from yolocore.models.facade import YOLO

if TYPE_CHECKING:
    from pathlib import Path


def benchmark(
    model: str | Path | Model,
    data: str | Path | None = None,
    imgsz: int = 160,
    half: bool = False,
    int8: bool = False,
    device: Any = "cpu",
    verbose: bool | float = False,
    eps: float = EPS,
    format: str = "",  # noqa: A002 - documented name
) -> Any:
    """Export a model to every format, take the time of each and evaluate it.

    Args:
        model: a ``YOLO``, or what ``YOLO`` takes; it is not changed.
        data: the dataset; by default the one recorded with the weights, then the small one that comes with the task.
        imgsz: side of the images, pixels.
        half: float16.
        int8: 8 bits.
        device: where everything runs.
        verbose: whether to log a line a format; a float is the score that every format must reach.
        eps: ms added to the time of an image: FPS = 1000 / (ms + eps).
        format: the only format to measure.

    Returns:
        A pandas DataFrame, or a table with ``rows``, ``columns``, ``to_csv`` and ``reasons`` without pandas; see
        :meth:`yolocore.engine.model.Model.benchmark`.

    Raises:
        ConfigError: an argument is wrong; nothing has been exported then.
        MissingFileError: model or dataset are not there.
        BenchmarkError: a format scores below ``verbose``.
    """
    network = model if isinstance(model, Model) else YOLO(model)
    return network.benchmark(
        data=data, format=format, verbose=verbose, eps=eps, imgsz=imgsz, half=half, int8=int8, device=device
    )


def table_text(table: Any) -> str:
    """Return what :func:`benchmark` returned as text, the reasons of failed formats below the table."""
    return str(BenchmarkTable.from_frame(table) if "reasons" in getattr(table, "attrs", ()) else table)
