"""How good tracks are: MOTA, IDF1 and HOTA.

MOTA: Bernardin and Stiefelhagen, "Evaluating Multiple Object Tracking Performance" (2008). IDF1: Ristani et al.,
"Performance Measures and a Data Set for Multi-Target, Multi-Camera Tracking" (2016). HOTA: Luiten et al., "HOTA: A
Higher Order Metric for Evaluating Multi-Object Tracking" (2020), equations 5 to 8.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from yolocore.trackers.matching import assign, iou_matrix

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from yolocore.trackers.mot import TrackRows

    Floats = NDArray[np.floating]

MATCH: Final = 0.5  # overlap from which a box is found, for MOTA and IDF1
ALPHAS: Final = tuple(round(0.05 * k, 2) for k in range(1, 20))  # the same for HOTA, averaged
EPS: Final = float(np.finfo(float).eps)
CONTINUES: Final = 1000.0  # a pair of the frame before is worth more than any overlap


@dataclass(frozen=True, slots=True)
class TrackScores:
    """Scores of tracks; shares in [0, 1], ``mota`` up to 1.

    Attributes:
        mota: 1 - (misses + false boxes + switches) / boxes of the truth.
        idf1: F1 of boxes under the best one-to-one map of identities.
        hota: geometric mean of ``deta`` and ``assa``, averaged over the overlaps 0.05 to 0.95.
        deta: how well objects are found.
        assa: how well identities are kept.
        precision: share of the boxes that are right.
        recall: share of the truth that is found.
        switches: how often the identity of an object changes.
        misses: boxes of the truth not found.
        false_boxes: boxes where nothing is.
        truth_ids: number of objects.
        track_ids: number of tracks.
    """

    mota: float
    idf1: float
    hota: float
    deta: float
    assa: float
    precision: float
    recall: float
    switches: int
    misses: int
    false_boxes: int
    truth_ids: int
    track_ids: int

    def as_dict(self) -> dict[str, float]:
        """Return name to number."""
        return asdict(self)


class _Frame(NamedTuple):
    """One frame: identities (from 0) of truth (G,) and tracks (T,), and their overlaps (G, T)."""

    truth: NDArray[np.intp]
    tracks: NDArray[np.intp]
    overlap: Floats


def evaluate(truth: TrackRows, tracks: TrackRows) -> TrackScores:
    """Compare tracks with the truth.

    Tracks on distractors are left out first; then only what counts in the truth is used.
    """
    pairs = [_without_distractors(*frame) for frame in _by_frame(truth, tracks)]
    truth_ids, truth_numbers = _numbered([t.id for t, _ in pairs])
    track_ids, track_numbers = _numbered([t.id for _, t in pairs])
    frames = [
        _Frame(g, t, iou_matrix(there.xywh, found.xywh))
        for g, t, (there, found) in zip(truth_numbers, track_numbers, pairs, strict=True)
    ]
    found, false, switches = _clear(frames, truth_ids)
    total, boxes = sum(len(f.truth) for f in frames), sum(len(f.tracks) for f in frames)
    hota, deta, assa = _hota(frames, truth_ids, track_ids)
    return TrackScores(
        mota=(found - false - switches) / max(total, 1),
        idf1=2 * _identity(frames, truth_ids, track_ids) / max(total + boxes, 1),
        hota=hota,
        deta=deta,
        assa=assa,
        precision=found / max(boxes, 1),
        recall=found / max(total, 1),
        switches=switches,
        misses=total - found,
        false_boxes=false,
        truth_ids=truth_ids,
        track_ids=track_ids,
    )


def _by_frame(truth: TrackRows, tracks: TrackRows) -> list[tuple[TrackRows, TrackRows]]:
    numbers = np.union1d(truth.frame, tracks.frame)
    return [(truth[truth.frame == k], tracks[tracks.frame == k]) for k in numbers]


def _without_distractors(truth: TrackRows, tracks: TrackRows) -> tuple[TrackRows, TrackRows]:
    rows, columns = _best_pairs(iou_matrix(truth.xywh, tracks.xywh), MATCH)
    harmless = columns[truth.distracts[rows]]
    return truth[truth.counts], tracks[np.delete(np.arange(len(tracks)), harmless)]


def _numbered(ids: Sequence[NDArray[np.int64]]) -> tuple[int, list[NDArray[np.intp]]]:
    """Return how many identities there are, and for every frame their numbers from 0."""
    known, numbers = np.unique(np.concatenate([np.empty(0, np.int64), *ids]), return_inverse=True)
    return len(known), np.split(numbers, np.cumsum([len(i) for i in ids])[:-1]) if ids else []


def _best_pairs(overlap: Floats, least: float) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the pairs of overlap ``least`` or more with the greatest sum."""
    return assign(-np.where(overlap >= least - EPS, overlap, 0), -EPS)


def _clear(frames: Sequence[_Frame], truth_ids: int) -> tuple[int, int, int]:
    """Return right boxes, false boxes and switches of identity."""
    last_seen, just_seen = np.full(truth_ids, -1), np.full(truth_ids, -1)
    right = false = switches = 0
    for frame in frames:
        if not frame.overlap.size:  # as TrackEval has it, what was matched before such a frame goes on after it
            false += len(frame.tracks)
            continue
        score = np.where(frame.overlap >= MATCH - EPS, frame.overlap, 0)
        goes_on = frame.tracks == just_seen[frame.truth][:, None]
        rows, columns = assign(-(score + CONTINUES * (goes_on & (score > 0))), -EPS)
        objects, chosen = frame.truth[rows], frame.tracks[columns]
        switches += int(((last_seen[objects] >= 0) & (last_seen[objects] != chosen)).sum())
        last_seen[objects] = chosen
        just_seen[:] = -1
        just_seen[objects] = chosen
        right += len(rows)
        false += len(frame.tracks) - len(rows)
    return right, false, switches


def _identity(frames: Sequence[_Frame], truth_ids: int, track_ids: int) -> int:
    """Return the boxes that are right under the best one-to-one map of identities."""
    together = np.zeros((truth_ids, track_ids))
    for frame in frames:
        rows, columns = np.nonzero(frame.overlap >= MATCH)
        np.add.at(together, (frame.truth[rows], frame.tracks[columns]), 1)
    rows, columns = assign(-together, -EPS)
    return int(together[rows, columns].sum())


def _hota(frames: Sequence[_Frame], truth_ids: int, track_ids: int) -> tuple[float, float, float]:
    """Return HOTA, DetA and AssA, averaged over the overlaps."""
    potential = np.zeros((truth_ids, track_ids))
    truth_count, track_count = np.zeros(truth_ids), np.zeros(track_ids)
    for frame in frames:
        around = frame.overlap.sum(0)[None] + frame.overlap.sum(1)[:, None] - frame.overlap
        shares = np.where(around > EPS, frame.overlap / np.maximum(around, EPS), 0)
        potential[np.ix_(frame.truth, frame.tracks)] += shares
        np.add.at(truth_count, frame.truth, 1)
        np.add.at(track_count, frame.tracks, 1)
    likely = potential / np.maximum(truth_count[:, None] + track_count - potential, EPS)
    matches = np.zeros((len(ALPHAS), truth_ids, track_ids))
    for frame in frames:
        rows, columns = assign(-(likely[np.ix_(frame.truth, frame.tracks)] * frame.overlap), 0.0)
        good = frame.overlap[rows, columns] >= np.array(ALPHAS)[:, None] - EPS  # (alphas, pairs)
        matches[:, frame.truth[rows], frame.tracks[columns]] += good
    found = matches.sum((1, 2))
    deta = found / np.maximum(truth_count.sum() + track_count.sum() - found, 1)
    ways = matches / np.maximum(truth_count[:, None] + track_count - matches, 1)
    assa = (matches * ways).sum((1, 2)) / np.maximum(found, 1)
    return float(np.sqrt(deta * assa).mean()), float(deta.mean()), float(assa.mean())
