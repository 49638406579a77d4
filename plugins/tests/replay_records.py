"""What trackers hold of a training, as plain values, read without yolocore and without the trackers' clients."""

from __future__ import annotations

import hashlib
import sqlite3
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

KEY_TAG = "yolocore.training"  # a random name: no two records share it
HPARAMS = "_hparams_/session_start_info"


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


class MlflowRecord:
    """The only run in an MLflow store that is a SQLite file; ``folder`` holds it and its artifacts."""

    def __init__(self, folder: Path) -> None:
        connection = sqlite3.connect(folder / "mlflow.db")
        try:
            query = "SELECT run_uuid, name, status, artifact_uri, start_time, end_time, experiment_id FROM runs"
            ((run, self.name, self.status, uri, self.start, self.end, number),) = connection.execute(query).fetchall()
            query = "SELECT name FROM experiments WHERE experiment_id = ?"
            ((self.experiment,),) = connection.execute(query, [number]).fetchall()
            query = "SELECT key, step, value, is_nan, timestamp FROM metrics WHERE run_uuid = ? ORDER BY key, step"
            rows = connection.execute(query, [run]).fetchall()
            self.params = dict(connection.execute("SELECT key, value FROM params WHERE run_uuid = ?", [run]))
            self.tags = dict(connection.execute("SELECT key, value FROM tags WHERE run_uuid = ?", [run]))
        finally:
            connection.close()
        assert self.tags.pop(KEY_TAG)
        self.times = [when for *_, when in rows]
        self.metrics: dict[str, list[tuple[int, Any]]] = {}
        for key, step, value, is_nan, _ in rows:
            self.metrics.setdefault(key, []).append((step, "nan" if is_nan else value))
        artifacts = folder / "artifacts" / Path(urlsplit(uri).path).relative_to(folder.parent / "mlflow" / "artifacts")
        files = [path for path in artifacts.rglob("*") if path.is_file()]
        self.artifacts = {path.relative_to(artifacts).as_posix(): sha256(path) for path in files}


class TensorBoardRecord:
    """Everything in the event files of a directory."""

    def __init__(self, folder: Path) -> None:
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        everything = {"scalars": 0, "images": 0, "tensors": 0, "graph": 0}
        events = EventAccumulator(str(folder), size_guidance=everything).Reload()
        tags = events.Tags()
        self.scalars = {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in tags["scalars"]}
        self.times = [e.wall_time for tag in tags["scalars"] for e in events.Scalars(tag)]
        self.images = {
            tag: [
                (e.step, e.width, e.height, hashlib.sha256(e.encoded_image_string).hexdigest())
                for e in events.Images(tag)
            ]
            for tag in tags["images"]
        }
        self.hparams = events.SummaryMetadata(HPARAMS).plugin_data.content
        self.graph = [(node.name, node.op, tuple(node.input)) for node in events.Graph().node]
