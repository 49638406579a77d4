"""What a model file's row tells a layer, and the base class of layers that are scaled."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Self

from torch import nn

from yolocore.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MAX_CHANNELS = 65536
MAX_WEIGHT_BYTES = 4 * 2**30  # of one 3 x 3 convolution in float32


@dataclass(frozen=True)
class Row:
    """One row of a model file, as a layer's ``from_yaml`` sees it.

    Attributes:
        index: number of the layer, counted over backbone and head.
        name: the layer as it is called in the file.
        repeats: how often the layer is to be repeated, already scaled by depth.
        scale: the scale letter, or "".
        width: factor on channel counts.
        max_channels: upper bound of a channel count before it is scaled.
        options: every other top-level key of the file (``nc``, ``reg_max``, ``end2end``, ...).
        layers: names of all the layers in the file.
    """

    index: int
    name: str
    repeats: int = 1
    scale: str = ""
    width: float = 1.0
    max_channels: float = math.inf
    options: Mapping[str, Any] = field(default_factory=dict)
    layers: frozenset[str] = frozenset()

    def error(self, message: str) -> ModelError:
        """Return a :class:`ModelError` that names the layer."""
        return ModelError(f"layer {self.index} ({self.name}): {message}")

    def one_input(self, channels_in: Sequence[int]) -> int:
        """Return the channels of the only input.

        Raises:
            ModelError: there are several inputs.
        """
        if len(channels_in) != 1:
            raise self.error(f"'from' lists {len(channels_in)} layers, this layer takes one; join them by a Concat.")
        return channels_in[0]

    def output_channels(self, wanted: object, channels_in: int) -> int:
        """Return the scaled channel count: ``wanted``, bounded, times width, rounded up to a multiple of 8.

        Raises:
            ModelError: ``wanted`` is no positive whole number, or the weights would not fit any memory.
        """
        if isinstance(wanted, bool) or not isinstance(wanted, int) or wanted < 1:
            raise self.error(
                f"the number of output channels is {wanted!r}; a whole number from 1 is needed, such as 64."
            )
        channels = math.ceil(min(wanted, self.max_channels) * self.width / 8) * 8
        weight_bytes = 4 * 9 * channels * channels_in
        if channels > MAX_CHANNELS or weight_bytes > MAX_WEIGHT_BYTES:
            raise self.error(
                f"{channels_in} to {channels} channels need about {weight_bytes / 2**30:,.1f} GiB for the weights of one "
                f"3 x 3 convolution; at most {MAX_CHANNELS} channels and {MAX_WEIGHT_BYTES / 2**30:.0f} GiB are allowed."
            )
        return channels


class ScaledLayer(nn.Module):
    """Base of layers built as ``cls(c_in, c_out, *rest)`` from a row ``[from, repeats, name, [c_out, *rest]]``.

    A layer of your own need not derive from it; what counts is ``from_yaml``, which returns the module and how many
    channels it emits.

    Attributes:
        takes_repeats: the layer gets the number of repeats as third argument; others are repeated in a sequence.
    """

    takes_repeats: ClassVar[bool] = False

    @classmethod
    def from_yaml(cls, channels_in: Sequence[int], args: Sequence[Any], row: Row) -> tuple[Self, int]:
        """Build the layer.

        Args:
            channels_in: channels of each input.
            args: the fourth column of the row, names already resolved.
            row: everything else.

        Returns:
            The module and its number of output channels.
        """
        c1 = row.one_input(channels_in)
        c2 = row.output_channels(args[0] if args else None, c1)
        rest = [row.repeats, *args[1:]] if cls.takes_repeats else args[1:]
        return cls(c1, c2, *rest), c2
