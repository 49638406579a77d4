"""Precision, recall and F1 curves of a validation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from yolocore.utils.figures.style import (
    FAINT,
    INK,
    MEDIUM,
    PALETTE,
    dress,
    new_figure,
    save_figure,
    shown_name,
)
from yolocore.utils.metrics import smooth

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import ArrayLike, NDArray

FEW_CLASSES = len(PALETTE)  # more lines cannot be told apart: they are drawn faint and without names
SMOOTHING = 0.05  # a box of 51 of 1000 points


def plot_pr_curve(x: ArrayLike, y: ArrayLike, ap50: ArrayLike, names: Sequence[str], path: str | Path) -> Path:
    """Write precision over recall at IoU 0.5.

    Args:
        x: (P,) recall.
        y: (C, P) precision of every class.
        ap50: (C,) average precision of every class.
        names: C class names.
        path: file to write.
    """
    y, ap50 = np.asarray(y), np.asarray(ap50)
    figure = new_figure(7, 5)
    axes = _unit_axes(figure, "Precision over recall, IoU 0.5", "Recall", "Precision")
    labels = [f"{_legend_name(name)}  {value:.3f}" for name, value in zip(names, ap50, strict=True)]
    _draw_classes(axes, np.asarray(x), y, labels)
    if len(y):
        _draw_mean(axes, np.asarray(x), y.mean(0), f"all classes\n{ap50.mean():.3f} mAP50")
        figure.legend(loc="outside right upper", fontsize=MEDIUM, frameon=False)
    return save_figure(figure, path)


def plot_confidence_curve(
    x: ArrayLike, y: ArrayLike, names: Sequence[str], path: str | Path, *, quantity: str = "F1"
) -> Path:
    """Write precision, recall or F1 at IoU 0.5 over the confidence threshold; the mean is smoothed.

    Args:
        x: (P,) confidences.
        y: (C, P) values of every class.
        names: C class names.
        path: file to write.
        quantity: name of the values.
    """
    x, y = np.asarray(x), np.asarray(y)
    figure = new_figure(7, 5)
    axes = _unit_axes(figure, f"{quantity} over confidence, IoU 0.5", "Confidence", quantity)
    _draw_classes(axes, x, y, [_legend_name(name) for name in names])
    if len(y):
        mean = smooth(y.mean(0), SMOOTHING)
        best = int(mean.argmax())
        _draw_mean(axes, x, mean, f"all classes\n{mean[best]:.2f} at {x[best]:.3f}")
        axes.plot(x[best], mean[best], "o", color=INK, markersize=6, clip_on=False)
        figure.legend(loc="outside right upper", fontsize=MEDIUM, frameon=False)
    return save_figure(figure, path)


def _legend_name(name: str) -> str:
    """Return a name for the legend, which leaves out what begins with an underscore."""
    return f" {shown_name(name)}" if name.startswith("_") else shown_name(name)


def _unit_axes(figure: Figure, title: str, x: str, y: str) -> Axes:
    """Return axes from 0 to 1 in both directions."""
    axes = figure.add_subplot()
    dress(axes, title, x, y)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.02)
    return axes


def _draw_classes(axes: Axes, x: NDArray[Any], y: NDArray[Any], labels: Sequence[str]) -> None:
    """Draw one line a class."""
    few = len(y) <= FEW_CLASSES
    for i, row in enumerate(y):
        if few:
            axes.plot(x, row, color=PALETTE[i], label=labels[i], linewidth=1.3, zorder=3)
        else:
            axes.plot(x, row, color=FAINT, linewidth=0.6, alpha=0.6)


def _draw_mean(axes: Axes, x: NDArray[Any], mean: NDArray[Any], label: str) -> None:
    """Draw the mean over the classes, wide, so that named classes stay visible on it."""
    axes.plot(x, mean, color=INK, linewidth=3.2, label=label, zorder=2.5)
