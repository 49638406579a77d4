"""Figures of a run: curves, confusion matrix, label statistics, training curves, mosaics of batches."""

from yolocore.utils.figures.curves import plot_confidence_curve, plot_pr_curve
from yolocore.utils.figures.labels import plot_labels
from yolocore.utils.figures.matrix import plot_confusion_matrix
from yolocore.utils.figures.mosaic import Drawn, batch_labels, plot_images, plot_mosaic
from yolocore.utils.figures.results import plot_results, read_results

__all__ = [
    "Drawn",
    "batch_labels",
    "plot_confidence_curve",
    "plot_confusion_matrix",
    "plot_images",
    "plot_labels",
    "plot_mosaic",
    "plot_pr_curve",
    "plot_results",
    "read_results",
]
