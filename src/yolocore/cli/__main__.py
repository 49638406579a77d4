"""``python -m yolocore.cli`` does what ``yolo`` does."""

from __future__ import annotations

import sys

from yolocore.cli import main

sys.exit(main())
