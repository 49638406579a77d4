"""Datasets and models so small that a training takes less than a second of CPU."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from yolocore.errors import ConfigError, did_you_mean

IMGSZ: Final = 32
MODELS: Final = Path(__file__).parent / "models"


def make_tiny_dataset(root: str | Path, task: str = "detect", *, train: int = 12, val: int = 4) -> Path:
    """Draw a dataset of coloured shapes, 32 px square, below ``root``; the same files on every machine.

    Args:
        root: a directory, made when missing.
        task: decides the form of the labels.
        train: number of training pictures.
        val: number of validation pictures.

    Returns:
        What ``data=`` takes: the YAML, for ``classify`` the directory.

    Raises:
        ConfigError: unknown task.
    """
    from yolocore.data.shapes import TASKS, make_shapes  # loads OpenCV

    if task not in TASKS:
        raise ConfigError(f"task {task!r} has no dataset; there are {', '.join(TASKS)}.{did_you_mean(task, TASKS)}")
    description = make_shapes(root, train, val, task=task, imgsz=2 * IMGSZ if task == "classify" else IMGSZ)
    return description.parent if task == "classify" else description


def tiny_tasks() -> list[str]:
    """Return the tasks for which there is a tiny model."""
    return sorted(file.stem.removeprefix("tiny-") for file in MODELS.glob("tiny-*.yaml"))


def tiny_model(task: str = "detect") -> Path:
    """Return the model file of the smallest network for ``task``; what ``YOLO(...)`` takes.

    Raises:
        ConfigError: there is none for this task.
    """
    path = MODELS / f"tiny-{task}.yaml"
    if not path.is_file():
        tasks = tiny_tasks()
        raise ConfigError(f"task {task!r} has no tiny model; there are {', '.join(tasks)}.{did_you_mean(task, tasks)}")
    return path
