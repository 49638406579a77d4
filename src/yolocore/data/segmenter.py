"""Networks that outline what a box shows. They come with plugins: the core has none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from yolocore.config.settings import get_settings
from yolocore.data.outlines import join_outlines, outer_contours
from yolocore.errors import PluginError, did_you_mean
from yolocore.hooks import HookManager
from yolocore.hooks.permission import permitted_by

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Segmenter(Protocol):
    """A function from boxes to masks."""

    def __call__(self, im_bgr: NDArray[np.uint8], boxes_xyxy: NDArray[np.float32], /) -> Any:
        """Return the masks (N, H, W), non-zero on the object, of the boxes (N, 4), in pixels of the image (H, W, 3)."""


def find_segmenter(model: str | Segmenter, device: Any = None) -> Segmenter:
    """Return the segmenter: ``model`` itself, or the one a plugin registered under that name, on ``device``.

    Raises:
        PluginError: no plugin brings it.
    """
    if not isinstance(model, str):
        return model
    models = HookManager(kind="model", permitted=permitted_by(get_settings())).registry("models")
    known = {name: record.segmenter for name, record in models.items() if record.segmenter is not None}
    if (build := known.get(model)) is None:
        names = f"There are {', '.join(sorted(known))}." if known else "No installed plugin brings one."
        raise PluginError(
            f"sam_model={model!r}: no such promptable segmenter.{did_you_mean(model, known)} {names} A plugin "
            "registers one with register_models, as ModelRecord(segmenter=...); or give a function: "
            "(image BGR, boxes xyxy) -> masks"
        )
    segmenter: Segmenter = build(device)
    return segmenter


def outline_boxes(
    segmenter: Segmenter, im_bgr: NDArray[np.uint8], boxes_xyxy: NDArray[np.float32]
) -> list[NDArray[np.float64]]:
    """Return the outline of what each box shows, (k, 2) normalised; the corners of the box where nothing was found.

    Raises:
        PluginError: the segmenter returned masks of another shape.
    """
    h, w = im_bgr.shape[:2]
    masks = segmenter(im_bgr, boxes_xyxy)
    masks = np.asarray(masks.detach().cpu().numpy() if hasattr(masks, "detach") else masks)
    if masks.shape != (len(boxes_xyxy), h, w):
        raise PluginError(f"the segmenter returned masks of shape {masks.shape}; expected {(len(boxes_xyxy), h, w)}")
    outlines = []
    for mask, (x1, y1, x2, y2) in zip(masks, boxes_xyxy.astype(np.float64), strict=True):
        parts = outer_contours((mask > 0).astype(np.uint8))
        corners = np.array([(x1, y1), (x2, y1), (x2, y2), (x1, y2)])
        outlines.append((join_outlines(parts) if parts else corners) / (w, h))
    return outlines
