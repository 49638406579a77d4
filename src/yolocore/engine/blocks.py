"""What a trainer is made of: the attributes handlers may read, and the building blocks a task fills in."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from yolocore.engine.component import Component
from yolocore.engine.stopping import EarlyStopping, Interrupts, TimeBudget

if TYPE_CHECKING:
    import torch

    from yolocore.config.dataset_info import DatasetInfo
    from yolocore.data.loader import EpochLoader
    from yolocore.engine.ema import ModelEMA
    from yolocore.engine.optim import Schedule
    from yolocore.engine.validator import BaseValidator
    from yolocore.nn.tasks import BaseModel


def largest_side(imgsz: int | tuple[int, int]) -> int:
    """Return the number of pixels of the longer side."""
    return imgsz if isinstance(imgsz, int) else max(imgsz)


class TrainingBlocks(Component, ABC):
    """State and building blocks of a training; :class:`~yolocore.engine.trainer.BaseTrainer` runs them."""

    kind: ClassVar[str] = "trainer"
    mode: str = "train"
    task: ClassVar[str]
    default_model: ClassVar[str]
    default_data: ClassVar[str] = "shapes.yaml"
    val_batch_factor: ClassVar[int] = 2  # without gradients, more images fit into the memory
    loss_names: tuple[str, ...] = ("loss",)

    data: DatasetInfo
    model: BaseModel
    ema: ModelEMA
    train_loader: EpochLoader
    test_loader: EpochLoader
    validator: BaseValidator
    optimizer: torch.optim.Optimizer
    scheduler: Schedule
    scaler: torch.amp.GradScaler

    def init_progress(self, *, resumed: bool) -> None:
        """Give every attribute that handlers may read its value before the first epoch."""
        self.epochs = self.args.epochs
        self.batch_size, self.imgsz = int(self.args.batch), largest_side(self.args.imgsz)
        self.epoch, self.start_epoch, self.start_batch = 0, 0, 0
        self.batches_done, self.window, self.accumulate = 0, 0, 1
        self.batch: dict[str, Any] = {}
        self.loss: torch.Tensor | None = None
        self.loss_items: torch.Tensor | None = None
        self.tloss: torch.Tensor | None = None
        self.lr: dict[str, float] = {}
        self.metrics: dict[str, float] = {}
        self.final_metrics: dict[str, float] = {}
        self.history: list[dict[str, Any]] = []
        self.logged: dict[str, float] = {}
        self.fitness: float | None = None
        self.best_fitness: float | None = None
        self.epoch_time: float | None = None
        self.epoch_time_start = self.train_time_start = time.time()
        self.stop = False
        self.stopper = EarlyStopping(self.args.patience)
        self.budget = TimeBudget(self.args.time)
        self.interrupts = Interrupts()
        self.sample_starts: tuple[int, ...] = ()
        self.amp = False
        self.resume = resumed
        self.hub_session: Any = None
        self.profiled: dict[str, float] = {}
        self.model_facts: dict[str, float] | None = None  # counted once an epoch was evaluated, for all trackers
        self.initial_weights: BaseModel | None = None

    @property
    def raw_model(self) -> BaseModel:
        """The network without the wrapper that distributed training puts around it."""
        network: BaseModel = getattr(self.model, "module", self.model)
        return network

    # what a task provides --------------------------------------------------------------------------------------

    @abstractmethod
    def get_model(
        self, cfg: str | dict[str, Any] | None = None, weights: BaseModel | None = None, verbose: bool = True
    ) -> BaseModel:
        """Return the network built from ``cfg``, with the matching tensors of ``weights``."""

    @abstractmethod
    def load_weights(self, weights: str) -> BaseModel:
        """Return the network of the checkpoint file ``weights``."""

    @abstractmethod
    def build_dataset(self, img_path: Any, mode: Literal["train", "val"] = "train", batch: int | None = None) -> Any:
        """Return the dataset of one split."""

    @abstractmethod
    def get_dataloader(
        self, dataset_path: Any, batch_size: int = 16, rank: int = 0, mode: Literal["train", "val"] = "train"
    ) -> EpochLoader:
        """Return a loader of batch dicts for one split; a ``torch.utils.data.DataLoader`` will do."""

    @abstractmethod
    def get_validator(self) -> BaseValidator:
        """Return the validator used after each epoch; sets ``self.loss_names``."""

    def set_model_attributes(self) -> None:
        """Give the network the class names and the arguments its loss needs."""

    def prepare_loss(self) -> None:
        """Give the loss what it needs to know about the training set."""

    @abstractmethod
    def preprocess_batch(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Move a batch to the device and scale its images to 0–1."""

    def plot_training_labels(self) -> None:
        """Write ``labels.jpg``."""

    def plot_training_samples(self, batch: dict[str, Any], ni: int) -> None:
        """Write ``train_batch{ni}.jpg``."""

    def plot_metrics(self) -> None:
        """Write ``results.png``."""
