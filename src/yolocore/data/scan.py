"""Scanning a split: every image checked, every label row read, every fault counted and located."""

from __future__ import annotations

import logging
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from yolocore.config.dataset_info import DatasetInfo
from yolocore.data import scan_cache
from yolocore.data.formats import reader_for
from yolocore.data.images import IMG_FORMATS, MAX_PIXELS, ImageFault
from yolocore.data.labels import LabelStore, to_offsets
from yolocore.data.readers import LabelText
from yolocore.data.report import Finding, ScanReport
from yolocore.data.row_faults import diagnose, good_lines
from yolocore.data.rows import Rows, Schema, assemble, parse_fast, suspicious
from yolocore.data.scan_folders import scan_folders
from yolocore.data.verify import verify_image
from yolocore.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from yolocore.data.readers import LabelReader

logger = logging.getLogger(__name__)

CHUNK = 512
SHOWN = 10
SLOW_DISK = 1e-3  # seconds an image; threads only pay where files are waited for
SLOW_DISK_THREADS = 8
OTHER_SIZE = "annotated for an image of another shape"
ASPECT_TOLERANCE = 0.02
NO_LABELS = LabelText(b"")
PAST_EDGE = "box past the edge (clipped when used)"


def scan(
    info: Mapping[str, Any],
    split: str,
    *,
    task: str,
    strict: bool = False,
    fraction: float = 1.0,
    cache: bool = True,
    max_pixels: int = MAX_PIXELS,
    workers: int | None = None,
) -> tuple[LabelStore, ScanReport]:
    """Read all labels of a split and check all its images; nothing is written into the dataset.

    Args:
        info: The checked description, from ``load_dataset``.
        split: ``train``, ``val`` or ``test``.
        task: ``detect``, ``segment``, ``pose``, ``obb`` or ``classify``.
        strict: Turn every finding into an error. Background images are no finding.
        fraction: Use the first ``round(fraction * n)`` images in sorted order, at least one.
        cache: Keep the result in the user cache directory and use it while paths, sizes and times agree.
        max_pixels: The setting of that name.
        workers: Threads; 0 for none, ``None`` for threads only when reading turns out slow.

    Returns:
        The store and the report. The first ten findings are logged as a warning, all of them as information.

    Raises:
        DataError: no image, no usable label, or (``strict``) any finding.
        MissingFileError: the split does not exist.
    """
    entries = info.split(split) if isinstance(info, DatasetInfo) else list(info[split])
    reader = reader_for(info, task)
    images, problems = reader.images(entries)
    if not images:
        raise DataError(_no_images(split, entries, problems))
    if fraction < 1.0:
        images = images[: max(1, round(fraction * len(images)))]
    if task == "classify":
        store, report = scan_folders(info, split, images, max_pixels)
    else:
        schema = Schema(
            task,
            getattr(info, "label_classes", info["nc"]),
            tuple(info.get("kpt_shape") or (0, 0)) if task == "pose" else (0, 0),
        )
        store, report = _scan_cached(images, reader, schema, split, cache=cache, max_pixels=max_pixels, workers=workers)
    report.findings[:0] = problems
    _log(report)
    _check(store, report, reader.label_files(images[:1])[0], images, entries, task=task, strict=strict)
    return store, report


def _scan_cached(
    images: list[str],
    reader: LabelReader,
    schema: Schema,
    split: str,
    *,
    cache: bool,
    max_pixels: int,
    workers: int | None,
) -> tuple[LabelStore, ScanReport]:
    if not cache:
        return scan_files(images, reader, schema, split, max_pixels=max_pixels, workers=workers)
    labels = list(dict.fromkeys(reader.label_files(images)))
    key = (schema.task, schema.nc, schema.kpt_shape, max_pixels, *reader.key)
    file, signature = scan_cache.identify(images, labels, key, split)
    hit = scan_cache.load(file, signature)
    if hit is not None:
        store, fields = hit
        return store, ScanReport.restore(fields)
    store, report = scan_files(images, reader, schema, split, max_pixels=max_pixels, workers=workers)
    scan_cache.save(file, signature, store, report)
    return store, report


class _Chunk(NamedTuple):
    """Result of a slice of the images."""

    kept: list[int]
    shapes: list[tuple[int, int]]
    counts: NDArray[np.int64]
    rows: Rows
    report: ScanReport


def scan_files(
    images: Sequence[str],
    reader: LabelReader,
    schema: Schema,
    split: str,
    *,
    max_pixels: int = MAX_PIXELS,
    workers: int | None = None,
) -> tuple[LabelStore, ScanReport]:
    """Scan images and their labels, without cache and without deciding what is fatal."""
    labels = reader.label_files(images)
    slices = [slice(start, start + CHUNK) for start in range(0, len(images), CHUNK)]

    def work(part: slice) -> _Chunk:
        return _scan_chunk(images[part], labels[part], reader, schema, split, max_pixels)

    chunks: list[_Chunk] = []
    if workers is None:
        start = time.perf_counter()
        chunks.append(work(slices[0]))
        workers = SLOW_DISK_THREADS if time.perf_counter() - start > SLOW_DISK * len(chunks[0].kept) else 0
    rest = slices[len(chunks) :]
    if workers and len(rest) > 1:
        with ThreadPoolExecutor(workers) as pool:
            chunks += pool.map(work, rest)
    else:
        chunks += [work(part) for part in rest]
    return _join(images, slices, chunks, split)


def _scan_chunk(
    images: Sequence[str], labels: Sequence[str], reader: LabelReader, schema: Schema, split: str, max_pixels: int
) -> _Chunk:
    report = ScanReport(split)
    kept: list[int] = []
    shapes: list[tuple[int, int]] = []
    texts: list[LabelText] = []
    for index, (image, label) in enumerate(zip(images, labels, strict=True)):
        try:
            text = reader.read(image, label)
            shape, note = verify_image(image, max_pixels)
        except ImageFault as fault:
            report.findings.append(fault.finding)
            continue
        if note:
            report.remarks.append(Finding(image, note, note))
        kept.append(index)
        shapes.append(shape)
        report.missing += text is None
        texts.append(text or NO_LABELS)
        if text is not None and text.size is not None:
            _tell(text, text.size, image, shape, report)
    files = [labels[i] for i in kept]
    values, columns, owners = _read_rows(texts, files, schema, report)
    rows = assemble(values, columns, schema)
    per_image = np.bincount(owners, minlength=len(kept)).astype(np.int64)
    report.remarks += _past_edge(rows, owners, texts, files, schema)
    report.images, report.objects, report.corrupt = len(kept), len(columns), len(images) - len(kept)
    report.empty -= report.missing
    return _Chunk(kept, shapes, per_image, rows, report)


def _tell(
    text: LabelText,
    size: tuple[float, float],
    image: str,
    shape: tuple[int, int],
    report: ScanReport,
) -> None:
    """Report what a format other than label files tells: findings, and a size (w, h) not like that of the image (h, w)."""
    report.findings += text.findings
    report.leave_out(text.left_out)
    (w, h), (height, width) = size, shape
    if abs(w * height - h * width) > ASPECT_TOLERANCE * w * height:
        message = f"{OTHER_SIZE}: {w:g} x {h:g}, not {width} x {height}"
        report.remarks.append(Finding(image, OTHER_SIZE, message))


def _read_rows(
    texts: Sequence[LabelText], labels: Sequence[str], schema: Schema, report: ScanReport
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """Return the numbers (T,), column counts (R,) and image indices (R,) of all good rows of a chunk."""
    parsed: list[tuple[list[float], list[int]]] = []
    doubtful: set[int] = set()
    for index, (data, *_) in enumerate(texts):
        try:
            parsed.append(parse_fast(data) if data else ([], []))
        except ValueError:
            parsed.append(([], []))
            doubtful.add(index)
            continue
        filled = bool(parsed[-1][1])
        report.found += filled
        report.empty += not filled
    values, columns, owners = _concatenate(parsed)
    doubtful.update(owners[suspicious(values, columns, owners, schema)].tolist())
    if not doubtful:
        return values, columns, owners
    for index in sorted(doubtful):
        report.found += not parsed[index][1]
        good_values, good_columns, faults = diagnose(texts[index].data, schema)
        parsed[index] = (good_values, good_columns)
        for line, reason, message in faults:
            report.findings.append(Finding(_place(texts[index], labels[index], line), reason, message))
    return _concatenate(parsed)


def _concatenate(
    parsed: Sequence[tuple[list[float], list[int]]],
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    values = np.fromiter(chain.from_iterable(numbers for numbers, _ in parsed), dtype=np.float64)
    columns = np.fromiter(chain.from_iterable(counts for _, counts in parsed), dtype=np.int64)
    owners = np.repeat(np.arange(len(parsed)), [len(counts) for _, counts in parsed])
    return values, columns, owners


def _place(text: LabelText, label: str, line: int) -> str:
    """Return where a row, counted from one, comes from."""
    return text.places[line - 1] if text.places else f"{label}:{line}"


def _past_edge(
    rows: Rows, owners: NDArray[np.int64], texts: Sequence[LabelText], labels: Sequence[str], schema: Schema
) -> list[Finding]:
    half = rows.bboxes[:, 2:] / 2
    low, high = rows.bboxes[:, :2] - half, rows.bboxes[:, :2] + half
    past = np.flatnonzero(((low < -1e-3) | (high > 1 + 1e-3)).any(1))
    found = []
    for owner in np.unique(owners[past]).tolist():
        lines = good_lines(texts[owner].data, schema)
        first = np.searchsorted(owners, owner)
        places = [_place(texts[owner], labels[owner], lines[row - first]) for row in past[owners[past] == owner]]
        found += [Finding(place, PAST_EDGE, PAST_EDGE) for place in places]
    return found


def _join(
    images: Sequence[str], slices: Sequence[slice], chunks: Sequence[_Chunk], split: str
) -> tuple[LabelStore, ScanReport]:
    report = ScanReport(split)
    for chunk in chunks:
        for name in ("images", "objects", "found", "missing", "empty", "corrupt"):
            setattr(report, name, getattr(report, name) + getattr(chunk.report, name))
        report.findings += chunk.report.findings
        report.remarks += chunk.report.remarks
        report.leave_out(chunk.report.left_out)
    rows = [chunk.rows for chunk in chunks]
    keypoints = [row.keypoints for row in rows if row.keypoints is not None]
    shapes = [shape for chunk in chunks for shape in chunk.shapes]
    store = LabelStore(
        im_files=[images[part.start + i] for part, chunk in zip(slices, chunks, strict=True) for i in chunk.kept],
        shapes=np.array(shapes, dtype=np.int32).reshape(-1, 2),
        offsets=to_offsets(np.concatenate([chunk.counts for chunk in chunks])),
        cls=np.concatenate([row.cls for row in rows]),
        bboxes=np.concatenate([row.bboxes for row in rows]),
        seg_points=np.concatenate([row.seg_points for row in rows]),
        seg_offsets=to_offsets(np.concatenate([row.seg_counts for row in rows])),
        keypoints=np.concatenate(keypoints) if keypoints else None,
    )
    return store, report


def _log(report: ScanReport) -> None:
    logger.info("%s%s", report.summary(), " (cached)" if report.cached else "")
    if lines := report.lines:
        more = len(lines) - SHOWN
        tail = f"\n  ... and {more} more, listed in the log at level INFO" if more > 0 else ""
        shown = "\n  ".join(lines[:SHOWN])
        logger.warning("%s: %d findings (%s)\n  %s%s", report.split, len(lines), report.reasons(), shown, tail)
        if more > 0:
            logger.info("%s: the other findings\n  %s", report.split, "\n  ".join(lines[SHOWN:]))
    for remark in [remark for remark in report.remarks if remark.reason != PAST_EDGE][:SHOWN]:
        logger.warning("%s", remark.line)


def _check(
    store: LabelStore,
    report: ScanReport,
    label: str,
    images: Sequence[str],
    entries: Sequence[str],
    *,
    task: str,
    strict: bool,
) -> None:
    if strict and report.counts:
        found = (report.lines + report.notes)[:SHOWN]
        raise DataError(f"strict: {report.split} has findings ({report.reasons()}):\n  " + "\n  ".join(found))
    if len(store) and len(store.cls):
        return
    reasons = f" Reasons: {report.reasons()}." if report.counts else ""
    first = "\n  ".join(report.lines[:3])
    if not len(store):
        text = f"{report.split}: none of the {len(images)} images in {', '.join(entries)} can be used.{reasons}"
    else:
        text = (
            f"{report.split}: no usable label for {len(images)} images in {', '.join(entries)} (task {task})."
            f"{reasons} Label files are searched as {label}: {report.found} with rows, {report.empty} empty, "
            f"{report.missing} missing."
        )
    raise DataError(text + (f"\n  {first}" if first else ""))


def _no_images(split: str, entries: Sequence[str], problems: Sequence[Finding]) -> str:
    suffixes = ", ".join(sorted(IMG_FORMATS))
    text = f"{split}: no image found in {', '.join(entries)}; searched recursively for {suffixes}"
    return text + "".join(f"\n  {problem.line}" for problem in problems[:SHOWN])
