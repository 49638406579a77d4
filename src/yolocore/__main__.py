"""``python -m yolocore`` is the ``yolo`` command."""

import sys

from yolocore.cli import main

if __name__ == "__main__":
    sys.exit(main())
