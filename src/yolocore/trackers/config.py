"""What a tracker file may say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from yolocore.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping

GmcMethod = Literal["sparseOptFlow", "orb", "sift", "ecc", "none"]


class TrackerConfig(BaseModel):
    """Base of the settings of a tracker: strict types, no unknown keys, unchangeable."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)

    tracker_type: str = Field(description="Chooses the tracker.")

    @classmethod
    def read(cls, values: Mapping[str, Any], where: str = "") -> Self:
        """Return the settings in ``values``; a missing key has its default.

        Args:
            values: key to value.
            where: the file they are from, for messages.

        Raises:
            ConfigError: a key is unknown or a value is wrong; all of them are listed.
        """
        try:
            return cls.model_validate({k: "none" if k == "gmc_method" and v is None else v for k, v in values.items()})
        except ValidationError as error:
            lines = [cls._line(fault) for fault in error.errors(include_url=False)]
            raise ConfigError("\n".join(f"{where}: {line}" if where else line for line in lines)) from None

    @classmethod
    def _line(cls, fault: Any) -> str:
        key = str(fault["loc"][0]) if fault["loc"] else "tracker file"
        if fault["type"] == "extra_forbidden":
            return f"unknown key {key!r}.{did_you_mean(key, cls.model_fields)} Known: {', '.join(cls.model_fields)}."
        return f"{key}={fault['input']!r}: {fault['msg'][:1].lower()}{fault['msg'][1:]}"


class ByteTrackConfig(TrackerConfig):
    """Settings of :class:`yolocore.trackers.ByteTracker`."""

    tracker_type: Literal["bytetrack"] = "bytetrack"
    track_high_thresh: float = Field(default=0.25, ge=0, le=1, description="Lowest score in the first association.")
    track_low_thresh: float = Field(default=0.1, ge=0, le=1, description="Lowest score in the second association.")
    new_track_thresh: float = Field(default=0.25, ge=0, le=1, description="Lowest score that starts a track.")
    track_buffer: int = Field(default=30, ge=0, description="Frames a lost track is kept, at 30 frames per second.")
    match_thresh: float = Field(default=0.8, ge=0, le=1, description="Highest cost of a pair in the first association.")
    fuse_score: bool = Field(default=True, description="Cost 1 - IoU x score instead of 1 - IoU.")


class BotSortConfig(ByteTrackConfig):
    """Settings of :class:`yolocore.trackers.BotSortTracker`."""

    tracker_type: Literal["botsort"] = "botsort"  # type: ignore[assignment]
    gmc_method: GmcMethod = Field(default="sparseOptFlow", description="How the motion of the camera is found.")
    proximity_thresh: float = Field(default=0.5, ge=0, le=1, description="Lowest overlap at which appearance counts.")
    appearance_thresh: float = Field(default=0.8, ge=0, le=1, description="Lowest similarity of appearance.")
    with_reid: bool = Field(default=False, description="Compare appearance as well.")
    model: str = Field(default="auto", description="Where the features come from; auto: from the detector.")
