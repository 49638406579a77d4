"""Evaluating keypoints."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from yolocore.errors import ConfigError
from yolocore.models.yolo.detect.val import DetectionValidator
from yolocore.models.yolo.pose.outputs import FoundPoses, PoseTruth
from yolocore.nn.tasks import PoseModel
from yolocore.utils.figures import Drawn
from yolocore.utils.metrics import MAX_POSES, PoseMetrics, kpt_iou, match_detections, rank_detections
from yolocore.utils.ops import clip_coords

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import torch
    from torch import nn

    from yolocore.models.yolo.detect.outputs import FoundBoxes, ImageTruth
    from yolocore.models.yolo.detect.val import Prediction
    from yolocore.utils.metrics import DetMetrics, ImageStats


class PoseValidator(DetectionValidator):
    """Evaluates boxes and keypoints by the COCO rules: object keypoint similarity, twenty poses an image and class.

    The area of an object, which label files do not hold, is taken as 0.53 of its box. The predictions of
    :class:`DetectionValidator` are joined by ``keypoints`` (N, K, D) in pixels of the batch image.
    """

    task: ClassVar[str] = "pose"
    model_class: ClassVar[Callable[..., nn.Module]] = PoseModel
    metrics_class: ClassVar[type[DetMetrics]] = PoseMetrics
    coco_prefix: ClassVar[str] = "person_keypoints"
    coco_kinds: ClassVar[Mapping[str, str]] = {"bbox": "", "keypoints": "(P)"}

    def init_metrics(self, model: Any) -> None:
        """Also learn the shape of the keypoints.

        Raises:
            ConfigError: model and data do not have the same number of points.
        """
        super().init_metrics(model)
        labelled = tuple(self.data["kpt_shape"])
        self.kpt_shape: tuple[int, int] = tuple(getattr(model, "kpt_shape", None) or labelled)
        if self.kpt_shape[0] != labelled[0]:
            raise ConfigError(
                f"kpt_shape: the model finds {self.kpt_shape[0]} keypoints, {self.data['yaml_file']} has {labelled[0]}"
            )

    def suppress(self, output: Any, extras: int = 0, **options: Any) -> list[torch.Tensor]:
        """Return rows (N, 6 + K·D); see :meth:`DetectionValidator.suppress`."""
        points, values = self.kpt_shape
        return super().suppress(output, extras or points * values, **options)

    def prediction(self, rows: torch.Tensor) -> Prediction:
        """Return the detections of one image from rows (N, 6 + K·D) of the suppression."""
        return {**super().prediction(rows), "keypoints": rows[:, 6:].unflatten(1, self.kpt_shape)}

    def compared(self, preds: Sequence[Prediction], batch: Mapping[str, Any]) -> Iterator[tuple[FoundPoses, PoseTruth]]:
        """Yield the detections and labels of every image of a batch, in pixels of the original image."""
        h, w = batch["img"].shape[2:]
        owner = batch["batch_idx"].cpu().numpy()
        labels = batch["keypoints"].cpu().numpy().astype(np.float64) * np.array((w, h, 1))  # (M, K, 3)
        for i, (found, truth) in enumerate(super().compared(preds, batch)):
            points = preds[i]["keypoints"].float().cpu().numpy().astype(np.float64)  # (N, K, D)
            points[..., :2] = clip_coords(truth.unplace(points[..., :2]), truth.shape)
            wanted = labels[owner == i]
            wanted[..., :2] = truth.unplace(wanted[..., :2])
            yield FoundPoses(found.boxes, found.cls, found.conf, points), PoseTruth.label(truth, wanted)

    def image_stats(self, found: FoundBoxes, truth: ImageTruth) -> ImageStats:
        """Return the counters of one image; people without labelled keypoints do not count as poses."""
        stats = super().image_stats(found, truth)
        ranked = found.select(rank_detections(found.conf, found.cls))
        assert isinstance(ranked, FoundPoses)
        assert isinstance(truth, PoseTruth)
        tp, ignored = match_detections(
            kpt_iou(ranked.keypoints, truth.keypoints, truth.boxes),
            ranked.cls,
            truth.cls,
            self.iouv,
            unjudged=truth.unlabelled,
            limit=MAX_POSES,
        )
        return replace(
            stats, tp={**stats.tp, "pose": tp}, ignored={"pose": ignored}, unjudged={"pose": truth.unlabelled}
        )

    def pred_to_json(self, found: FoundBoxes, truth: ImageTruth) -> list[dict[str, Any]]:
        """Return the COCO records of one image, with x, y, visibility of every point."""
        assert isinstance(found, FoundPoses)
        points = found.keypoints
        if points.shape[2] == 2:
            points = np.concatenate((points, np.ones_like(points[..., :1])), -1)
        flat = points.reshape(len(points), points.shape[1] * 3).round(3).tolist()
        records = super().pred_to_json(found, truth)
        return [{**record, "keypoints": row} for record, row in zip(records, flat, strict=True)]

    def drawn(self, pred: Prediction, found: FoundBoxes) -> Drawn:
        """Return what is drawn on one image: boxes and keypoints."""
        return Drawn(found.boxes, found.cls, found.conf, keypoints=pred["keypoints"].float().cpu().numpy())
