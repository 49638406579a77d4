"""Evaluating masks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch

from yolocore.engine.results import Masks
from yolocore.kernels.masks import assemble_masks, assemble_native_masks
from yolocore.models.yolo.detect.val import DetectionValidator
from yolocore.models.yolo.segment.outputs import FoundMasks, MaskTruth
from yolocore.nn.tasks import SegmentationModel
from yolocore.utils.figures import Drawn, batch_labels
from yolocore.utils.metrics import SegmentMetrics, mask_iou
from yolocore.utils.rle import encode_mask

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray
    from torch import nn

    from yolocore.models.yolo.detect.outputs import FoundBoxes, ImageTruth
    from yolocore.models.yolo.detect.val import Prediction
    from yolocore.utils.metrics import DetMetrics


class SegmentationValidator(DetectionValidator):
    """Evaluates boxes and masks by the COCO rules.

    Masks are compared at the resolution of the labels of a batch (``mask_ratio``, ``overlap_mask``); with
    ``retina_masks``, or when files are written (``save_json``, ``save_txt``, ``save_hybrid``), in the pixels of the
    original image, as pycocotools does it.

    The predictions of :class:`DetectionValidator` are joined by ``masks`` (N, h, w) bool, which cover the batch image
    at the resolution of its labels, ``coefficients`` (N, nm) and ``proto`` (nm, h, w).
    """

    task: ClassVar[str] = "segment"
    model_class: ClassVar[Callable[..., nn.Module]] = SegmentationModel
    metrics_class: ClassVar[type[DetMetrics]] = SegmentMetrics
    coco_kinds: ClassVar[Mapping[str, str]] = {"bbox": "", "segm": "(M)"}

    def init_metrics(self, model: Any) -> None:
        """Also look up where the polygons of every image are."""
        super().init_metrics(model)
        args = self.args
        self.native = bool(args.retina_masks or args.save_json or args.save_txt or args.save_hybrid)
        self.store = getattr(getattr(self.dataloader, "dataset", None), "store", None)
        files = self.store.im_files if self.store is not None and self.native else ()
        self.rows = {file: i for i, file in enumerate(files)}

    def postprocess(self, output: Any) -> list[Prediction]:
        """Return the detections of every image after suppression, with their masks.

        Args:
            output: the decoded tensor (B, 4 + nc + nm, A), and prototypes (B, nm, h, w) or raw outputs that hold them.
        """
        protos = output[1]["proto"] if isinstance(output[1], dict) else output[1]
        size = self.batch["img"].shape[2:]
        shape = self.batch["masks"].shape[-2:] if "masks" in self.batch else protos.shape[2:]
        predictions = []
        for rows, proto in zip(self.suppress(output, protos.shape[1]), protos.float(), strict=True):
            scale = rows.new_tensor((shape[1] / size[1], shape[0] / size[0])).repeat(2)
            masks = assemble_masks(proto, rows[:, 6:], rows[:, :4] * scale, shape)
            predictions.append({**self.prediction(rows), "masks": masks, "coefficients": rows[:, 6:], "proto": proto})
        return predictions

    def compared(self, preds: Sequence[Prediction], batch: Mapping[str, Any]) -> Iterator[tuple[FoundMasks, MaskTruth]]:
        """Yield detections and labels of every image, boxes in its own pixels, masks as they are compared."""
        pairs = zip(super().compared(preds, batch), preds, batch_labels(batch), strict=True)
        for (found, truth), pred, drawn in pairs:
            labels = drawn.masks if drawn.masks is not None else np.zeros((0, 1, 1), bool)
            masks = pred["masks"]
            labelled = MaskTruth.label(truth, labels)
            if self.native:
                masks = self.native_masks(pred, found, truth, batch["img"].shape[2:])
                labelled = self.native_truth(labelled)
            yield FoundMasks(found.boxes, found.cls, found.conf, masks.cpu().numpy()), labelled

    @staticmethod
    def native_masks(pred: Prediction, found: FoundBoxes, truth: ImageTruth, size: Sequence[int]) -> torch.Tensor:
        """Return the masks (N, h, w) of an image at its own resolution.

        Args:
            pred: its detections in the batch image.
            found: the same in its own pixels.
            truth: where it lies in the batch image.
            size: (height, width) of the batch image.
        """
        boxes = torch.as_tensor(found.boxes).to(pred["proto"])
        return assemble_native_masks(pred["proto"], pred["coefficients"], boxes, size, truth.shape, truth.pad)

    def native_truth(self, truth: MaskTruth) -> MaskTruth:
        """Return the labels of an image with masks at its own resolution, drawn from the polygons where they are."""
        if self.store is not None and truth.file in self.rows:
            return MaskTruth.outlined(truth, self.store[self.rows[truth.file]])
        return MaskTruth.label(truth, Masks(truth.masks, truth.shape).on_image())

    def overlaps(self, found: FoundBoxes, truth: ImageTruth) -> dict[str, NDArray[Any]]:
        """Return (N, M) for boxes and masks; masks of classes that the image does not show are not looked at."""
        assert isinstance(found, FoundMasks)
        assert isinstance(truth, MaskTruth)
        overlap = np.zeros((len(found.cls), len(truth.cls)))
        rows = np.isin(found.cls, truth.cls)
        overlap[rows] = mask_iou(found.masks[rows], truth.masks)
        return {**super().overlaps(found, truth), "seg": overlap}

    def pred_to_json(self, found: FoundBoxes, truth: ImageTruth) -> list[dict[str, Any]]:
        """Return the COCO records of one image, with run-length encoded masks."""
        assert isinstance(found, FoundMasks)
        records = super().pred_to_json(found, truth)
        return [
            {**record, "segmentation": encode_mask(mask)} for record, mask in zip(records, found.masks, strict=True)
        ]

    def drawn(self, pred: Prediction, found: FoundBoxes) -> Drawn:
        """Return what is drawn on one image: boxes and masks."""
        return Drawn(found.boxes, found.cls, found.conf, masks=pred["masks"].cpu().numpy())
