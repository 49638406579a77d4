"""Training a detector."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import torch

from yolocore.config.settings import get_settings
from yolocore.data.build import build_dataset, build_loader
from yolocore.engine.trainer import BaseTrainer
from yolocore.engine.weights import find_weights
from yolocore.models.yolo.detect.val import DetectionValidator
from yolocore.nn.checkpoint import build_model, read_checkpoint
from yolocore.nn.losses import class_weights
from yolocore.nn.tasks import DetectionModel
from yolocore.utils.figures import plot_images, plot_labels, plot_results

if TYPE_CHECKING:
    from yolocore.data.base import BaseDataset
    from yolocore.data.loader import EpochLoader
    from yolocore.engine.validator import BaseValidator
    from yolocore.nn.tasks import BaseModel

LOGGER = logging.getLogger(__name__)


class DetectionTrainer(BaseTrainer):
    """Trains a :class:`~yolocore.nn.tasks.DetectionModel`.

    Example:
        >>> trainer = DetectionTrainer(overrides={"model": "yolo11n.yaml", "data": "shapes.yaml", "epochs": 3})
        >>> trainer.train()
    """

    task: ClassVar[str] = "detect"
    default_model: ClassVar[str] = "yolo11n.yaml"
    model_class: ClassVar[type[BaseModel]] = DetectionModel
    validator_class: ClassVar[type[BaseValidator]] = DetectionValidator
    loss_names: tuple[str, ...] = ("box_loss", "cls_loss", "dfl_loss")

    def get_model(
        self, cfg: str | dict[str, Any] | None = None, weights: BaseModel | None = None, verbose: bool = True
    ) -> BaseModel:
        """Return a network for the classes of the dataset, with the matching tensors of ``weights``."""
        layers = self.manager.registry("modules")
        model = self.model_class(
            cfg or self.default_model,
            ch=self.data["channels"],
            nc=self.data["nc"],
            verbose=verbose,
            registry=layers,
            **self.model_arguments(),
        )
        if weights is not None:
            model.names = self.data["names"]
            model.load(weights, weights.names if self.args.cls_remap else None)
        return model

    def model_arguments(self) -> dict[str, Any]:
        """Return what else the network class is called with, such as the number of keypoints."""
        return {}

    def load_weights(self, weights: str) -> BaseModel:
        """Return the network of the checkpoint file ``weights``."""
        file = find_weights(weights, self.manager.registry("models"))
        layers = self.manager.registry("modules")
        model: BaseModel = build_model(read_checkpoint(file), self.model_class, registry=layers)
        return model

    def set_model_attributes(self) -> None:
        """Give the network the class names and the loss gains."""
        self.raw_model.names = self.data["names"]
        self.raw_model.nc = self.data["nc"]
        self.raw_model.args = self.args

    def prepare_loss(self) -> None:
        """Weigh the classes by their inverse frequency when ``cls_pw`` asks for it."""
        if self.args.cls_pw > 0:
            cls = torch.from_numpy(self.train_loader.dataset.store.cls).long()
            counts = torch.bincount(cls, minlength=self.data["nc"])
            criterion = self.raw_model.criterion = self.raw_model.init_criterion()
            criterion.class_weights = class_weights(counts, self.args.cls_pw).to(self.device)

    def build_dataset(
        self, img_path: Any, mode: Literal["train", "val"] = "train", batch: int | None = None
    ) -> BaseDataset:
        """Return the dataset of the images at ``img_path``."""
        return build_dataset(
            self.data,
            self._split(img_path),
            self.args,
            mode=mode,
            batch=batch or self.batch_size,
            stride=self.stride,
            imgsz=self.imgsz,
            transforms=[record.build(self.args) for record in self.manager.registry("transforms").values()],
            max_pixels=get_settings()["max_pixels"],
        )

    def _split(self, img_path: Any) -> str:
        """Return the name of the split whose images are at ``img_path``."""
        return next(split for split in ("train", "val", "test") if self.data[split] == img_path)

    def get_dataloader(
        self, dataset_path: Any, batch_size: int = 16, rank: int = 0, mode: Literal["train", "val"] = "train"
    ) -> EpochLoader:
        """Return a loader of batch dicts over the images at ``dataset_path``."""
        dataset = self.build_dataset(dataset_path, mode, batch_size)
        return build_loader(
            dataset,
            batch_size,
            self.args.workers,
            shuffle=mode == "train" and not self.args.rect,
            seed=self.args.seed,
            rank=rank,
            world_size=self.world_size,
            device=self.device,
        )

    def get_validator(self) -> BaseValidator:
        """Return the validator of each epoch; it shares this trainer's hooks."""
        return self.validator_class(self.test_loader, self.save_dir, self.args.replace(mode="val"), hooks=self.manager)

    def preprocess_batch(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Move a batch to the device, scale images to 0–1, resize them with ``multi_scale``."""
        moved = {
            k: v.to(self.device, non_blocking=True) if isinstance(v, torch.Tensor) else v for k, v in batch.items()
        }
        layout = torch.channels_last if self.channels_last else torch.contiguous_format
        images = moved["img"].to(memory_format=layout)  # (B, 3, H, W)
        if images.dtype == torch.uint8:
            images = images.float().div_(255)
        moved["img"] = self._rescaled(images) if self.args.multi_scale else images
        return moved

    def _rescaled(self, images: torch.Tensor) -> torch.Tensor:
        """Return the batch at a random size, a multiple of the stride, drawn from (seed, epoch, batch)."""
        spread = 0.5 if self.args.multi_scale is True else float(self.args.multi_scale)
        rng = np.random.default_rng([self.args.seed, self.epoch, self.batches_done])
        low, high = self.imgsz * (1 - spread), self.imgsz * (1 + spread)
        size = max(round(rng.uniform(low, high) / self.stride), 1) * self.stride
        ratio = size / max(images.shape[2:])
        shape = [max(round(n * ratio / self.stride), 1) * self.stride for n in images.shape[2:]]
        return torch.nn.functional.interpolate(images, size=shape, mode="bilinear", align_corners=False)

    def plot_training_labels(self) -> None:
        """Write ``labels.jpg``: how often each class occurs, where its boxes lie and how large they are."""
        store = getattr(self.train_loader.dataset, "store", None)
        if store is None:  # a dataset of the user's own
            return
        path = self.save_dir / "labels.jpg"
        plot_labels(store.bboxes, store.cls, self.data["names"], path)
        self.on_plot(path)

    def plot_training_samples(self, batch: dict[str, Any], ni: int) -> None:
        """Write ``train_batch{ni}.jpg``: the images of a batch with their labels."""
        path = self.save_dir / f"train_batch{ni}.jpg"
        plot_images(batch, path, self.data["names"])
        self.on_plot(path)

    def plot_metrics(self) -> None:
        """Write ``results.png`` from ``results.csv``."""
        path = self.save_dir / "results.png"
        plot_results(self.csv, path)
        self.on_plot(path)
