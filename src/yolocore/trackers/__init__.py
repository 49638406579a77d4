"""Trackers: arrays of detections in, arrays of tracks out."""

from yolocore.trackers.botsort import BotSortTracker
from yolocore.trackers.bytetrack import ByteTracker
from yolocore.trackers.config import BotSortConfig, ByteTrackConfig, TrackerConfig
from yolocore.trackers.loading import Tracker

__all__ = ["BotSortConfig", "BotSortTracker", "ByteTrackConfig", "ByteTracker", "Tracker", "TrackerConfig"]
