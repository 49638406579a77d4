"""The explorer's table: what is in it for every task, when it is reused, what is similar, what a query may do."""

from __future__ import annotations

import gc
import hashlib
import inspect
import json
import math
import os
import shutil
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from media_server import MediaServer
from PIL import Image

import yolocore
from yolocore import YOLO, Explorer
from yolocore.errors import (
    ConfigError,
    ConfigTypeError,
    DataError,
    DataKeyError,
    MissingFileError,
    PluginError,
    UnsupportedError,
)
from yolocore.testing.datasets import make_tiny_dataset, tiny_model, tiny_tasks
from yolocore.tools import explorer_sql
from yolocore.tools.explorer_data import read_split

COLUMNS = ["im_file", "labels", "cls", "bboxes", "masks", "keypoints", "vector"]
NAMES = ("circle", "square", "triangle", "star")
IMAGES = 12


def network(task: str = "detect") -> YOLO:
    torch.manual_seed(5)
    model = YOLO(tiny_model(task))
    model.overrides["imgsz"] = 64
    return model


def count_embeddings(model: YOLO) -> list[str]:
    """Return a list that grows by the images that ``model`` embeds."""
    seen: list[str] = []
    model.add_callback("on_predict_batch_end", lambda predictor: seen.extend(predictor.batch[0]))
    return seen


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve pictures of one size, one much larger, and a copy of the first."""
    root = tmp_path_factory.mktemp("explored")
    description = make_tiny_dataset(root, train=IMAGES)
    folder, labels = root / "images" / "train", root / "labels" / "train"
    first = sorted(folder.iterdir())[0]
    shutil.copy(first, folder / "zz copy.jpg")
    (labels / "zz copy.txt").write_text("")
    cv2.imwrite(str(folder / "zzz wide.jpg"), cv2.resize(cv2.imread(str(first)), (80, 40)))
    shutil.copy(labels / f"{first.stem}.txt", labels / "zzz wide.txt")
    return description


@pytest.fixture(scope="module")
def explorer(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Explorer:
    explorer = Explorer(data, network(), tmp_path_factory.mktemp("store"))
    explorer.create_embeddings_table()
    return explorer


@pytest.fixture(scope="module")
def reference(explorer: Explorer) -> list[list[float]]:
    """The embeddings as the model makes them, one image at a time."""
    files = explorer.sql_query("SELECT im_file FROM 'table'", "dict")["im_file"]
    return [explorer.model.embed(file)[0].tolist() for file in files]


def brute_force(vectors: list[list[float]], query: list[float]) -> list[tuple[float, int]]:
    return sorted((math.dist(vector, query), i) for i, vector in enumerate(vectors))


def rows_of(file: Path) -> list[list[float]]:
    return [[float(v) for v in line.split()] for line in file.read_text().splitlines()]


class TestSurface:
    def test_it_is_a_public_name(self):
        assert {"YOLO", "Explorer", "settings", "__version__"} <= set(dir(yolocore))
        assert yolocore.Explorer is Explorer

    @pytest.mark.parametrize(
        ("name", "signature"),
        [
            ("__init__", "data='coco8.yaml', model='yolo11n.pt', uri=None"),
            ("create_embeddings_table", "force=False, split='train'"),
            ("get_similar", "img=None, idx=None, limit=25, return_type='pandas'"),
            ("sql_query", "query, return_type='pandas'"),
            ("similarity_index", "max_dist=0.2, top_k=None, force=False"),
            ("plot_similar", "img=None, idx=None, limit=25, labels=True"),
            ("plot_sql_query", "query, labels=True"),
            ("plot_similarity_index", "max_dist=0.2, top_k=None, force=False"),
            ("query", "imgs, limit=25"),
            ("ask_ai", "query"),
        ],
    )
    def test_the_documented_signatures(self, name, signature):
        _, *parameters = inspect.signature(getattr(Explorer, name)).parameters.values()
        plain = [parameter.replace(annotation=inspect.Parameter.empty) for parameter in parameters]
        assert ", ".join(map(str, plain)) == signature

    def test_errors_of_the_model_are_those_of_yolo(self, data, tmp_path):
        with pytest.raises(MissingFileError, match=r"nowhere\.pt"):
            Explorer(data, "nowhere.pt")
        with pytest.raises(FileNotFoundError):
            Explorer(tmp_path / "no.yaml", network()).create_embeddings_table()

    def test_an_exported_model_has_no_embeddings(self, data, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        model = network()
        model.save("tiny.pt")
        artefact = YOLO("tiny.pt").export(format="torchscript", imgsz=64, device="cpu")
        with pytest.raises(UnsupportedError, match="exported"):
            Explorer(data, artefact)


class TestTable:
    @pytest.mark.parametrize("task", tiny_tasks())
    def test_every_task(self, task, tmp_path):
        description = make_tiny_dataset(tmp_path / "set", task, train=6)
        explorer = Explorer(description, network(task), tmp_path / "store")
        assert explorer.table is None
        explorer.create_embeddings_table()
        table = explorer.sql_query("SELECT * FROM 'table'", "dict")
        assert list(table) == COLUMNS
        assert len(explorer.table) == len(table["im_file"]) == 6
        for i, file in enumerate(map(Path, table["im_file"])):
            expected = explorer.model.embed(file)[0].tolist()
            assert table["vector"][i] == pytest.approx(expected, abs=1e-5)
            if task == "classify":
                assert table["labels"][i] == [file.parent.name]
                assert table["bboxes"][i] == [[0.5, 0.5, 1, 1]]
                continue
            rows = rows_of(Path(str(file).replace("images", "labels")).with_suffix(".txt"))
            assert table["cls"][i] == [row[0] for row in rows]
            assert table["labels"][i] == [NAMES[int(row[0])] for row in rows]
            if task in ("detect", "pose"):
                assert np.allclose(table["bboxes"][i], [row[1:5] for row in rows], atol=1e-6)
            points = [np.reshape(row[1:], (-1, 2)) for row in rows] if task in ("segment", "obb") else []
            assert len(table["masks"][i]) == len(points)
            for found, given in zip(table["masks"][i], points, strict=True):
                assert np.allclose(found, given, atol=1e-6)
            if task == "pose":
                assert np.allclose(np.reshape(table["keypoints"][i], (-1, 12)), [row[5:] for row in rows], atol=1e-6)
            else:
                assert table["keypoints"][i] == []

    @pytest.mark.parametrize("task", ["segment", "pose", "obb"])
    def test_a_detector_sees_the_labels_that_the_data_has(self, task, tmp_path):
        description = make_tiny_dataset(tmp_path / "set", task, train=3)
        explorer = Explorer(description, network(), tmp_path / "store")
        explorer.create_embeddings_table()
        assert explorer.table.facts["task"] == task
        (count,) = explorer.sql_query("SELECT sum(json_array_length(labels)) AS n FROM 'table'", "dict")["n"]
        column = "keypoints" if task == "pose" else "masks"
        assert sum(map(len, explorer.sql_query("WHERE 1", "dict")[column])) == count > 0

    def test_a_pose_model_takes_a_set_without_keypoints(self, data, tmp_path):
        explorer = Explorer(data, network("pose"), tmp_path)
        explorer.create_embeddings_table(split="val")
        assert explorer.sql_query("WHERE 1", "dict")["keypoints"] == [[]] * 4

    def test_coco_json_works_as_well(self, data, tmp_path):
        images = sorted((data.parent / "images" / "val").iterdir())
        box = {"category_id": 7, "bbox": [8, 4, 16, 8], "iscrowd": 0, "area": 128}
        (tmp_path / "val.json").write_text(
            json.dumps(
                {
                    "images": [
                        {"id": i, "file_name": str(file), "width": 32, "height": 32} for i, file in enumerate(images)
                    ],
                    "annotations": [{**box, "id": i + 1, "image_id": i} for i in range(len(images))],
                    "categories": [{"id": 7, "name": "brick"}],
                }
            )
        )
        (tmp_path / "data.yaml").write_text("train: val.json\nval: val.json\n")
        explorer = Explorer(tmp_path / "data.yaml", network(), tmp_path)
        explorer.create_embeddings_table(split="val")
        table = explorer.sql_query("WHERE labels LIKE '%brick%'", "dict")
        assert table["bboxes"] == [[[0.5, 0.25, 0.5, 0.25]]] * len(images) != []

    def test_each_split_has_its_table_and_a_wrong_one_is_an_error(self, data, tmp_path):
        explorer = Explorer(data, network(), tmp_path)
        explorer.create_embeddings_table(split="val")
        assert len(explorer.table) == 4
        explorer.create_embeddings_table()
        assert len(explorer.table) == IMAGES + 2
        assert len(list(tmp_path.iterdir())) == 2
        with pytest.raises(ConfigError, match="Did you mean 'val'"):
            explorer.create_embeddings_table(split="vall")
        with pytest.raises(DataKeyError, match="test"):
            explorer.create_embeddings_table(split="test")

    def test_the_first_question_makes_the_table_in_the_users_cache(self, data):
        explorer = Explorer(data, network())
        assert len(explorer.get_similar(idx=0, return_type="dict")["im_file"]) == IMAGES + 2
        assert explorer.table.file.parent == Path(os.environ["YOLOCORE_CACHE_DIR"]) / "explorer"

    def test_it_is_reused_by_a_new_explorer(self, data, tmp_path):
        Explorer(data, network(), tmp_path).create_embeddings_table()
        model = network()
        embedded = count_embeddings(model)
        explorer = Explorer(data, model, tmp_path)
        explorer.create_embeddings_table()
        assert not embedded
        assert explorer.get_similar(idx=3, return_type="dict")["_distance"][0] == 0
        explorer.create_embeddings_table(force=True)
        assert len(embedded) == IMAGES + 2

    @pytest.mark.parametrize("change", ["image", "label", "new image", "names", "weights", "imgsz"])
    def test_what_has_changed_is_noticed(self, change, tmp_path):
        description = make_tiny_dataset(tmp_path / "set", train=4)
        folder = description.parent / "images" / "train"
        image = sorted(folder.iterdir())[0]
        Explorer(description, network(), tmp_path / "store").create_embeddings_table()
        model = network()
        if change == "image":
            cv2.imwrite(str(image), 255 - cv2.imread(str(image)))
        elif change == "label":
            Path(str(image).replace("images", "labels")).with_suffix(".txt").write_text("3 0.5 0.5 0.25 0.25\n")
        elif change == "new image":
            shutil.copy(image, folder / "new.png")
        elif change == "names":
            description.write_text(description.read_text().replace("star", "sun"))
        elif change == "weights":
            with torch.no_grad():
                next(model.parameters()).mul_(1.5)
        else:
            model.overrides["imgsz"] = 32
        embedded = count_embeddings(model)
        explorer = Explorer(description, model, tmp_path / "store")
        explorer.create_embeddings_table()
        assert len(embedded) == len(explorer.table) == (5 if change == "new image" else 4)
        row = explorer.sql_query("WHERE rowid = 0", "dict")
        assert row["vector"][0] == pytest.approx(model.embed(row["im_file"][0])[0].tolist(), abs=1e-5)
        if change == "label":
            assert row["labels"] == [["star"]]
        assert len(list((tmp_path / "store").iterdir())) == 1

    def test_an_interrupted_run_leaves_nothing_behind(self, data, tmp_path):
        model = network()

        def stop(predictor: object) -> None:
            raise KeyboardInterrupt

        model.add_callback("on_predict_batch_end", stop)
        explorer = Explorer(data, model, tmp_path)
        with pytest.raises(KeyboardInterrupt):
            explorer.create_embeddings_table()
        assert explorer.table is None
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("damage", ["cut", "nonsense", "empty"])
    def test_a_damaged_file_is_replaced(self, damage, data, tmp_path, caplog):
        Explorer(data, network(), tmp_path).create_embeddings_table()
        (file,) = tmp_path.iterdir()
        content = file.read_bytes()
        file.write_bytes({"cut": content[:5000], "nonsense": b"no database" * 1000, "empty": b""}[damage])
        explorer = Explorer(data, network(), tmp_path)
        explorer.create_embeddings_table()
        assert len(explorer.sql_query("WHERE 1", "dict")["im_file"]) == IMAGES + 2

    def test_a_place_that_cannot_be_written_to_is_told_before_the_work(self, data, tmp_path):
        (tmp_path / "taken").write_text("")
        model = network()
        embedded = count_embeddings(model)
        with pytest.raises(ConfigError, match=r"taken.*cannot be written"):
            Explorer(data, model, tmp_path / "taken").create_embeddings_table()
        assert not embedded

    def test_images_that_broke_since_the_scan_are_left_out(self, tmp_path, caplog):
        description = make_tiny_dataset(tmp_path / "set", train=4)
        images = sorted((description.parent / "images" / "train").iterdir())
        read_split(description, "train", "detect")
        times = images[1].stat()
        images[1].write_bytes(bytes(times.st_size))
        os.utime(images[1], ns=(times.st_atime_ns, times.st_mtime_ns))
        explorer = Explorer(description, network(), tmp_path / "store")
        explorer.create_embeddings_table()
        table = explorer.sql_query("SELECT rowid, im_file, labels FROM 'table'", "dict")
        assert table["im_file"] == [str(file) for file in images if file != images[1]]
        assert table["rowid"] == [0, 1, 2]
        assert f"left out: {images[1]}" in caplog.text

    def test_nothing_is_written_into_the_dataset(self, data, tmp_path):
        before = sorted(data.parent.rglob("*"))
        Explorer(data, network(), tmp_path).create_embeddings_table(force=True)
        assert sorted(data.parent.rglob("*")) == before


class TestSimilar:
    def test_distances_are_those_of_brute_force(self, explorer, reference):
        for i, vector in enumerate(reference):
            found = explorer.get_similar(idx=i, return_type="dict")
            expected = brute_force(reference, vector)
            assert found["_distance"] == pytest.approx([d for d, _ in expected], abs=1e-4)
            assert found["_distance"] == sorted(found["_distance"])
            assert list(found) == [*COLUMNS, "_distance"]

    def test_the_row_asked_for_comes_first_also_before_its_copy(self, explorer):
        files = explorer.table.im_files
        copy = next(i for i, file in enumerate(files) if file.endswith("zz copy.jpg"))
        for i, other in ((0, copy), (copy, 0)):
            found = explorer.get_similar(idx=i, limit=2, return_type="dict")
            assert found["im_file"] == [files[i], files[other]]
            assert found["_distance"] == [0, 0]

    def test_several_rows_are_averaged(self, explorer, reference):
        mean = np.mean([reference[1], reference[4], reference[13]], axis=0).tolist()
        found = explorer.get_similar(idx=[1, 4, 13], limit=5, return_type="dict")
        assert found["_distance"] == pytest.approx([d for d, _ in brute_force(reference, mean)[:5]], abs=1e-4)
        assert explorer.get_similar(idx=np.array([1, 4, 13]), limit=5, return_type="dict") == found

    def test_images_come_as_path_array_picture_or_list(self, explorer, reference):
        file = explorer.table.im_files[13]
        array = cv2.imread(file)
        expected = [d for d, _ in brute_force(reference, reference[13])[:4]]
        for image in (file, Path(file), array, Image.open(file), [file], array[None], (array, file)):
            found = explorer.query(image, limit=4)
            assert found["im_file"][0] == file
            assert found["_distance"] == pytest.approx(expected, abs=1e-4)
        several = explorer.get_similar(img=[file, explorer.table.im_files[2]], return_type="dict")
        mean = np.mean([reference[13], reference[2]], axis=0).tolist()
        assert several["_distance"] == pytest.approx([d for d, _ in brute_force(reference, mean)], abs=1e-4)

    def test_an_address_follows_the_rules_of_sources(self, explorer, monkeypatch):
        server = MediaServer()
        try:
            server.files["some.png"] = Path(explorer.table.im_files[5]).read_bytes()
            server.files["page.html"] = b"<html></html>"
            address = f"{server.base}/some.png"
            with pytest.raises(ConfigError, match="private_sources"):
                explorer.query(address)
            monkeypatch.setenv("YOLOCORE_PRIVATE_SOURCES", "True")
            assert explorer.query(address, limit=1)["im_file"] == [explorer.table.im_files[5]]
            with pytest.raises(ConfigError, match="page"):
                explorer.query(f"{server.base}/page.html")
            with pytest.raises(ConfigError, match="video"):
                explorer.query(f"{server.base}/film.mp4")
            with pytest.raises(DataError, match="404"):
                explorer.query(f"{server.base}/none.png")
        finally:
            server.close()

    def test_limit(self, explorer):
        assert len(explorer.get_similar(idx=0, limit=3, return_type="dict")["im_file"]) == 3
        assert len(explorer.get_similar(idx=0, limit=1000, return_type="dict")["im_file"]) == IMAGES + 2

    @pytest.mark.parametrize(
        ("given", "error", "message"),
        [
            ({}, ConfigError, "one of them"),
            ({"img": "a.png", "idx": 1}, ConfigError, "not both"),
            ({"idx": 14}, ConfigError, "rows 0 to 13"),
            ({"idx": -1}, ConfigError, "rows 0 to 13"),
            ({"idx": []}, ConfigError, "empty"),
            ({"idx": "3"}, ConfigTypeError, "number of a row"),
            ({"idx": 1.5}, ConfigTypeError, "number of a row"),
            ({"img": []}, ConfigError, "empty"),
            ({"img": 3}, ConfigTypeError, "path, an address"),
            ({"img": "missing.png"}, MissingFileError, "missing.png"),
            ({"img": np.zeros((4, 4), np.float32)}, DataError, "uint8"),
            ({"idx": 1, "limit": 0}, ConfigError, "limit=0"),
            ({"idx": 1, "limit": True}, ConfigError, "limit"),
            ({"idx": 1, "return_type": "panda"}, ConfigError, "Did you mean 'pandas'"),
        ],
    )
    def test_mistakes_are_named(self, explorer, given, error, message):
        with pytest.raises(error, match=message):
            explorer.get_similar(**{"return_type": "dict", **given})


class TestIndex:
    def test_it_agrees_with_brute_force(self, explorer, reference):
        pytest.importorskip("pandas")
        files = explorer.table.im_files
        spread = sorted(d for vector in reference for d, _ in brute_force(reference, vector))
        max_dist = (spread[len(spread) // 3] + spread[len(spread) // 3 + 2]) / 2
        for top_k, most in ((None, 14), (0.3, 4), (0.001, 1)):
            frame = explorer.similarity_index(max_dist, top_k)
            assert list(frame.columns) == ["idx", "im_file", "count", "sim_im_files"]
            near = [[i for d, i in brute_force(reference, vector) if d <= max_dist] for vector in reference]
            assert dict(zip(frame["idx"], frame["count"], strict=True)) == {
                i: min(len(found), most) for i, found in enumerate(near)
            }
            for row in frame.itertuples():
                assert row.im_file == files[row.idx] == row.sim_im_files[0]
                assert set(row.sim_im_files) <= {files[i] for i in near[row.idx]}
            assert list(frame["count"]) == sorted(frame["count"], reverse=True)
            if top_k is None:
                assert 14 < frame["count"].sum() < 14 * 14

    def test_equal_images_are_found_at_distance_zero(self, explorer):
        pytest.importorskip("pandas")
        frame = explorer.similarity_index(0)
        assert [Path(file).name for file in frame["im_file"][:2]] == ["0000.jpg", "zz copy.jpg"]
        assert frame["count"].tolist() == [2, 2] + [1] * 12

    def test_a_new_table_has_a_new_index(self, data, tmp_path):
        pytest.importorskip("pandas")
        explorer = Explorer(data, network(), tmp_path)
        assert len(explorer.similarity_index(0.1)) == IMAGES + 2
        explorer.create_embeddings_table(split="val")
        assert len(explorer.similarity_index(0.1)) == len(explorer.similarity_index(0.1, force=True)) == 4

    @pytest.mark.parametrize("given", [{"max_dist": -1}, {"max_dist": math.nan}, {"top_k": 0}, {"top_k": 1.1}])
    def test_values_out_of_range(self, explorer, given):
        with pytest.raises(ConfigError, match=next(iter(given))):
            explorer.plot_similarity_index(**given)


class TestQuery:
    def labelled(self, explorer: Explorer) -> list[set[str]]:
        """Class names of every image, read from the label files."""
        files = [Path(file.replace("images", "labels")).with_suffix(".txt") for file in explorer.table.im_files]
        return [{NAMES[int(row[0])] for row in rows_of(file)} for file in files]

    def test_where_alone_and_the_whole_statement(self, explorer):
        condition = "WHERE labels LIKE '%circle%' AND labels LIKE '%star%'"
        names = self.labelled(explorer)
        expected = [f for f, n in zip(explorer.table.im_files, names, strict=True) if {"circle", "star"} <= n]
        assert expected
        for query in (condition, f"  {condition.lower()} ;", f"SELECT * FROM 'table' {condition}"):
            assert explorer.sql_query(query, "dict")["im_file"] == expected
        found = explorer.sql_query(f'SELECT im_file, labels FROM "table" {condition} ORDER BY im_file DESC', "dict")
        assert found["im_file"] == expected[::-1]
        assert all({"circle", "star"} <= set(row) for row in found["labels"])

    def test_lists_can_be_taken_apart(self, explorer):
        query = "SELECT value, count(DISTINCT im_file) AS n FROM 'table', json_each(labels) GROUP BY value"
        found = explorer.sql_query(query, "dict")
        names = self.labelled(explorer)
        assert dict(zip(found["value"], found["n"], strict=True)) == {
            name: sum(name in row for row in names) for name in NAMES
        }

    def test_expressions_and_equal_names(self, explorer):
        found = explorer.sql_query(
            "SELECT rowid, 'x' AS labels, '[oops' AS cls, im_file, im_file FROM 'table' LIMIT 1", "dict"
        )
        file = explorer.table.im_files[0]
        assert found == {"rowid": [0], "labels": ["x"], "cls": ["[oops"], "im_file": [file], "im_file_2": [file]}
        assert explorer.sql_query("WHERE 0", "dict") == {name: [] for name in COLUMNS}
        steps = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3) SELECT i FROM n"
        assert explorer.sql_query(steps, "dict") == {"i": [1, 2, 3]}

    @pytest.mark.parametrize(
        ("query", "refused"),
        [
            ("DELETE FROM 'table'", "DELETE"),
            ("UPDATE 'table' SET im_file = 'x'", "UPDATE"),
            ("INSERT INTO 'table' (im_file) VALUES ('x')", "INSERT"),
            ("WITH x AS (SELECT 1) INSERT INTO 'table' (im_file) SELECT 'x'", "INSERT"),
            ("REPLACE INTO 'table' (rowid) VALUES (0)", "INSERT"),
            ("DROP TABLE 'table'", "refused"),
            ("ALTER TABLE 'table' RENAME TO x", "refused"),
            ("CREATE TABLE x (a)", "refused"),
            ("CREATE TEMP TABLE x AS SELECT 1", "refused"),
            ("CREATE VIEW x AS SELECT 1", "refused"),
            ("CREATE VIRTUAL TABLE x USING fts5(a)", "refused"),
            ("ATTACH '{other}' AS y", "ATTACH"),
            ("VACUUM INTO '{other}'", "refused|cannot"),
            ("PRAGMA user_version = 3", "PRAGMA"),
            ("PRAGMA writable_schema = ON", "PRAGMA"),
            ("SELECT * FROM pragma_database_list", "refused"),
            ("SELECT * FROM sqlite_master", "sqlite_master"),
            ("SELECT * FROM meta", "'meta'"),
            ("WHERE im_file IN (SELECT facts FROM meta)", "'meta'"),
            ("SELECT load_extension('x')", "load_extension"),
            ("SELECT readfile('/etc/passwd')", "no such function"),
            ("SELECT writefile('{other}', 'x')", "no such function"),
            ("BEGIN", "TRANSACTION"),
            ("SAVEPOINT x", "SAVEPOINT"),
            ("REINDEX", "refused|REINDEX"),
            ("SELECT * FROM 'table'; DROP TABLE 'table'", "several statements"),
            ("WHERE 1; DELETE FROM 'table'", "several statements"),
        ],
    )
    def test_only_reading_is_let_through(self, explorer, query, refused, tmp_path):
        before = hashlib.sha256(explorer.table.file.read_bytes()).digest()
        with pytest.raises(ConfigError, match=refused) as error:
            explorer.sql_query(query.replace("{other}", str(tmp_path / "other")), "dict")
        assert query.split("{other}")[0] in str(error.value)
        assert hashlib.sha256(explorer.table.file.read_bytes()).digest() == before
        assert list(tmp_path.iterdir()) == []
        assert len(list(explorer.table.file.parent.iterdir())) == 1  # no journal beside it

    @pytest.mark.parametrize(
        ("query", "message"),
        [
            ("", "empty"),
            ("  \n", "empty"),
            ("-- only a remark", "asks for nothing"),
            ("SELECT * FORM 'table'", "near \"FORM\": syntax error.\n  SELECT * FORM 'table'\n           ^"),
            ("SELECT *\nFORM 'table'", "\n  SELECT *\n  FORM 'table'\n  ^"),
            ("WHERE label LIKE '%x%'", "no such column: label. Did you mean 'labels'?"),
            ("SELECT * FROM table", "The table is written with quotes: FROM 'table'"),
            ("SELECT * FROM images", "FROM 'table'"),
            ("WHERE (labels", "incomplete input"),
            ("SELECT zeroblob(1000000000)", "too big"),
            ("SELECT '\udcff'", "surrogates"),
            ("SELECT '\0'", "null"),
        ],
    )
    def test_mistakes_are_shown_with_their_place(self, explorer, query, message):
        with pytest.raises(ConfigError) as error:
            explorer.sql_query(query, "dict")
        assert message in str(error.value)

    def test_a_query_is_text(self, explorer):
        with pytest.raises(ConfigTypeError, match="int"):
            explorer.sql_query(3, "dict")

    def test_an_endless_query_is_ended(self, explorer, monkeypatch):
        endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
        long = endless.replace("FROM n)", "FROM n WHERE i < 50000)")  # the clock is looked at, and time is left
        assert explorer.sql_query(long, "dict") == {"count(*)": [50000]}
        monkeypatch.setattr(explorer_sql, "MAX_SECONDS", 0.2)
        with pytest.raises(ConfigError, match=r"not finished after 0\.2 s"):
            explorer.sql_query(endless, "dict")

    def test_too_many_rows_are_refused(self, explorer, monkeypatch):
        monkeypatch.setattr(explorer_sql, "MAX_ROWS", 100)
        with pytest.raises(ConfigError, match="more than 100 rows"):
            explorer.sql_query("SELECT a.rowid FROM 'table' a, 'table' b", "dict")

    def test_connections_are_closed(self, explorer):
        for _ in range(3):
            explorer.sql_query("WHERE 0", "dict")
        gc.collect()  # an open one would warn, and warnings are errors
        if sys.platform == "linux":
            assert str(explorer.table.file) not in [os.path.realpath(f) for f in Path("/proc/self/fd").iterdir()]


class TestForms:
    def test_pandas(self, explorer):
        pandas = pytest.importorskip("pandas")
        frame = explorer.get_similar(idx=2, limit=4)
        assert isinstance(frame, pandas.DataFrame)
        assert list(frame.columns) == [*COLUMNS, "_distance"]
        assert frame["_distance"].is_monotonic_increasing
        assert isinstance(frame["labels"][0], list)
        assert len(explorer.sql_query("WHERE 1")) == IMAGES + 2

    def test_arrow(self, explorer):
        arrow = pytest.importorskip("pyarrow")
        table = explorer.get_similar(idx=2, limit=4, return_type="arrow")
        assert isinstance(table, arrow.Table)
        assert table.column_names == [*COLUMNS, "_distance"]
        assert table.to_pydict() == explorer.get_similar(idx=2, limit=4, return_type="dict")

    @pytest.mark.parametrize(("form", "package"), [("pandas", "pandas"), ("arrow", "pyarrow")])
    def test_a_missing_package_names_the_extra(self, explorer, form, package, monkeypatch):
        monkeypatch.setitem(sys.modules, package, None)
        with pytest.raises(ImportError, match=rf"{package}: pip install 'yolocore\[tables\]'"):
            explorer.get_similar(idx=0, return_type=form)
        with pytest.raises(ImportError, match="tables"):
            explorer.sql_query("WHERE 1", form)
        assert explorer.query(explorer.table.im_files[0], 1)["_distance"][0] == pytest.approx(0, abs=1e-4)


class Translator:
    """A plugin whose answer is fixed."""

    def __init__(self, answer: str | None, name: str = "parrot") -> None:
        self.answer, self.name, self.asked = answer, name, []

    def translate(self, question: str, schema: str) -> str | None:
        self.asked.append((question, schema))
        return self.answer

    def register_query_translators(self, register) -> None:
        register.register(self.name, self.translate)


class TestAskAi:
    @pytest.fixture
    def ask(self, explorer, data):
        def ask(*plugins: Translator):
            asking = Explorer(data, network(), explorer.uri)
            for plugin in plugins:
                asking.model.plugins.register(plugin, plugin.name)
            return asking.ask_ai("pictures with a star")

        return ask

    def test_without_a_plugin_the_hook_is_named(self, ask):
        with pytest.raises(PluginError, match="register_query_translators"):
            ask()

    def test_the_answer_is_asked_of_the_table(self, ask, explorer):
        pytest.importorskip("pandas")
        plugin = Translator("WHERE labels LIKE '%star%'")
        frame = ask(plugin)
        assert list(frame["im_file"]) == explorer.sql_query("WHERE labels LIKE '%star%'", "dict")["im_file"] != []
        ((question, schema),) = plugin.asked
        assert question == "pictures with a star"
        assert all(word in schema for word in (*NAMES, *COLUMNS))

    def test_the_answer_can_only_read(self, ask):
        pytest.importorskip("pandas")
        with pytest.raises(ConfigError, match="DELETE is refused"):
            ask(Translator("DELETE FROM 'table'"))

    def test_no_answer(self, ask, caplog):
        pytest.importorskip("pandas")
        assert ask(Translator(None)) is None
        assert "parrot could not turn the question into SQL" in caplog.text

    def test_two_plugins_would_have_to_be_told_apart(self, ask):
        with pytest.raises(PluginError, match=r"parrot.*magpie"):
            ask(Translator("WHERE 1"), Translator("WHERE 0", "magpie"))

    @pytest.mark.parametrize("question", ["", " ", None, 3])
    def test_a_question_is_text(self, explorer, question):
        with pytest.raises(ConfigTypeError, match="question"):
            explorer.ask_ai(question)
