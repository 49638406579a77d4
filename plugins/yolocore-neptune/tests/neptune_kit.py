"""A reader of Neptune's offline records that does not use Neptune, and what the trainings of the tests share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from yolocore.testing import read_results, two_epochs


def recipe(data: Path | str) -> dict[str, Any]:
    """Return the arguments of a training of two epochs of three batches."""
    return two_epochs(data, "neptune", plots=True)


def records(save_dir: Path) -> list[Path]:
    return sorted((save_dir / ".neptune" / "offline").glob("run__*"), key=lambda path: path.stat().st_ctime_ns)


class Record:
    """The operations in the directory of one offline run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        decoder, self.operations = json.JSONDecoder(), []
        for path in sorted(folder.glob("data-*.log"), key=lambda path: int(path.stem.removeprefix("data-"))):
            text = path.read_text().strip()
            while text:
                item, end = decoder.raw_decode(text)
                self.operations.append(item["obj"])
                text = text[end:].lstrip()
        self.kinds = {operation["type"] for operation in self.operations}

    def of(self, kind: str) -> dict[str, list[dict[str, Any]]]:
        found: dict[str, list[dict[str, Any]]] = {}
        for operation in self.operations:
            if operation["type"] == kind:
                found.setdefault("/".join(operation["path"]), []).append(operation)
        return found

    def values(self) -> dict[str, Any]:
        kinds = ("AssignString", "AssignInt", "AssignFloat", "AssignBool")
        return {key: items[-1]["value"] for kind in kinds for key, items in self.of(kind).items()}

    def series(self) -> dict[str, list[tuple[float, float]]]:
        return {
            key: [(value["step"], value["value"]) for item in items for value in item["values"]]
            for key, items in self.of("LogFloats").items()
        }

    def uploads(self) -> dict[str, list[Path]]:
        return {
            key: [Path(item["file_path"] or self.folder / "upload_path" / item["tmp_file_name"]) for item in items]
            for key, items in self.of("UploadFile").items()
        }


def expect_as_in_csv(series: dict[str, list[tuple[float, float]]], trainer: Any) -> None:
    """Compare every number with ``results.csv``, which has six significant digits."""
    rows = read_results(trainer.save_dir)
    assert set(series) == set(next(iter(rows.values())))
    for key, values in series.items():
        assert [(step, f"{value:.6g}") for step, value in values] == [(n, row[key]) for n, row in rows.items()], key
