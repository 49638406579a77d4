"""Evaluating a detector."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import torch

from yolocore.config.defaults import MODE_DEFAULTS
from yolocore.config.settings import get_settings
from yolocore.data.build import build_dataset
from yolocore.engine.validator import BaseValidator
from yolocore.kernels.dispatch import confident_rows, non_max_suppression
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
    match_detections,
    rank_detections,
)
from yolocore.utils.ops import xywh2xyxy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray
    from torch import nn

    from yolocore.data.dataset import YOLODataset

LOGGER = logging.getLogger(__name__)
DEFAULT_CONF, DEFAULT_IOU = MODE_DEFAULTS["val"]["conf"], MODE_DEFAULTS["val"]["iou"]
CONFUSION_CONF = 0.25  # detections below are not compared one by one
CURVES = (("PR", ""), ("F1", "F1"), ("P", "Precision"), ("R", "Recall"))

Prediction = dict[str, torch.Tensor]


class DetectionValidator(BaseValidator):
    """Evaluates a detector by the COCO rules. The validators of other tasks that find objects derive from it.

    The predictions of a batch are a list with one dict an image: ``bboxes`` (N, 4) xyxy in pixels of the
    batch image, ``conf`` (N,) and ``cls`` (N,), best first.

    Example:
        >>> validator = DetectionValidator(args={"data": "shapes.yaml", "imgsz": 320})
        >>> validator(model="best.pt")["metrics/mAP50-95(B)"]
    """

    task: ClassVar[str] = "detect"
    model_class: ClassVar[Callable[..., nn.Module]] = DetectionModel
    metrics_class: ClassVar[type[DetMetrics]] = DetMetrics
    coco_prefix: ClassVar[str] = "instances"
    coco_kinds: ClassVar[Mapping[str, str]] = {"bbox": ""}  # what pycocotools judges, and the suffix of its numbers

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

    def postprocess(self, output: Any) -> list[Prediction]:
        """Return the detections of every image after suppression."""
        return [self.prediction(rows) for rows in self.suppress(output)]

    def suppress(self, output: Any, extras: int = 0, **options: Any) -> list[torch.Tensor]:
        """Return the detections in the decoded output, suppressed unless end to end, classes as they are counted.

        Args:
            output: what the network gave: the decoded tensor, or a tuple that begins with it.
            extras: rows behind the class scores of the decoded tensor; needed when the model does not name its classes.
            **options: for :func:`non_max_suppression`.
        """
        decoded = output if isinstance(output, torch.Tensor) else output[0]  # (B, 4 + nc + extras, A)
        args = self.args
        classes = [args.classes] if isinstance(args.classes, int) else args.classes
        conf, iou = self.thresholds()
        if getattr(self.model, "end2end", False):
            found = confident_rows(decoded.float(), conf, classes=classes, max_det=args.max_det)
        else:
            found = non_max_suppression(
                decoded.float(),
                conf,
                iou,
                classes=classes,
                agnostic=args.agnostic_nms or args.single_cls,
                multi_label=True,
                max_det=args.max_det,
                nc=self.predicted_classes or (decoded.shape[1] - 4 - extras if extras else 0),
                **options,
            )
        if args.single_cls:
            for rows in found:
                rows[:, 5] = 0
        return found

    def prediction(self, rows: torch.Tensor) -> Prediction:
        """Return the detections of one image from rows (N, 6 + extras) of the suppression."""
        return {"bboxes": rows[:, :4], "conf": rows[:, 4], "cls": rows[:, 5]}

    def update_metrics(self, preds: Sequence[Prediction], batch: Mapping[str, Any]) -> None:
        """Match the detections of one batch with its labels, and write what ``save_*`` asks for."""
        for found, truth in self.compared(preds, batch):
            self.seen += 1
            self.metrics.update_stats(self.image_stats(found, truth))
            self.count_confusion(found, truth)
            self.save_image(found, truth)

    def compared(
        self, preds: Sequence[Prediction], batch: Mapping[str, Any]
    ) -> Iterator[tuple[FoundBoxes, ImageTruth]]:
        """Yield the detections and labels of every image of a batch, in pixels of the original image."""
        for boxes, truth in zip(to_host(preds), image_truths(batch), strict=True):
            yield truth.to_image(boxes), truth

    def count_confusion(self, found: FoundBoxes, truth: ImageTruth) -> None:
        """Add one image to the confusion matrix."""
        shown = found.select(found.conf > self.confusion_matrix.conf)
        self.confusion_matrix.process_overlap(shown.overlap(truth.boxes), shown.cls, truth.cls)

    def image_stats(self, found: FoundBoxes, truth: ImageTruth) -> ImageStats:
        """Return the counters of one image; at most 100 detections of a class count."""
        ranked = found.select(rank_detections(found.conf, found.cls))
        tp = {
            part: self.match_predictions(ranked.cls, truth.cls, overlap)
            for part, overlap in self.overlaps(ranked, truth).items()
        }
        return ImageStats(truth.file, ranked.conf, ranked.cls, truth.cls, tp)

    def overlaps(self, found: FoundBoxes, truth: ImageTruth) -> dict[str, NDArray[Any]]:
        """Return for every part of the metrics (N, M) how much detections and labels overlap."""
        return {"box": found.overlap(truth.boxes)}

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

    # text and files --------------------------------------------------------------------------------------

    def get_desc(self) -> str:
        """Return the header of the table of results."""
        kinds = ("P", "R", "mAP50", "mAP50-95")
        parts = self.metrics.parts
        heads = [f"{kind}({part.letter})" if len(parts) > 1 else kind for part in parts for kind in kinds]
        return ("%22s" + "%11s" * 2 + "%12s" * len(heads)) % ("Class", "Images", "Instances", *heads)

    def print_results(self) -> None:
        """Log the table of results; with ``verbose``, outside the epochs of a training, one line a class."""
        if self.context.phase == "val" or not self.metrics.evaluated:
            return
        row = "%22s" + "%11i" * 2 + "%12.3g" * len(self.metrics.keys)
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
            lines = label_lines(truth.as_found(), truth.shape)
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
        truth = coco_ground_truth(self.data, self.args.split, self.coco_prefix) if self.jdict else None
        if truth is None:
            return stats
        images = [image_id(image.key) for image in self.metrics.stats]
        for kind, suffix in self.coco_kinds.items():
            stats = {**stats, **coco_statistics(truth, self.jdict, images, kind, suffix)}
        return stats

    # figures ---------------------------------------------------------------------------------------------

    def plot_predictions(self, batch: Mapping[str, Any], preds: Sequence[Prediction], ni: int) -> None:
        """Write ``val_batch{ni}_pred.jpg``: the images of a batch with the detections."""
        drawn = [self.drawn(pred, found) for pred, found in zip(preds, to_host(preds), strict=True)]
        path = Path(self.save_dir or ".") / f"val_batch{ni}_pred.jpg"
        width = self.args.line_width
        self.on_plot(
            figures.plot_mosaic(batch["img"], drawn, path, self.names, files=batch["im_file"], line_width=width)
        )

    def drawn(self, pred: Prediction, found: FoundBoxes) -> figures.Drawn:
        """Return what :meth:`plot_predictions` draws on one image; both arguments are its detections."""
        del pred
        return figures.Drawn(found.boxes, found.cls, found.conf)

    def plot_metrics(self) -> None:
        """Write the curves and the confusion matrix."""
        folder = Path(self.save_dir or ".")
        curves = iter(self.metrics.curves_results)
        for part in self.metrics.parts:
            metric = getattr(self.metrics, part.name)
            shown = [self.names[int(c)] for c in metric.ap_class_index]
            for (kind, quantity), (x, y, *_) in zip(CURVES, curves, strict=False):
                path = folder / f"{part.title}{kind}_curve.png"
                if kind == "PR":
                    figures.plot_pr_curve(x, y, metric.ap50, shown, path)
                else:
                    figures.plot_confidence_curve(x, y, shown, path, quantity=quantity)
                self.on_plot(path, {"x": x, "y": y})
        self.plot_confusion()


def to_host(preds: Sequence[Prediction]) -> list[FoundBoxes]:
    """Return the detections of every image as arrays, fetched from the device in one piece."""
    rows = [torch.cat((p["bboxes"], p["cls"][:, None], p["conf"][:, None]), 1) for p in preds]
    joined = torch.cat(rows).float().cpu().numpy()
    parts = np.split(joined, np.cumsum([len(r) for r in rows])[:-1])
    return [FoundBoxes(part[:, :-2].astype(np.float64), part[:, -2], part[:, -1]) for part in parts]


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
