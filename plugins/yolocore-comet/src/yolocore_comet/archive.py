"""Looks whether the archive that Comet leaves of an offline experiment is whole."""

from __future__ import annotations

import json
import zipfile
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

META, MESSAGES = "experiment.json", "messages.json"
OWN_METRIC = "process duration"  # that Comet adds by itself


def newest_archive(folder: Path, key: str) -> Path | None:
    """Return the archive of the experiment ``key`` that was written last; a resumed one has several."""
    return max(folder.glob(f"{key}*.zip"), key=lambda path: path.stat().st_mtime_ns, default=None)


def messages(archive: Path) -> Iterator[dict[str, Any]]:
    """Yield what was recorded, in order: ``{"type", "payload"}``.

    Raises:
        OSError: the file cannot be read.
        zipfile.BadZipFile: it is no archive.
        KeyError: it holds no messages.
        ValueError: a message is torn.
    """
    with zipfile.ZipFile(archive) as opened:
        for line in opened.read(MESSAGES).splitlines():
            yield json.loads(line)


def fault(archive: Path | None, metrics: int) -> str:
    """Return what is wrong with an archive; empty when it can be uploaded.

    Args:
        archive: the file.
        metrics: how many numbers it must hold at least.
    """
    if archive is None:
        return "there is no archive"
    try:
        with zipfile.ZipFile(archive) as opened:
            broken, members = opened.testzip(), set(opened.namelist())
        if broken or META not in members:
            return f"{archive}: {broken or META} is damaged or missing"
        recorded = list(messages(archive))
    except (OSError, zipfile.BadZipFile, KeyError, ValueError) as error:
        return f"{archive} cannot be read: {error}"
    lost = {m["payload"]["file_path"] for m in recorded if m["type"] == "file_upload"} - members
    if lost:
        return f"{archive} lacks {len(lost)} of the files it names"
    numbers = [m["payload"]["metric"]["metricName"] for m in recorded if m["type"] == "metric_msg"]
    count = len(numbers) - numbers.count(OWN_METRIC)
    return f"{archive} holds {count} of {metrics} numbers" if count < metrics else ""
