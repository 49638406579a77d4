"""What a trainer says about itself, under the names and with the steps that trackers share.

Every function reads documented attributes only, so a recorded trainer serves as well as a running one.
"""

from __future__ import annotations

import math
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from numpy.typing import NDArray

SECRET: Final = re.compile(r"(key|token|secret|password|passwd|credentials?)$", re.IGNORECASE)
DEFAULT_PROJECT: Final = "yolocore"


def step(trainer: Any) -> int:
    """Return the number of the current epoch, from 1, as in ``results.csv``."""
    return int(trainer.epoch) + 1


def batches_seen(trainer: Any) -> int:
    """Return the training batches of all epochs up to the current one: epochs times batches an epoch."""
    return step(trainer) * len(trainer.train_loader)


def train_scalars(trainer: Any) -> dict[str, float]:
    """Return ``train/<loss>`` of the epoch, rounded to five decimals; empty before the first batch."""
    if trainer.tloss is None:
        return {}
    return _numbers(trainer.label_loss_items(trainer.tloss, prefix="train"))


def rates(trainer: Any) -> dict[str, float]:
    """Return ``lr/pg0`` and so on: the learning rates of the last batch."""
    return _numbers(trainer.lr or {})


def epoch_metrics(trainer: Any) -> dict[str, float]:
    """Return ``metrics/…``, ``val/…`` and what was logged, of the last validation."""
    return _numbers(trainer.metrics or {})


def final_metrics(trainer: Any) -> dict[str, float]:
    """Return the metrics of the final evaluation of the best weights; empty without one."""
    return _numbers(getattr(trainer, "final_metrics", None) or {})


def model_facts(trainer: Any) -> dict[str, float]:
    """Return ``model/parameters``, ``model/GFLOPs`` and ``model/speed_PyTorch(ms)``.

    Counting takes a few passes through the network, so the result stays at ``trainer.model_facts``: of several
    trackers one counts. A recorded trainer brings it along.
    """
    known: dict[str, float] | None = getattr(trainer, "model_facts", None)
    if known is None:
        from yolocore.utils.torch_utils import model_info_for_loggers  # torch, which a replay does not need

        known = trainer.model_facts = model_info_for_loggers(trainer)
    return dict(known)


def arguments(trainer: Any) -> dict[str, Any]:
    """Return every argument of the run, flat, with values that JSON knows; plugin arguments and secrets left out."""
    return {
        key: plain(value)
        for key, value in vars(trainer.args).items()
        if key != "plugin_args" and not key.startswith("_") and not SECRET.search(key)
    }


def plain(value: Any) -> Any:
    """Return ``value`` made of what JSON knows: paths as text, not-a-number as text, objects by their type's name."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    return f"<{type(value).__name__}>"


def run_name(args: Any) -> str:
    """Return ``name``; without one the name of the run directory, such as ``train2``."""
    name = getattr(args, "name", None)
    if name:
        return str(name)
    save_dir = getattr(args, "save_dir", None)
    return Path(save_dir).name if save_dir else "train"


def project_name(args: Any, default: str = DEFAULT_PROJECT) -> str:
    """Return ``project`` as text, or ``default`` when there is none."""
    return str(getattr(args, "project", None) or default)


def failed(trainer: Any) -> bool:
    """Say whether the run ends by an error or an interrupt; meaningful in ``teardown``."""
    return getattr(trainer.context, "error", None) is not None


def sample_batches(trainer: Any, pattern: str = "train_batch*.jpg") -> list[Path]:
    """Return the mosaics of training batches in the run directory, by batch number."""
    return sorted(Path(trainer.save_dir).glob(pattern), key=_by_number)


def samples_due(trainer: Any, event: str) -> bool:
    """Say whether ``event`` is the moment for the mosaics: the end of the second epoch, or of a run of one epoch."""
    if event == "on_train_epoch_end":
        return bool(trainer.epoch == 1)
    return event == "on_train_end" and bool(trainer.epoch == 0)


def number_after_batch(name: str) -> int | None:
    """Return the number behind ``_batch`` in a file name: 2 for ``train_batch2.jpg``."""
    found = re.search(r"_batch(\d+)", name)
    return int(found.group(1)) if found else None


def _by_number(path: Path) -> tuple[int, str]:
    number = number_after_batch(path.name)
    return (-1 if number is None else number, path.name)


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """One curve of the last validation, a line per class; C classes, N points.

    Attributes:
        name: such as ``Precision-Recall(B)``.
        x: (N,) abscissa.
        y: (C, N) ordinate of every class.
        x_title: title of the abscissa.
        y_title: title of the ordinate.
        classes: (C) class names, one a line.
    """

    name: str
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    x_title: str
    y_title: str
    classes: tuple[str, ...]


def curves(trainer: Any) -> Iterator[Curve]:
    """Yield the curves behind the metrics of the last validation; none when it had no ground truth."""
    metrics: Any = getattr(getattr(trainer, "validator", None), "metrics", None)
    results = getattr(metrics, "curves_results", None) or []
    for name, (x, y, x_title, y_title) in zip(getattr(metrics, "curves", ()), results, strict=False):
        lines = np.atleast_2d(np.asarray(y, np.float64))
        if lines.size:
            names = line_names(metrics.names, getattr(metrics, "ap_class_index", None), len(lines))
            yield Curve(str(name), np.asarray(x, np.float64), lines, str(x_title), str(y_title), names)


def line_names(names: Mapping[int, str], index: Iterable[int] | None, count: int) -> tuple[str, ...]:
    """Return the class name of each of ``count`` lines; ``index`` are the classes that have ground truth."""
    classes = [int(i) for i in index] if index is not None else []
    if len(classes) != count:
        classes = sorted(int(key) for key in names)[:count]
    found = {int(key): str(name) for key, name in names.items()}
    return tuple(found.get(i, str(i)) for i in classes)


def _numbers(mapping: Mapping[str, Any]) -> dict[str, float]:
    return {key: float(value) for key, value in mapping.items() if value is not None}
