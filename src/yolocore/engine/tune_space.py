"""The search space of ``tune``, and how a new candidate comes from the best results so far."""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from yolocore.config import ARGUMENTS, make_config
from yolocore.errors import ConfigError, ConfigTypeError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.random import Generator

    from yolocore.config import Config

SPACE: Final[Mapping[str, tuple[float, float]]] = MappingProxyType(
    {
        "lr0": (1e-5, 1e-1),
        "lrf": (0.01, 1.0),
        "momentum": (0.7, 0.98),
        "weight_decay": (0.0, 0.001),
        "warmup_epochs": (0.0, 5.0),
        "warmup_momentum": (0.0, 0.95),
        "box": (1.0, 20.0),
        "cls": (0.1, 4.0),
        "dfl": (0.4, 6.0),
        "hsv_h": (0.0, 0.1),
        "hsv_s": (0.0, 0.9),
        "hsv_v": (0.0, 0.9),
        "degrees": (0.0, 45.0),
        "translate": (0.0, 0.9),
        "scale": (0.0, 0.95),
        "shear": (0.0, 10.0),
        "perspective": (0.0, 0.001),
        "flipud": (0.0, 1.0),
        "fliplr": (0.0, 1.0),
        "bgr": (0.0, 1.0),
        "mosaic": (0.0, 1.0),
        "mixup": (0.0, 1.0),
        "copy_paste": (0.0, 1.0),
    }
)
MANY_DECADES: Final = 100.0  # high/low from which an axis is searched by factors instead of by differences
PARENTS: Final = 5  # results that may become parents
CHANCE: Final = 0.5  # of one hyper-parameter to change
STEP: Final = 0.2  # standard deviation of a change, as a share of the axis


@dataclass(frozen=True, slots=True)
class Axis:
    """One hyper-parameter with its range.

    Attributes:
        name: the argument.
        low: the smallest value.
        high: the largest value.
        is_whole: whether the argument takes integers only.
    """

    name: str
    low: float
    high: float
    is_whole: bool = False

    @property
    def is_logarithmic(self) -> bool:
        """Whether steps are factors: the range is positive and spans two decades or more."""
        return self.low > 0 and self.high / self.low >= MANY_DECADES

    def to_unit(self, value: float) -> float:
        """Return where ``value`` lies on the axis, 0 (low) to 1 (high)."""
        if self.is_logarithmic:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    def from_unit(self, place: float) -> float:
        """Return the value at ``place``; positions beyond an end are reflected at it."""
        place = abs(place) % 2
        place = 2 - place if place > 1 else place
        if self.is_logarithmic:
            return self.clip(self.low * (self.high / self.low) ** place)
        return self.clip(self.low + place * (self.high - self.low))

    def clip(self, value: float) -> float:
        """Return ``value`` limited to the range, with five significant digits or as an integer."""
        if self.is_whole:
            return int(min(max(round(value), self.low), self.high))
        return min(max(float(f"{value:.5g}"), self.low), self.high)


def read_space(space: Mapping[str, Any] | None) -> tuple[Axis, ...]:
    """Return the axes of ``space``, argument to (low, high); the documented space without one.

    Raises:
        ConfigError: a name is no numeric argument of a training, or an end of a range is no valid value.
        ConfigTypeError: a range is not a pair of numbers.
    """
    if space is None:
        space = SPACE
    if not space:
        raise ConfigError("space={}: there is nothing to search; give ranges such as {'lr0': (0.0001, 0.1)}")
    return tuple(_axis(name, ends) for name, ends in space.items())


def _axis(name: str, ends: Any) -> Axis:
    argument = ARGUMENTS.get(name)
    if argument is None or not _is_number(argument.default) or "train" not in argument.modes:
        known = [a.name for a in ARGUMENTS.values() if _is_number(a.default) and "train" in a.modes]
        raise ConfigError(f"space: {name!r} is no numeric argument of a training.{did_you_mean(name, known)}")
    if not isinstance(ends, list | tuple) or len(ends) != 2 or not all(_is_number(end) for end in ends):
        raise ConfigTypeError(f"space: {name}={ends!r}; a range is a pair of numbers, for example {name!r}: (0.1, 0.9)")
    low, high = ends
    if not low < high:
        raise ConfigError(f"space: {name}={ends!r}; the first number has to be the smaller one")
    for end in ends:
        make_config("train", {name: end}, env={})
    whole = isinstance(argument.default, int)
    return Axis(name, low if whole else float(low), high if whole else float(high), is_whole=whole)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def start_values(axes: Sequence[Axis], config: Config) -> dict[str, float]:
    """Return where a search begins: the arguments somebody gave, else the defaults moved into the range.

    Raises:
        ConfigError: an argument somebody gave lies outside the range that is searched.
    """
    values = {}
    for axis in axes:
        given = getattr(config, axis.name)
        if axis.name in config.explicit and not axis.low <= given <= axis.high:
            raise ConfigError(
                f"{axis.name}={given} lies outside the range {axis.low} to {axis.high} that is searched; "
                f"leave it out, or give space={{...}} with a range that holds it or without {axis.name!r}"
            )
        values[axis.name] = axis.clip(given)
    return values


def propose(
    axes: Sequence[Axis],
    start: Mapping[str, float],
    tried: Sequence[tuple[float, Mapping[str, float]]],
    rng: Generator,
) -> dict[str, float]:
    """Return the next candidate: ``start`` first, then a mutation of one of the best results.

    A parent is drawn among the five best with a probability proportional to its fitness; ``start`` stands in
    while nothing has a fitness above 0. Each hyper-parameter changes with probability 1/2, at least one does;
    a change is normal with a fifth of the axis as its standard deviation, reflected at the ends.

    Args:
        axes: the space.
        start: the values to begin with.
        tried: fitness and values of the results so far; failed ones have fitness 0.
        rng: the source of randomness.
    """
    if not tried:
        return dict(start)
    best = sorted((row for row in tried if row[0] > 0), key=lambda row: row[0], reverse=True)[:PARENTS]
    parent = start
    if best:
        weights = np.array([fitness for fitness, _ in best])
        parent = best[rng.choice(len(best), p=weights / weights.sum())][1]
    changes = rng.random(len(axes)) < CHANCE
    changes[rng.integers(len(axes))] = True
    steps = rng.normal(0.0, STEP, len(axes))
    return {
        axis.name: axis.from_unit(axis.to_unit(parent[axis.name]) + step) if change else parent[axis.name]
        for axis, change, step in zip(axes, changes, steps, strict=True)
    }
