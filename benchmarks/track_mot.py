"""Tracks from public detections of MOTChallenge sequences: MOTA, IDF1 and HOTA of ours, beside a kept library's ByteTrack.

Runs in any environment that has numpy, opencv, pydantic, pluggy, importlib-metadata and pyyaml (``PYTHONPATH=src``);
the libraries ``trackers``, ``supervision`` (below 0.27) and ``trackeval`` are used where they are installed. All get
the same detections: scores of a file whose greatest is above 1 are mapped to 0-1 by their ranks (``--scores one``: all
are 1; ``raw``: as they stand). Settings are the same for all: 0.25 for a strong detection and for a new track, cost up
to 0.8, 30 frames of patience at 30 frames a second. ``trackers`` does not multiply overlaps by scores: its row
compares with ``bytetrack_plain``. With ``trackeval`` there, the greatest distance of our scores from its is printed as
well.
Prints one JSON line a sequence. Usage: python benchmarks/track_mot.py --root DATA/mot
"""

from __future__ import annotations

import argparse
import configparser
import importlib.util
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from yolocore.trackers import BotSortConfig, BotSortTracker, ByteTrackConfig, ByteTracker
from yolocore.trackers.evaluation import evaluate
from yolocore.trackers.matching import iou_matrix
from yolocore.trackers.mot import TrackRows, read_truth


def detections(file: Path, mapped: str) -> list[tuple[int, np.ndarray, np.ndarray]]:
    """Return frame, boxes xyxy and scores in [0, 1], for every frame up to the last."""
    rows = np.loadtxt(file, delimiter=",", ndmin=2)
    score = rows[:, 6]
    if mapped == "one":
        score = np.ones(len(score))
    elif score.max() > 1 and mapped == "rank":
        score = (score.argsort().argsort() + 1) / len(score)
    boxes = np.concatenate([rows[:, 2:4], rows[:, 2:4] + rows[:, 4:6]], 1)
    last = int(rows[:, 0].max())
    return [(k, boxes[rows[:, 0] == k], score[rows[:, 0] == k]) for k in range(1, last + 1)]


def ours(tracker: Any, frames: list) -> TrackRows:
    """Run one of ours."""
    out = []
    for frame, boxes, scores in frames:
        rows = tracker.update(boxes, scores, np.zeros(len(scores)))
        out.append(np.c_[np.full(len(rows), frame), rows[:, 4], rows[:, :4]])
    return as_rows(np.concatenate(out))


def library(tracker: Any, frames: list) -> TrackRows:
    """Run a tracker of ``trackers`` or ``supervision``."""
    import supervision as sv

    update = getattr(tracker, "update_with_detections", None) or tracker.update
    out = []
    for frame, boxes, scores in frames:
        found = sv.Detections(
            xyxy=boxes.astype(np.float32), confidence=scores.astype(np.float32), class_id=np.zeros(len(boxes), int)
        )
        found = update(found)
        known = np.asarray(found.tracker_id if found.tracker_id is not None else np.full(len(found), -1)) >= 0
        out.append(np.c_[np.full(known.sum(), frame), np.asarray(found.tracker_id)[known], found.xyxy[known]])
    return as_rows(np.concatenate(out))


def as_rows(table: np.ndarray) -> TrackRows:
    """Turn frame, id, xyxy into rows."""
    xyxy = table[:, 2:]
    return TrackRows.tracks(table[:, 0], table[:, 1], np.c_[(xyxy[:, :2] + xyxy[:, 2:]) / 2, xyxy[:, 2:] - xyxy[:, :2]])


def contestants(rate: float) -> dict[str, Any]:
    """Return name to a function from frames to rows."""
    made: dict[str, Any] = {
        "bytetrack": lambda frames: ours(ByteTracker(frame_rate=rate), frames),
        "bytetrack_plain": lambda frames: ours(ByteTracker(ByteTrackConfig(fuse_score=False), rate), frames),
        "botsort": lambda frames: ours(BotSortTracker(BotSortConfig(gmc_method="none"), rate), frames),
    }
    if importlib.util.find_spec("trackers"):
        from trackers import ByteTrackTracker

        same = {"track_activation_threshold": 0.25, "high_conf_det_threshold": 0.25, "minimum_iou_threshold": 0.2}
        made["library_trackers"] = lambda frames: library(ByteTrackTracker(frame_rate=rate, **same), frames)
        made["library_trackers_defaults"] = lambda frames: library(ByteTrackTracker(frame_rate=rate), frames)
    if importlib.util.find_spec("supervision"):
        import supervision as sv

        if hasattr(sv, "ByteTrack"):
            made["library_supervision"] = lambda frames: library(sv.ByteTrack(frame_rate=rate), frames)
    return made


def by_trackeval(truth: TrackRows, tracks: TrackRows) -> dict[str, float]:
    """Return the scores that ``trackeval`` gives, for a truth without distractors."""
    from trackeval.metrics import CLEAR, HOTA, Identity

    truth_ids, track_ids = np.unique(truth.id), np.unique(tracks.id)
    data: dict[str, Any] = {"gt_ids": [], "tracker_ids": [], "similarity_scores": []}
    for frame in np.union1d(truth.frame, tracks.frame):
        there, found = truth[truth.frame == frame], tracks[tracks.frame == frame]
        data["gt_ids"].append(np.searchsorted(truth_ids, there.id))
        data["tracker_ids"].append(np.searchsorted(track_ids, found.id))
        data["similarity_scores"].append(iou_matrix(there.xywh, found.xywh))
    data |= {"num_gt_ids": len(truth_ids), "num_tracker_ids": len(track_ids)}
    data |= {"num_gt_dets": len(truth), "num_tracker_dets": len(tracks), "num_timesteps": len(data["gt_ids"])}
    quiet = {"PRINT_CONFIG": False}
    hota = HOTA(quiet).eval_sequence(data)
    clear = CLEAR(quiet).eval_sequence(data)
    identity = Identity(quiet).eval_sequence(data)
    return {"mota": clear["MOTA"], "idf1": identity["IDF1"], "hota": float(np.mean(hota["HOTA"]))}


def main() -> None:
    """Run the benchmark."""
    warnings.simplefilter("ignore")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, required=True, help="folder with MOT15/ and MOT17/")
    parser.add_argument("--scores", choices=("rank", "one", "raw"), default="rank")
    args = parser.parse_args()
    root = args.root
    for folder in sorted(p.parent for p in root.glob("*/*/seqinfo.ini")):
        info = configparser.ConfigParser()
        info.read(folder / "seqinfo.ini")
        truth, rate = read_truth(folder / "gt/gt.txt"), float(info["Sequence"]["frameRate"])
        for file in sorted((folder / "det").glob("*.txt")):
            frames = detections(file, args.scores)
            result: dict[str, Any] = {"bench": "track_mot", "sequence": folder.name, "detections": file.stem}
            result["scores"] = args.scores
            for name, run in contestants(rate).items():
                rows = run(frames)
                scores = evaluate(truth, rows).as_dict()
                if importlib.util.find_spec("trackeval") and not truth.distracts.any():
                    theirs = by_trackeval(truth[truth.counts], rows)
                    apart = max(abs(scores[k] - theirs[k]) for k in theirs)
                    result["from_trackeval"] = max(result.get("from_trackeval", 0.0), round(apart, 9))
                shares = {k: round(scores[k] * 100, 2) for k in ("mota", "idf1", "hota")}
                result[name] = {**shares, "switches": scores["switches"], "ids": scores["track_ids"]}
            print(json.dumps(result))


if __name__ == "__main__":
    main()
