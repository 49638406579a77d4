"""The reference pages are those the code would write."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from yolocore.config import ARGUMENTS
from yolocore.config.settings_keys import SETTINGS

DOCS = Path(__file__).resolve().parents[2] / "docs"


def generate(docs: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(docs / "generate.py"), *options], capture_output=True, text=True, check=False
    )


def test_the_pages_are_fresh() -> None:
    result = generate(DOCS, "--check")
    assert result.returncode == 0, result.stdout + result.stderr


def test_stale_pages_are_found_and_written(tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    shutil.copytree(DOCS, docs, ignore=shutil.ignore_patterns("__pycache__"))
    (docs / "reference" / "arguments.md").write_text("old")
    result = generate(docs, "--check")
    assert (result.returncode, "stale: docs/reference/arguments.md" in result.stdout) == (1, True)
    assert (docs / "reference" / "arguments.md").read_text() == "old"
    assert generate(docs).returncode == 0
    assert generate(docs, "--check").returncode == 0
    assert (docs / "reference" / "arguments.md").read_text() == (DOCS / "reference" / "arguments.md").read_text()


@pytest.mark.parametrize(("page", "names"), [("arguments", list(ARGUMENTS)), ("settings", list(SETTINGS))])
def test_every_name_has_a_row(page: str, names: list[str]) -> None:
    text = (DOCS / "reference" / f"{page}.md").read_text(encoding="utf-8")
    rows = [line.split("`")[1] for line in text.splitlines() if line.startswith("| `")]
    assert rows[: len(names)] == names
