"""Evaluating a detector."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import torch

from yolocore.config.defaults import MODE_DEFAULTS
from yolocore.config.settings import get_settings
from yolocore.data.build import build_dataset, build_loader
from yolocore.engine.validator import BaseValidator
from yolocore.kernels.dispatch import non_max_suppression
from yolocore.models.yolo.detect.outputs import (
    COCO_IDS,
    FoundBoxes,
    ImageTruth,
    coco_ground_truth,
    coco_records,
    coco_statistics,
    image_id,
    is_coco,
    label_lines,
    unmatched,
    write_json,
    write_lines,
)
from yolocore.nn.tasks import DetectionModel
from yolocore.utils import figures
from yolocore.utils.metrics import (
    ConfusionMatrix,
    DetMetrics,
    ImageStats,
    box_iou,
    match_detections,
    rank_detections,
)
from yolocore.utils.ops import xywh2xyxy

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray
    from torch import nn

    from yolocore.data.dataset import YOLODataset
    from yolocore.data.loader import EpochLoader

LOGGER = logging.getLogger(__name__)
DEFAULT_CONF, DEFAULT_IOU = MODE_DEFAULTS["val"]["conf"], MODE_DEFAULTS["val"]["iou"]
CONFUSION_CONF = 0.25  # detections below are not compared one by one
CURVES = (("PR", ""), ("F1", "F1"), ("P", "Precision"), ("R", "Recall"))

Prediction = dict[str, torch.Tensor]


class DetectionValidator(BaseValidator):
    """Evaluates a detector by the COCO rules.

    The predictions of a batch are a list with one dict an image: ``bboxes`` (N, 4) xyxy in pixels of the
    batch image, ``conf`` (N,) and ``cls`` (N,), best first.

    Example:
        >>> validator = DetectionValidator(args={"data": "shapes.yaml", "imgsz": 320})
        >>> validator(model="best.pt")["metrics/mAP50-95(B)"]
    """

    task: ClassVar[str] = "detect"
    model_class: ClassVar[Callable[..., nn.Module]] = DetectionModel
    metrics_class: ClassVar[type[DetMetrics]] = DetMetrics

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.metrics = self.metrics_class(task=self.task)
        self.confusion_matrix = ConfusionMatrix({})

    # data ------------------------------------------------------------------------------------------------

    def build_dataset(
        self, img_path: str, mode: Literal["train", "val"] = "val", batch: int | None = None
    ) -> YOLODataset:
        """Return the dataset of the split ``img_path``, letterboxed.

        Args:
            img_path: name of the split.
            mode: always ``val`` here.
            batch: images of a rectangular batch.
        """
        return build_dataset(
            self.data,
            img_path,
            self.args,
            mode=mode,
            batch=batch or int(self.args.batch),
            stride=self.stride,
            rect=self.args.rect and getattr(self.model, "dynamic", True),
            imgsz=self.imgsz,
            max_pixels=get_settings()["max_pixels"],
        )

    def get_dataloader(self, dataset_path: str, batch_size: int) -> EpochLoader:
        """Return a loader over this rank's part of the split ``dataset_path``."""
        return build_loader(
            self.build_dataset(dataset_path, batch=batch_size),
            batch_size,
            self.args.workers,
            rank=self.context.rank,
            world_size=self.context.world_size,
            device=self.device,
        )

    # counting --------------------------------------------------------------------------------------------

    def init_metrics(self, model: Any) -> None:
        """Make names, metrics and confusion matrix ready for a new evaluation."""
        known = dict(getattr(model, "names", None) or {})
        self.predicted_classes = len(known)
        self.names = dict(self.data["names"])
        if not self.args.single_cls and known:
            if len(known) != len(self.names):
                LOGGER.warning("the model knows %d classes, the data %d", len(known), len(self.names))
            self.names = {**known, **self.names}
        self.nc = len(self.names)
        self.is_coco = is_coco(self.names)
        self.class_map = list(COCO_IDS) if self.is_coco else list(range(1, self.nc + 1))
        self.metrics = self.metrics_class(self.names, self.save_dir or ".", self.task)
        conf, _ = self.thresholds()
        conf = CONFUSION_CONF if conf == DEFAULT_CONF else conf
        self.confusion_matrix = ConfusionMatrix(self.names, conf, task=self.task)
        non_max_suppression(torch.ones(1, 5, 1))  # its first use loads a library, which would be timed

    def thresholds(self) -> tuple[float, float]:
        """Return confidence and IoU threshold of the suppression."""
        conf, iou = self.args.conf, self.args.iou
        return DEFAULT_CONF if conf is None else conf, DEFAULT_IOU if iou is None else iou

    def preprocess(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """Return the batch on the device, images float32 RGB in 0 to 1, channels last where that is fast."""
        moved = {
            key: value.to(self.device, non_blocking=True) if isinstance(value, torch.Tensor) else value
            for key, value in batch.items()
        }
        fast = self.args.channels_last is not False and getattr(self.model, "channels_last", True)
        layout = torch.channels_last if fast else torch.contiguous_format
        moved["img"] = moved["img"].to(torch.float32, memory_format=layout).div_(255)  # (B, 3, H, W)
        return moved

    def postprocess(self, output: Any) -> list[Prediction]:
        """Return the detections of every image after suppression."""
        decoded = output if isinstance(output, torch.Tensor) else output[0]  # (B, 4 + nc, A)
        args = self.args
        classes = [args.classes] if isinstance(args.classes, int) else args.classes
        found = non_max_suppression(
            decoded.float(),
            *self.thresholds(),
            classes=classes,
            agnostic=args.agnostic_nms or args.single_cls,
            multi_label=True,
            max_det=args.max_det,
            nc=self.predicted_classes,
        )
        keep_class = 0 if args.single_cls else 1
        return [{"bboxes": f[:, :4], "conf": f[:, 4], "cls": f[:, 5] * keep_class} for f in found]

    def update_metrics(self, preds: Sequence[Prediction], batch: Mapping[str, Any]) -> None:
        """Match the detections of one batch with its labels, and write what ``save_*`` asks for."""
        for boxes, truth in zip(_to_host(preds), image_truths(batch), strict=True):
            found = truth.to_image(boxes)
            self.seen += 1
            self.metrics.update_stats(self.image_stats(found, truth))
            self.confusion_matrix.process_batch(found.rows(), truth.boxes, truth.cls)
            self.save_image(found, truth)

    def image_stats(self, found: FoundBoxes, truth: ImageTruth) -> ImageStats:
        """Return the counters of one image; at most 100 detections of a class count."""
        ranked = found.select(rank_detections(found.conf, found.cls))
        tp = self.match_predictions(ranked.cls, truth.cls, box_iou(ranked.boxes, truth.boxes))
        return ImageStats(truth.file, ranked.conf, ranked.cls, truth.cls, {"box": tp})

    def match_predictions(
        self, pred_classes: NDArray[Any], true_classes: NDArray[Any], iou: NDArray[Any]
    ) -> NDArray[np.bool_]:
        """Return the (N, 10) true positives of one image.

        Args:
            pred_classes: (N,) by falling confidence.
            true_classes: (M,).
            iou: (N, M) overlap.
        """
        return match_detections(iou, pred_classes, true_classes, self.iouv)[0]

    def get_stats(self) -> dict[str, float]:
        """Return the results of everything counted so far; ranks other than 0 have none."""
        if self.context.is_main:
            self.metrics.process()
        results: dict[str, float] = self.metrics.results_dict
        return results

    def counters(self) -> dict[str, Any]:
        """Return what this rank counted, as arrays and plain types; another rank may :meth:`merge` it."""
        return {
            "stats": self.metrics.stats,
            "confusion": self.confusion_matrix,
            "seen": self.seen,
            "seconds": self.seconds,
            "jdict": self.jdict,
            "loss": None if self.loss is None else self.loss.tolist(),
            "loss_images": self.loss_images,
        }

    def merge(self, others: Sequence[Mapping[str, Any]]) -> None:
        """Add the :meth:`counters` of other ranks to this one's."""
        self.metrics.merge(other["stats"] for other in others)
        for other in others:
            self.confusion_matrix += other["confusion"]
            self.seen += other["seen"]
            self.jdict += other["jdict"]
            self.seconds = {stage: t + other["seconds"][stage] for stage, t in self.seconds.items()}
            if self.loss is not None and other["loss"] is not None:
                self.loss_images += other["loss_images"]
                step = self.loss.new_tensor(other["loss"]) - self.loss
                self.loss = self.loss + step * (other["loss_images"] / self.loss_images)

    # text and files --------------------------------------------------------------------------------------

    def get_desc(self) -> str:
        """Return the header of the table of results."""
        return ("%22s" + "%11s" * 6) % ("Class", "Images", "Instances", "P", "R", "mAP50", "mAP50-95")

    def print_results(self) -> None:
        """Log the table of results; with ``verbose``, outside the epochs of a training, one line a class."""
        if self.context.phase == "val" or not self.metrics.evaluated:
            return
        row = "%22s" + "%11i" * 2 + "%11.3g" * len(self.metrics.keys)
        LOGGER.info("%s", self.get_desc())
        objects = int(self.metrics.nt_per_class.sum())
        LOGGER.info("%s", row % ("all", self.seen, objects, *self.metrics.mean_results()))
        if objects == 0:
            LOGGER.warning("the labels of this split hold no object: the metrics mean nothing")
        for i, c in enumerate(self.metrics.ap_class_index if self.args.verbose and self.nc > 1 else ()):
            counts = int(self.metrics.nt_per_image[c]), int(self.metrics.nt_per_class[c])
            LOGGER.info("%s", row % (self.names[c], *counts, *self.metrics.class_result(i)))
        LOGGER.info("ms an image: %s", ", ".join(f"{stage} {ms:.1f}" for stage, ms in self.speed.items()))

    def save_image(self, found: FoundBoxes, truth: ImageTruth) -> None:
        """Write the label files of one image and keep its JSON records, as ``save_*`` asks for."""
        args, folder, name = self.args, self.save_dir, f"{Path(truth.file).stem}.txt"
        if args.save_json:
            self.jdict += self.pred_to_json(found, truth)
        if folder is not None and args.save_txt:
            write_lines(folder / "labels" / name, label_lines(found, truth.shape, conf=args.save_conf))
        if folder is not None and args.save_hybrid:
            lines = label_lines(FoundBoxes(truth.boxes, truth.cls, np.ones(len(truth.cls))), truth.shape)
            lines += label_lines(unmatched(found, truth, self.thresholds()[1]), truth.shape, conf=args.save_conf)
            write_lines(folder / "labels_hybrid" / name, lines)

    def pred_to_json(self, found: FoundBoxes, truth: ImageTruth) -> list[dict[str, Any]]:
        """Return the COCO records of one image."""
        return coco_records(found, truth.file, self.class_map)

    def write_files(self) -> None:
        """Write ``predictions.json`` and add the statistics of the COCO evaluation."""
        if self.args.save_json and self.save_dir is not None and self.context.is_main:
            write_json(self.save_dir / "predictions.json", self.jdict)
            self.stats = self.eval_json(self.stats)

    def eval_json(self, stats: dict[str, float]) -> dict[str, float]:
        """Return ``stats`` with COCO's own numbers under ``coco/…``, if ground truth in JSON is known."""
        truth = coco_ground_truth(self.data, self.args.split) if self.jdict else None
        if truth is None:
            return stats
        images = [image_id(image.key) for image in self.metrics.stats]
        return {**stats, **coco_statistics(truth, self.jdict, images)}

    # figures ---------------------------------------------------------------------------------------------

    def plot_val_samples(self, batch: Mapping[str, Any], ni: int) -> None:
        """Write ``val_batch{ni}_labels.jpg``: the images of a batch with their labels."""
        path = Path(self.save_dir or ".") / f"val_batch{ni}_labels.jpg"
        self.on_plot(figures.plot_images(batch, path, self.names))

    def plot_predictions(self, batch: Mapping[str, Any], preds: Sequence[Prediction], ni: int) -> None:
        """Write ``val_batch{ni}_pred.jpg``: the images of a batch with the detections."""
        drawn = [figures.Drawn(f.boxes, f.cls, f.conf) for f in _to_host(preds)]
        path = Path(self.save_dir or ".") / f"val_batch{ni}_pred.jpg"
        width = self.args.line_width
        self.on_plot(
            figures.plot_mosaic(batch["img"], drawn, path, self.names, files=batch["im_file"], line_width=width)
        )

    def plot_metrics(self) -> None:
        """Write the curves and the confusion matrix."""
        folder = Path(self.save_dir or ".")
        shown = [self.names[int(c)] for c in self.metrics.ap_class_index]
        curves = iter(self.metrics.curves_results)
        for part in self.metrics.parts:
            metric = getattr(self.metrics, part.name)
            for (kind, quantity), (x, y, *_) in zip(CURVES, curves, strict=False):
                path = folder / f"{part.title}{kind}_curve.png"
                if kind == "PR":
                    figures.plot_pr_curve(x, y, metric.ap50, shown, path)
                else:
                    figures.plot_confidence_curve(x, y, shown, path, quantity=quantity)
                self.on_plot(path, {"x": x, "y": y})
        confusion = self.confusion_matrix
        for normalized, name in ((False, "confusion_matrix"), (True, "confusion_matrix_normalized")):
            values = confusion.normalized() if normalized else confusion.matrix
            path = folder / f"{name}.png"
            figures.plot_confusion_matrix(values, confusion.labels, path, normalized=normalized)
            self.on_plot(path, {"matrix": values, "labels": confusion.labels})


def _to_host(preds: Sequence[Prediction]) -> list[FoundBoxes]:
    """Return the detections of every image as arrays, fetched from the device in one piece."""
    rows = [torch.cat((p["bboxes"], p["cls"][:, None], p["conf"][:, None]), 1) for p in preds]
    joined = torch.cat(rows).float().cpu().numpy()
    parts = np.split(joined, np.cumsum([len(r) for r in rows])[:-1])
    return [FoundBoxes(part[:, :4].astype(np.float64), part[:, 4], part[:, 5]) for part in parts]


def image_truths(batch: Mapping[str, Any]) -> list[ImageTruth]:
    """Return the labels of every image of a batch, boxes in pixels of the original image."""
    h, w = batch["img"].shape[2:]
    owner = batch["batch_idx"].cpu().numpy()
    cls = batch["cls"].reshape(-1).cpu().numpy()
    boxes = xywh2xyxy(batch["bboxes"][:, :4].cpu().numpy().astype(np.float64)) * np.array([w, h, w, h])
    truths = []
    for i, (file, shape, place) in enumerate(
        zip(batch["im_file"], batch["ori_shape"], batch["ratio_pad"], strict=True)
    ):
        mine = owner == i
        truth = ImageTruth.place(str(file), shape, place)
        truths.append(truth.with_labels(boxes[mine], cls[mine]))
    return truths
