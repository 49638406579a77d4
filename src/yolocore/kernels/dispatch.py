"""Chooses who does the work: torchvision's compiled suppression where it is there, the plain torch version elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from yolocore.errors import ConfigError
from yolocore.kernels.rotated import nms_rotated

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

CLASS_OFFSET = 7680.0  # pixels between the planes of two classes, beyond any image side
FIRST_BLOCK = 1024  # best candidates tried before all of them


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    """Return the indices of the boxes kept by greedy suppression, best first; see :func:`reference.nms`."""
    # torchvision costs two seconds to import, and training without validation never needs it
    from torchvision.ops import nms as compiled

    return compiled(boxes, scores, iou_threshold)


def non_max_suppression(
    prediction: Tensor,
    conf: float = 0.25,
    iou: float = 0.7,
    *,
    classes: Sequence[int] | None = None,
    agnostic: bool = False,
    multi_label: bool = False,
    max_det: int = 300,
    max_nms: int = 30000,
    nc: int = 0,
    rotated: bool = False,
) -> list[Tensor]:
    """Turn decoded predictions into detections. There is no time limit: the result never depends on the machine.

    Args:
        prediction: (B, 4 + nc + extras, A): xywh in pixels, class scores in [0, 1], extra rows (such as mask
            coefficients) that are carried along. Not modified.
        conf: scores must be greater than this.
        iou: a box overlapping a better one of its class by more than this is dropped.
        classes: keep only these.
        agnostic: let boxes of different classes suppress each other.
        multi_label: a location may give one box for each class above ``conf``, not only its best.
        max_det: boxes kept for each image.
        max_nms: candidates considered for each image, the best first.
        nc: number of classes; 0 takes every row after the fourth for a class, but the last of rotated boxes.
        rotated: the first extra row is an angle in radians; boxes overlap by ProbIoU.

    Returns:
        For each image (N, 6 + extras): x1, y1, x2, y2 in pixels, score, class, extras; best score first. Rotated
        boxes stay centre x, centre y, width, height.

    Raises:
        ConfigError: a threshold lies outside [0, 1].
    """
    for name, value in (("conf", conf), ("iou", iou)):
        if not 0 <= value <= 1:
            raise ConfigError(f"{name}={value} is not allowed: a number from 0 to 1 is, such as {name}=0.5.")
    nc = nc or prediction.shape[1] - 4 - rotated
    scores = prediction[:, 4 : 4 + nc]  # (B, nc, A)
    if multi_label and nc > 1:
        image, cls, location = (scores > conf).nonzero(as_tuple=True)  # (P)
        score = scores[image, cls, location]
    else:
        image, location = (scores.amax(1) > conf).nonzero(as_tuple=True)  # (P)
        score, cls = scores[image, :, location].max(1)
    if classes is not None:
        wanted = torch.isin(cls, torch.tensor(list(classes), dtype=cls.dtype, device=cls.device))
        image, cls, location, score = image[wanted], cls[wanted], location[wanted], score[wanted]
    counts = torch.bincount(image, minlength=len(prediction)).tolist()
    parts = zip(prediction, location.split(counts), cls.split(counts), score.split(counts), strict=True)
    gap = 0.0 if agnostic else CLASS_OFFSET
    return [
        _suppress(*part, iou=iou, gap=gap, max_det=max_det, max_nms=max_nms, nc=nc, rotated=rotated) for part in parts
    ]


def confident_rows(
    rows: Tensor, conf: float, *, classes: Sequence[int] | None = None, max_det: int = 300
) -> list[Tensor]:
    """Return the detections of an end-to-end network, which suppresses nothing because it repeats nothing.

    Args:
        rows: (B, N, 6): x1, y1, x2, y2 in pixels, score, class; best first.
        conf: scores must be greater than this.
        classes: keep only these.
        max_det: boxes kept for each image.

    Returns:
        For each image (n, 6).
    """
    keep = rows[..., 4] > conf  # (B, N)
    if classes is not None:
        keep &= torch.isin(rows[..., 5], torch.tensor(list(classes), dtype=rows.dtype, device=rows.device))
    return [image[wanted][:max_det] for image, wanted in zip(rows, keep, strict=True)]


def _suppress(
    rows: Tensor,
    location: Tensor,
    cls: Tensor,
    score: Tensor,
    *,
    iou: float,
    gap: float,
    max_det: int,
    max_nms: int,
    nc: int,
    rotated: bool,
) -> Tensor:
    """Return the detections of one image; ``rows`` (4 + nc + extras, A), the candidates' other arguments (P).

    A kept box depends only on better ones, so the best few are tried first: usually they already give ``max_det``.
    """
    available = min(len(score), max_nms)
    for size in (FIRST_BLOCK, available):
        chosen = _best(score, min(size, available))  # (P')
        xywh = rows[:4, location[chosen]]  # (4, P')
        boxes = xywh.T if rotated else _corners(xywh)
        # float64: in float32 the planes of high classes would round boxes to sixteenths of a pixel
        planes, shift = boxes.double(), (cls[chosen] * gap)[:, None]
        if rotated:
            angle = rows[4 + nc, location[chosen], None].double()
            planes = torch.cat((planes[:, :2] + shift, planes[:, 2:], angle), 1)  # (P', 5)
        else:
            planes = planes + shift  # (P', 4)
        kept = _first_kept(planes, score[chosen].double(), iou, max_det)
        if len(kept) >= max_det or len(chosen) == available:
            break
    chosen = chosen[kept]
    extras = rows[4 + nc :, location[chosen]].T
    return torch.cat((boxes[kept], score[chosen, None], cls[chosen, None].to(boxes.dtype), extras), 1)


def _first_kept(boxes: Tensor, scores: Tensor, iou: float, wanted: int) -> Tensor:
    """Return the first ``wanted`` indices that suppression keeps of boxes in order of their scores.

    Boxes are xyxy (P, 4) or xywhr (P, 5). Goes through them in blocks that grow, and takes only the kept ones of
    earlier blocks along: what was suppressed suppresses nothing.
    """
    suppress = nms_rotated if boxes.shape[1] == 5 else nms
    kept = torch.empty(0, dtype=torch.long, device=boxes.device)
    start, size = 0, FIRST_BLOCK
    while start < len(boxes) and len(kept) < wanted:
        stop = min(start + size, len(boxes))
        tried = torch.cat((kept, torch.arange(start, stop, device=boxes.device)))
        kept = tried[suppress(boxes[tried], scores[tried], iou)]
        start = size = stop
    return kept[:wanted]


def _best(score: Tensor, size: int) -> Tensor:
    """Return the indices of the ``size`` highest scores (P), best first, equal ones in their order."""
    if size == len(score):
        return score.argsort(descending=True, stable=True)
    chosen = score.topk(size, sorted=False).indices.sort().values
    return chosen[score[chosen].argsort(descending=True, stable=True)]


def _corners(xywh: Tensor) -> Tensor:
    """Return corners (N, 4) of boxes given as rows centre x, centre y, width, height (4, N)."""
    centre, half = xywh[:2], xywh[2:] / 2
    return torch.cat((centre - half, centre + half)).T
