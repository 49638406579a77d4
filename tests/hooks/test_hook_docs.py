"""The reference page: every hook has its heading and text."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from yolocore.hooks.events import ARGUMENTS

SCRIPT = Path(__file__).resolve().parents[2] / "docs" / "_hooks.py"


def test_every_hook_has_an_entry():
    spec = importlib.util.spec_from_file_location("docs_hooks", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    ((path, text),) = module.render().items()
    assert path == "docs/reference/hooks.md"
    headings = [line for line in text.splitlines() if line.startswith("### ")]
    assert headings == [f"### `{name}({argument})`" for name, argument in ARGUMENTS.items()]
    assert "``" not in text.replace("```", "")
    assert text.count("```") == 2
