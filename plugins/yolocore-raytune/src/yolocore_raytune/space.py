"""The search space in Ray's terms."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ray import tune
from ray.tune.search.sample import Domain

from yolocore.config import ARGUMENTS
from yolocore.engine.tune_space import SPACE, read_space
from yolocore.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping


def ray_space(space: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the distribution of each argument; pairs become uniform ranges, Ray's own objects stay.

    Raises:
        ConfigError: a name is no argument of a training, or an end of a range is no valid value.
        ConfigTypeError: a range is neither a pair of numbers nor a distribution.
    """
    given = SPACE if space is None else space
    own = {name: domain for name, domain in given.items() if isinstance(domain, Domain) or _is_grid(domain)}
    for name in own:
        if name not in ARGUMENTS or "train" not in ARGUMENTS[name].modes:
            names = [argument.name for argument in ARGUMENTS.values() if "train" in argument.modes]
            raise ConfigError(f"space: {name!r} is no argument of a training.{did_you_mean(name, names)}")
    pairs = {name: ends for name, ends in given.items() if name not in own}
    uniform = {
        axis.name: tune.randint(int(axis.low), int(axis.high) + 1)
        if axis.is_whole
        else tune.uniform(axis.low, axis.high)
        for axis in (read_space(pairs) if pairs or not own else ())
    }
    return {name: own.get(name, uniform.get(name)) for name in given}


def _is_grid(domain: object) -> bool:
    return isinstance(domain, dict) and domain.keys() == {"grid_search"}
