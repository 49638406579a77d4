"""From the argument ``tracker`` to trackers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from yolocore.config.yaml_reader import read_yaml_mapping
from yolocore.errors import ConfigError, MissingFileError, did_you_mean
from yolocore.hooks.registry import UnknownNameError

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from yolocore.hooks.records import TrackerRecord
    from yolocore.hooks.registry import Registry


class Tracker(Protocol):
    """What a tracker can do; see :class:`yolocore.trackers.ByteTracker` for the arrays."""

    def update(self, boxes: Any, scores: Any, classes: Any, image: NDArray[np.uint8] | None = None) -> NDArray[Any]:
        """Return rows box, id, score, class, number of the detection."""

    def reset(self) -> None:
        """Forget every track."""


def find_tracker_file(name: str | Path, registry: Registry[TrackerRecord]) -> Path:
    """Return a tracker file: the path itself, or a file that a registered tracker brings along.

    Raises:
        MissingFileError: there is neither; the known ones are listed.
    """
    path = Path(name).expanduser()
    if path.is_file():
        return path
    packaged = {record.config.name: record.config for record in registry.values() if record.config is not None}
    for candidate in (path.name, f"{path.name}.yaml"):
        if path.parent == Path() and candidate in packaged:
            return packaged[candidate]
    raise MissingFileError(
        f"tracker={str(name)!r}: no such file in {Path.cwd()}, and none of that name comes with a tracker; those are "
        f"{', '.join(sorted(packaged)) or 'none'}.{did_you_mean(path.name, packaged)}"
    )


def tracker_factory(name: str | Path, registry: Registry[TrackerRecord]) -> Callable[[float | None], Tracker]:
    """Read a tracker file and return what makes its tracker for a frame rate.

    Raises:
        MissingFileError: there is no such file.
        DataError: it is no YAML mapping.
        ConfigError: it names no tracker type.
        UnknownNameError: no tracker of that type is registered; lists those that are.
    """
    document = read_yaml_mapping(find_tracker_file(name, registry))
    kind = document.values.get("tracker_type")
    if kind is None:
        raise ConfigError(f"{document.path}: tracker_type is missing; it is one of {', '.join(sorted(registry))}")
    try:
        record = registry[str(kind)]
    except UnknownNameError as error:
        raise UnknownNameError(f"{document.path}: {error}") from None

    def build(frame_rate: float | None = None) -> Tracker:
        try:
            tracker: Tracker = record.build(document.values, frame_rate)
        except ConfigError as error:
            raise ConfigError(f"{document.path}: {error}") from None
        return tracker

    return build
