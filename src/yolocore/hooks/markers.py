"""The two pluggy markers of this project."""

from __future__ import annotations

import pluggy

PROJECT = "yolocore"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)
