"""What all converters share: many files in threads, no file replaced, one account of what became of them."""

from __future__ import annotations

import logging
import os
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from yolocore.errors import MissingFileError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from yolocore.data.report import Finding

    Progress = Callable[[int, int], None]

logger = logging.getLogger(__name__)

In = TypeVar("In")
Out = TypeVar("Out")

THREADS = 8
INTERVAL = 2.0  # seconds between two lines of progress
SHOWN = 10


class Conversion(NamedTuple):
    """What became of a conversion.

    Attributes:
        folder: Where the label files are.
        files: Label files written.
        objects: Rows written.
        findings: ``place: reason`` of what could not be converted.
        left_out: Number of objects left out on purpose, by reason.
    """

    folder: Path
    files: int
    objects: int
    findings: list[str]
    left_out: dict[str, int]


class Written(NamedTuple):
    """What became of one source; ``objects`` is ``None`` when no file was written."""

    objects: int | None
    findings: Sequence[Finding] = ()
    left_out: Mapping[str, int] = Counter[str]()


def convert_files(
    function: Callable[[In], Out], items: Sequence[In], what: str, progress: Progress | None = None
) -> list[Out]:
    """Return ``[function(item) for item in items]``, computed in threads.

    Args:
        function: reads, converts and writes one file.
        items: its arguments.
        what: the work, for the log: ``convert_coco``.
        progress: called with the number done and the number of all; by default a line in the log every two seconds.
    """
    started = told = time.monotonic()
    results: list[Out] = []
    with ThreadPoolExecutor(min(THREADS, os.cpu_count() or 1)) as pool:
        for done, result in enumerate(pool.map(function, items), start=1):
            results.append(result)
            if progress is not None:
                progress(done, len(items))
            elif (now := time.monotonic()) - told > INTERVAL and done < len(items):
                told = now
                left = (now - started) / done * (len(items) - done)
                logger.info("%s: %d of %d, %.0f s left", what, done, len(items), left)
    return results


def summarise(what: str, folder: Path, written: Iterable[Written], findings: Iterable[Finding] = ()) -> Conversion:
    """Return the account of a conversion, and log it: the first ten findings as a warning."""
    lines = [finding.line for finding in findings]
    left_out: Counter[str] = Counter()
    counts: list[int] = []
    for item in written:
        lines += [finding.line for finding in item.findings]
        left_out.update(item.left_out)
        counts += [] if item.objects is None else [item.objects]
    if lines:
        more = f"\n  ... and {len(lines) - SHOWN} more" if len(lines) > SHOWN else ""
        logger.warning("%s: %d findings\n  %s%s", what, len(lines), "\n  ".join(lines[:SHOWN]), more)
    aside = "".join(f", {count} x {reason} left out" for reason, count in left_out.items())
    logger.info("%s: %d objects in %d files%s; in %s", what, sum(counts), len(counts), aside, folder)
    return Conversion(folder, len(counts), sum(counts), lines, dict(left_out))


def list_folder(folder: str | Path, suffixes: Iterable[str], what: str) -> list[Path]:
    """Return the files of a directory with one of the suffixes (lower case, with dot), sorted.

    Raises:
        MissingFileError: there is no such directory, or it holds none.
    """
    path = Path(folder).expanduser().absolute()
    if not path.is_dir():
        raise MissingFileError(f"{path}: there is no such folder")
    wanted = set(suffixes)
    files = sorted(p for p in path.iterdir() if p.suffix.lower() in wanted and p.is_file())
    if not files:
        raise MissingFileError(f"{path}: holds no {what} ({', '.join(sorted(wanted))})")
    return files


def write_rows(target: Path, rows: Sequence[str]) -> bool:
    """Write the lines of a new label file; return ``False``, and write nothing, where there is one already."""
    try:
        with target.open("x", encoding="utf-8", newline="\n") as stream:
            stream.writelines(f"{row}\n" for row in rows)
    except FileExistsError:
        return False
    return True
