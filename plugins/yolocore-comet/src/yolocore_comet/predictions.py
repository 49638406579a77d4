"""Pictures of a validation with their true and found boxes, in the form of Comet's annotations."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture of a validation.

    Attributes:
        file: the picture, as it lies in the dataset.
        layers: annotations; each has a ``name`` and its boxes in ``data``, [left, top, width, height] in pixels of
            the picture.
    """

    file: Path
    layers: list[dict[str, Any]]


def pictures(validator: Any, *, max_score: float) -> Iterator[Picture]:
    """Yield the pictures of the batch that was just evaluated; none when the task has no upright boxes.

    Detections are those that count in the confusion matrix.

    Args:
        validator: in ``on_val_batch_end``: ``batch`` has its images (B, 3, H, W), ``preds`` xyxy in their pixels.
        max_score: what a confidence of 1 is shown as.
    """
    batch, preds = validator.batch, validator.preds
    if not (isinstance(preds, list) and preds and getattr(preds[0].get("bboxes"), "shape", (0, 0))[1] == 4):
        return
    size = tuple(batch["img"].shape[2:])
    owner = batch["batch_idx"].cpu().numpy()  # (M,)
    boxes, classes = batch["bboxes"].cpu().numpy(), batch["cls"].reshape(-1).cpu().numpy()  # (M, 4) xywhn, (M,)
    for i, (file, shape, place) in enumerate(
        zip(batch["im_file"], batch["ori_shape"], batch["ratio_pad"], strict=True)
    ):
        frame = Frame(size, shape, place, validator.names, max_score)
        found = {
            key: value.float().cpu().numpy() for key, value in preds[i].items() if key in ("bboxes", "conf", "cls")
        }
        shown = found["conf"] > validator.confusion_matrix.conf  # (N,)
        layers = [
            frame.layer("ground_truth", frame.absolute(boxes[owner == i]), classes[owner == i]),
            frame.layer("prediction", found["bboxes"][shown], found["cls"][shown], found["conf"][shown]),
        ]
        yield Picture(Path(file), [layer for layer in layers if layer["data"]])  # Comet refuses an empty layer


@dataclass(frozen=True, slots=True)
class Frame:
    """How boxes of a letterboxed image become annotations of the picture.

    Attributes:
        size: (height, width) of the letterboxed image.
        shape: (height, width) of the picture.
        place: ((gain, gain), (pad_x, pad_y)) of the picture in the image.
        names: class index to name.
        max_score: what a confidence of 1 is shown as.
    """

    size: tuple[int, ...]
    shape: Sequence[int]
    place: Any
    names: Mapping[int, str]
    max_score: float

    def absolute(self, boxes: NDArray[Any]) -> NDArray[Any]:
        """Return (N, 4) xywh, relative to the image, as xyxy in its pixels."""
        from yolocore.utils.ops import xywhn2xyxy  # imports torch, which a replay does not need

        return xywhn2xyxy(boxes, w=self.size[1], h=self.size[0])

    def layer(
        self, name: str, boxes: NDArray[Any], classes: NDArray[Any], conf: NDArray[Any] | None = None
    ) -> dict[str, Any]:
        """Return (N, 4) xyxy of the image as a layer of annotations of the picture; without ``conf`` they are sure."""
        from yolocore.utils.ops import scale_boxes, xyxy2ltwh

        placed = xyxy2ltwh(scale_boxes(self.size, boxes, self.shape, self.place))
        scores = [1.0] * len(boxes) if conf is None else conf.tolist()
        data = [
            {"boxes": [box], "label": self.names[int(c)], "score": score * self.max_score}
            for box, c, score in zip(placed.tolist(), classes, scores, strict=True)
        ]
        return {"name": name, "data": data}
