"""The reference page of the hooks, written from the specifications in ``yolocore.hooks.specs``."""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING

from yolocore.hooks import specs
from yolocore.hooks.events import ARGUMENTS, EVENTS

if TYPE_CHECKING:
    from collections.abc import Iterator

PATH = "docs/reference/hooks.md"
TITLES: dict[type, str] = {
    specs.TrainerEvents: "Training",
    specs.ValidatorEvents: "Validation",
    specs.PredictorEvents: "Prediction",
    specs.ExporterEvents: "Export",
    specs.FinalEvents: "Final evaluation",
    specs.Registration: "Registration",
}


def render() -> dict[str, str]:
    """Return the path of the page, from the root of the checkout, and its text."""
    return {PATH: "\n".join(_page())}


def _page() -> Iterator[str]:
    yield "# Hooks"
    yield ""
    yield "<!-- Generated from src/yolocore/hooks/specs.py; edit the docstrings there. -->"
    yield ""
    yield _markdown(inspect.cleandoc(specs.__doc__ or ""))
    yield ""
    yield f"There are {len(EVENTS)} events that functions given to `add_callback` may wait for,"
    yield "the event of the final evaluation, and the registration hooks, which only plugins have."
    yield ""
    for spec in specs.SPEC_CLASSES:
        yield f"## {TITLES[spec]}"
        yield ""
        yield _markdown(inspect.getdoc(spec) or "")
        yield ""
        for name, function in specs.functions_of(spec):
            yield f"### `{name}({ARGUMENTS[name]})`"
            yield ""
            yield _markdown(inspect.getdoc(function) or "")
            yield ""


def _markdown(text: str) -> str:
    """Return a docstring as Markdown: literal blocks fenced, double backquotes single."""
    lines: list[str] = []
    block = False
    for line in text.splitlines():
        if block and line and not line.startswith("    "):
            while lines[-1] == "":
                lines.pop()
            lines += ["```", ""]
            block = False
        lines.append(line.removeprefix("    ") if block else re.sub(r"``([^`]+)``", r"`\1`", line))
        if not block and line.endswith("::"):
            lines[-1] = line[:-1]
            lines += ["", "```python"]
            block = True
    if block:
        lines.append("```")
    return "\n".join(lines).replace("```python\n\n", "```python\n")
