"""The loss of a head whose detections need no suppression."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from yolocore.nn.losses.detect import DetectionLoss

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from yolocore.nn.tasks import BaseModel


class EndToEndLoss:
    """The detection loss of both branches, summed: ten locations for an object in one, a single one in the other.

    YOLOv10, Wang et al. 2024, arXiv:2405.14458, section 3.1.

    Args:
        model: as for :class:`DetectionLoss`.

    Attributes:
        names: of the items, in order.
        one2many: loss of the branch that only training has.
        one2one: loss of the branch that predicts.
    """

    names: ClassVar[tuple[str, ...]] = DetectionLoss.names

    def __init__(self, model: BaseModel) -> None:
        self.one2many = DetectionLoss(model, topk=10)
        self.one2one = DetectionLoss(model, topk=1)

    def __call__(self, preds: Any, batch: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
        """Return the components times the batch size (3), and the components, detached (3).

        Args:
            preds: the head's raw outputs, ``one2many`` and ``one2one``, or a pair whose second element they are. A
                fused head has the second branch only, whose loss is then all there is.
            batch: as for :class:`DetectionLoss`.
        """
        raw = preds[1] if isinstance(preds, tuple) else preds
        loss, items = self.one2one(raw["one2one"], batch)
        if "one2many" in raw:
            more, more_items = self.one2many(raw["one2many"], batch)
            loss, items = loss + more, items + more_items
        return loss, items

    @property
    def class_weights(self) -> Tensor | None:
        """(nc) factor on the class terms, None for equal ones; see :func:`yolocore.nn.losses.class_weights`."""
        return self.one2one.class_weights

    @class_weights.setter
    def class_weights(self, value: Tensor | None) -> None:
        self.one2one.class_weights = self.one2many.class_weights = value
