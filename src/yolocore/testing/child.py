"""``python -m yolocore.testing.child REQUEST``: runs parts of the conformance kit in a process of its own."""

from __future__ import annotations

import sys
import traceback
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yolocore.testing.request import Request
from yolocore.testing.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Callable

LIGHT = ("imported", "discovered", "blocked")  # parts that need no torch


def main() -> None:
    """Read the request and run its parts; one that fails does not keep the next from running."""
    request = Request.read(Path(sys.argv[1]).read_text(encoding="utf-8"))
    watch = Watch(request.package).install()
    for part in request.parts:
        request.answer(part, state="begun")
        try:
            facts = _function(part)(request, watch)
        except Exception:
            request.answer(part, state="failed", reason=traceback.format_exc(limit=-8))
        else:
            request.answer(part, state="done", facts=facts)
            if "exit" in facts:  # the part ends its process as the training did
                raise SystemExit(facts["exit"])


def _function(part: str) -> Callable[[Request, Watch], dict[str, Any]]:
    module = "light" if part in LIGHT else "trainings"
    function: Callable[[Request, Watch], dict[str, Any]] = getattr(import_module(f"yolocore.testing.{module}"), part)
    return function


if __name__ == "__main__":
    main()
