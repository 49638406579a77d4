"""Numbers from pictures: a task for yolocore that its core knows nothing of."""

from yolocore_regress.data import RegressionDataset, make_dials
from yolocore_regress.model import RegressHead, RegressionModel
from yolocore_regress.predict import RegressionPredictor, RegressionResults
from yolocore_regress.train import RegressionTrainer
from yolocore_regress.val import RegressionMetrics, RegressionValidator

__all__ = [
    "RegressHead",
    "RegressionDataset",
    "RegressionMetrics",
    "RegressionModel",
    "RegressionPredictor",
    "RegressionResults",
    "RegressionTrainer",
    "RegressionValidator",
    "make_dials",
]
