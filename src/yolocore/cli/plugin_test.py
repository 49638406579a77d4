"""``yolo plugins test NAME``: runs the conformance kit against an installed plugin, through pytest."""

from __future__ import annotations

import tempfile
import textwrap
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rich.text import Text

from yolocore.cli.terminal import output
from yolocore.errors import PluginError

if TYPE_CHECKING:
    from collections.abc import Sequence

MODULE: Final = """
from yolocore.testing import PluginConformance

class TestPlugin(PluginConformance):
    name = {name!r}
"""
FILL: Final = textwrap.TextWrapper(80, initial_indent=" " * 8, subsequent_indent=" " * 8)
STYLES: Final = {"ok": "green", "FAILED": "bold red", "skipped": "yellow"}


class Listing:
    """A pytest plugin that prints a line per check."""

    def __init__(self) -> None:
        self.counts = dict.fromkeys(STYLES, 0)
        self.started = time.monotonic()

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Print the outcome of a check; a set-up counts only when it did not pass."""
        if report.when != "call" and report.passed:
            return
        word = {"passed": "ok", "failed": "FAILED", "skipped": "skipped"}[report.outcome]
        self.counts[word] += 1
        check = report.nodeid.rsplit("::", 1)[-1].removeprefix("test_").replace("_", " ")
        output().print(Text.assemble((f"{word:8}", STYLES[word]), check), soft_wrap=True)
        if report.outcome == "failed":
            output().print(Text(_message(report)), soft_wrap=True)

    def pytest_collectreport(self, report: Any) -> None:
        """Print why the checks could not be collected."""
        if report.failed:
            output().print(Text(str(report.longrepr)), soft_wrap=True)

    def summary(self) -> str:
        """Return the last line."""
        parts = [f"{count} {word}" for word, count in self.counts.items() if count or word == "ok"]
        return f"{', '.join(parts)} in {time.monotonic() - self.started:.0f} s"


def run_conformance(name: str, options: Sequence[str]) -> int:
    """Run the checks and return pytest's exit status.

    Args:
        name: name of the plugin.
        options: options for pytest, which then reports in its own way.

    Raises:
        PluginError: pytest is missing.
    """
    try:
        import pytest  # only this command needs it
    except ImportError:
        raise PluginError("the checks need pytest: pip install 'pytest>=8.2'") from None
    listing = Listing()
    with tempfile.TemporaryDirectory(prefix="yolocore-test-") as folder:
        root = Path(folder)
        (root / "test_conformance.py").write_text(MODULE.format(name=name), encoding="utf-8")
        (root / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
        words = [str(root), "-c", str(root / "pytest.ini"), "--rootdir", str(root), "-p", "no:cacheprovider"]
        words += ["-p", "yolocore.testing", *(options or ["-p", "no:terminal"])]
        status = int(pytest.main(words, plugins=[] if options else [listing]))
    if not options:
        output().print(Text(listing.summary(), style="bold"))
    return status


def _message(report: Any) -> str:
    crash = getattr(report.longrepr, "reprcrash", None)
    text = crash.message if crash is not None else str(report.longrepr)
    for prefix in ("AssertionError: ", "yolocore.testing.lab.PartFailedError: "):
        text = text.removeprefix(prefix)
    return "\n".join(line if line.startswith(" ") else FILL.fill(line) for line in text.splitlines())
