"""Results in the forms of other libraries, judged by those libraries where they are installed."""

from __future__ import annotations

import json
import sqlite3
import sys
from contextlib import closing

import numpy as np
import pytest
import torch

from yolocore.engine.results import Results

NAMES = {0: "person", 1: "bus"}
SHAPE = (100, 200)  # h, w
BOX = [10.0, 20, 60, 80, 0.9, 1]


def make(path="folder/000042.jpg", names=NAMES, **kwargs):
    return Results(np.full((*SHAPE, 3), 120, np.uint8), path, names, **kwargs)


def masked():
    mask = torch.zeros(1, *SHAPE)
    mask[0, 20:81, 10:61] = 1
    mask[0, 40:50, 30:40] = 0  # a hole, which no polygon shows
    return make(boxes=torch.tensor([BOX]), masks=mask)


def posed(columns=3):
    return make(boxes=torch.tensor([BOX]), keypoints=torch.tensor([[[20.0, 30, 0.5], [100, 50, 0.25]]])[..., :columns])


def tracked():
    return make(boxes=torch.tensor([[10.0, 20, 60, 80, 7, 0.9, 1], [0, 0, 5, 5, 8, 0.25, 0]]))


def rotated():
    return make(obb=torch.tensor([[50.0, 40, 20, 10, 0, 0.75, 1]]))


def classified():
    return make(probs=torch.tensor([0.25, 0.75]))


def nothing():
    return make(boxes=np.zeros((0, 6), np.float32))


class TestSql:
    def rows(self, file, table="results"):
        with closing(sqlite3.connect(file)) as database:
            database.row_factory = sqlite3.Row
            return [dict(row) for row in database.execute(f'SELECT * FROM "{table}" ORDER BY id')]

    def test_results_of_all_tasks_share_a_table(self, tmp_path):
        file = tmp_path / "sub" / "results.db"
        every = [tracked(), masked(), posed(), rotated(), classified(), nothing()]
        assert [r.to_sql(db_path=file) for r in every] == [str(file)] * len(every)
        rows = self.rows(file)
        records = [record for r in every for record in r.summary()]
        assert len(rows) == len(records) == 7
        for row, record in zip(rows, records, strict=True):
            assert row["path"] == "folder/000042.jpg"
            for key in ("name", "class", "confidence", "track_id"):
                assert row[key] == record.get(key)
            for key in ("box", "segments", "keypoints"):
                assert (json.loads(row[key]) if row[key] else None) == record.get(key)

    def test_coordinates_may_be_normalised_and_names_are_only_names(self, tmp_path):
        file, table = tmp_path / "r.db", 'a"; DROP TABLE x; --'
        make(boxes=torch.tensor([BOX])).to_sql(table, file, normalize=True, decimals=2)
        with closing(sqlite3.connect(file)) as database:
            tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type='table'")]
            (box,) = database.execute('SELECT box FROM "a""; DROP TABLE x; --"').fetchone()
        assert tables == [table]
        assert json.loads(box) == {"x1": 0.05, "y1": 0.2, "x2": 0.3, "y2": 0.8}


class TestCoco:
    def test_the_documented_records(self):
        one, two = tracked().to_coco()
        assert one == {"image_id": 42, "category_id": 1, "bbox": [10, 20, 50, 60], "score": 0.9}
        assert two["bbox"] == [0, 0, 5, 5]
        assert make("cat.jpg", boxes=torch.tensor([BOX])).to_coco()[0]["image_id"] == "cat"
        chosen = tracked().to_coco(image_id=5, categories={0: 1, 1: 6})
        assert [(r["image_id"], r["category_id"]) for r in chosen] == [(5, 6), (5, 1)]
        assert classified().to_coco() == nothing().to_coco() == make().to_coco() == []

    def test_rotated_boxes_and_keypoints(self):
        assert rotated().to_coco()[0]["segmentation"] == [[60, 45, 60, 35, 40, 35, 40, 45]]
        assert rotated().to_coco()[0]["bbox"] == [40, 35, 20, 10]
        assert posed().to_coco()[0]["keypoints"] == [20, 30, 0.5, 100, 50, 0.25]
        assert posed(2).to_coco()[0]["keypoints"] == [20, 30, 1, 100, 50, 1]
        assert posed()[[]].to_coco() == posed(2)[:0].numpy().to_coco() == masked()[[]].to_coco() == []

    def test_pycocotools_reads_the_records(self, tmp_path, capsys):
        coco = pytest.importorskip("pycocotools.coco")
        mask_tools = pytest.importorskip("pycocotools.mask")
        truth = {
            "images": [{"id": 42, "height": SHAPE[0], "width": SHAPE[1]}],
            "categories": [{"id": 1, "name": "bus"}],
            "annotations": [],
        }
        (tmp_path / "truth.json").write_text(json.dumps(truth))
        (tmp_path / "found.json").write_text(json.dumps(masked().to_coco()))
        found = coco.COCO(str(tmp_path / "truth.json")).loadRes(str(tmp_path / "found.json"))
        capsys.readouterr()
        record = found.anns[1]
        wanted = mask_tools.encode(np.asfortranarray(masked().masks.on_image()[0].astype(np.uint8)))
        assert record["segmentation"] == {"size": wanted["size"], "counts": wanted["counts"].decode()}
        assert mask_tools.area(record["segmentation"]) == 61 * 51 - 100


class TestSupervision:
    def test_without_the_package_the_error_names_it(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "supervision", None)
        with pytest.raises(ImportError, match=r"yolocore\[supervision\]"):
            tracked().to_supervision()

    @pytest.fixture
    def supervision(self):
        return pytest.importorskip("supervision")

    def test_detections(self, supervision):
        found = tracked().to_supervision()
        assert isinstance(found, supervision.Detections)
        assert found.xyxy.tolist() == [[10, 20, 60, 80], [0, 0, 5, 5]]
        assert found.confidence.tolist() == pytest.approx([0.9, 0.25])
        assert (found.class_id.tolist(), found.tracker_id.tolist()) == ([1, 0], [7, 8])
        assert found["class_name"].tolist() == ["bus", "person"]
        assert len(nothing().to_supervision()) == len(make().to_supervision()) == 0

    def test_other_tasks(self, supervision):
        assert masked().to_supervision().mask.tolist() == masked().masks.on_image().tolist()
        corners = rotated().to_supervision()["xyxyxyxy"]
        assert corners.tolist() == [[[60, 45], [60, 35], [40, 35], [40, 45]]]
        points = posed().to_supervision()
        assert isinstance(points, supervision.KeyPoints)
        assert points.xy.tolist() == [[[20, 30], [100, 50]]]
        assert points.class_id.tolist() == [1]
        newest = "keypoint_confidence" in supervision.KeyPoints.__dataclass_fields__
        scores = "keypoint_confidence" if newest else "confidence"
        assert getattr(points, scores).tolist() == [[0.5, 0.25]]
        assert getattr(posed(2).to_supervision(), scores) is None
        best = classified().to_supervision()
        assert isinstance(best, supervision.Classifications)
        assert [values.tolist() for values in best.get_top_k(1)] == [[1], [0.75]]
