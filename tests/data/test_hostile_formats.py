"""Files that somebody made to break a reader or a converter: told with file and record, in bounded time and memory."""

from __future__ import annotations

import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from yolocore.config.dataset import load_dataset
from yolocore.data import conversion
from yolocore.data.converter import (
    convert_coco,
    convert_dota_to_yolo_obb,
    convert_segment_masks_to_yolo_seg,
    yolo_bbox2segment,
)
from yolocore.data.scan import scan
from yolocore.data.utils import autosplit, compress_one_image, polygon2mask
from yolocore.errors import DataError, MissingFileError

BOX = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [20, 10, 60, 40]}
ELEMENT = (
    "<object><name>cat</name><bndbox><xmin>20</xmin><ymin>10</ymin><xmax>80</xmax><ymax>50</ymax></bndbox></object>"
)
SIZE = "<size><width>200</width><height>100</height></size>"


def picture(path: Path, width: int = 200, height: int = 100) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((height, width, 3), 90, np.uint8))


def write_json(folder: Path, names: list[str], boxes: list | None = None, categories: list | None = None) -> Path:
    images = [{"id": n, "file_name": name, "width": 200, "height": 100} for n, name in enumerate(names, start=1)]
    document = {"images": images, "annotations": boxes or [BOX | {"image_id": image["id"]} for image in images]}
    document["categories"] = categories or [{"id": 1, "name": "cat"}]
    file = folder / "annotations" / "instances_val.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps(document))
    return file


def read(folder: Path, text: str, task: str = "detect"):
    (folder / "d.yaml").write_text(text)
    info = load_dataset(folder / "d.yaml", task=task, splits=["val"], settings={"datasets_dir": str(folder / "none")})
    return scan(info, "val", task=task, cache=False)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("../../../a.jpg", "leads out of the dataset"),
        ("/etc/a.jpg", "leads out of the dataset"),
        ("..\\..\\a.jpg", "leads out of the dataset"),
        ("C:\\a.jpg", "leads out of the dataset"),
        ("a\0.jpg", "is none that a file can have"),
        ("\ud800.jpg", "is none that a file can have"),
        ("a" * 5000 + ".jpg", "is none that a file can have"),
        ("good.txt/b.jpg", "is there already, of another image or file"),
        ("good.png", "that of image 1, 'good.jpg': their stems are the same"),
    ],
)
def test_names_of_images_that_no_label_file_can_have(tmp_path, name, message, monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 1)  # in order, so that the first image has its file
    file = write_json(tmp_path / "in", ["good.jpg", name])
    result = convert_coco(file.parent, tmp_path / "out")
    assert sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*.txt")) == ["out/labels/val/good.txt"]
    (line,) = result.findings
    assert line.startswith(f"{file}: image 2: ")
    assert message in line
    assert len(line) < 1000


def test_threads_give_what_one_thread_gives(tmp_path, monkeypatch):
    names = [f"{n}{suffix}" for n in range(60) for suffix in (".jpg", ".png")]  # the second has the stem of the first
    boxes = [BOX | {"image_id": n, "bbox": [n, 10, 60, 40]} for n in range(1, 121)]
    file = write_json(tmp_path / "in", names, boxes)
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    results = []
    for threads in (1, 8, 64):
        monkeypatch.setattr(conversion, "THREADS", threads)
        out = tmp_path / f"out{threads}"
        result = convert_coco(file.parent, out)
        texts = {p.name: p.read_text() for p in (out / "labels" / "val").iterdir()}
        results.append((texts, [line.replace(str(out), "") for line in result.findings]))
    assert results[0] == results[1] == results[2]
    assert len(results[0][0]) == len(results[0][1]) == 60
    assert results[0][0]["0.txt"] == "0 0.155 0.3 0.3 0.4\n"


def test_names_with_the_separator_of_windows_are_read_as_they_are_converted(tmp_path):
    file = write_json(tmp_path, ["sub\\a.jpg"])
    picture(tmp_path / "images" / "val" / "sub" / "a.jpg")
    store, report = read(tmp_path, f"val: annotations/{file.name}\nnames: [cat]\n")
    assert (len(store), report.lines) == (1, [])
    convert_coco(file.parent, tmp_path / "out")
    assert (tmp_path / "out" / "labels" / "val" / "sub" / "a.txt").is_file()


def test_a_category_id_that_occurs_twice_is_told_and_the_first_counts(tmp_path):
    file = write_json(tmp_path, ["a.jpg"], categories=[{"id": 1, "name": "cat"}, {"id": 1, "name": "dog"}])
    picture(tmp_path / "images" / "val" / "a.jpg")
    store, report = read(tmp_path, "val: annotations/instances_val.json\nnames: [cat, dog]\n")
    assert store.cls.tolist() == [0]
    assert report.lines == [f"{file}: category 1: the id occurs twice, for 'dog' too"]


def test_category_ids_beyond_any_integer_are_an_error_with_the_file(tmp_path):
    write_json(tmp_path, ["a.jpg"], categories=[{"id": float("inf"), "name": "cat"}])
    with pytest.raises(DataError, match=r"instances_val\.json: no class names can be read"):
        read(tmp_path, "val: annotations/instances_val.json\n")


def test_a_document_of_many_keys_is_told_in_a_short_line(tmp_path):
    (tmp_path / "x.json").write_text(json.dumps({f"key{n}": 1 for n in range(10_000)}))
    with pytest.raises(DataError, match=r"no list 'images'; .*found key0, key1, key10, ") as error:
        convert_coco(tmp_path, tmp_path / "out")
    assert len(str(error.value)) < 500


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<html><body/></html>", "it begins with <html>; expected <annotation>"),
        ("<annotation>" + "<a>" * 200_000 + "</a>" * 200_000 + "</annotation>", "more than 32 elements within"),
        (f"<annotation>{SIZE}{ELEMENT}</annotation>".replace("cat", "x\n" * 200_000), "<name> holds more than 1000"),
    ],
    ids=["other", "deep", "long"],
)
def test_xml_that_is_no_annotation(tmp_path, text, message):
    for name, content in (("a", f"<annotation>{SIZE}{ELEMENT}</annotation>"), ("b", text)):
        picture(tmp_path / "JPEGImages" / f"{name}.jpg")
        (tmp_path / "Annotations").mkdir(exist_ok=True)
        (tmp_path / "Annotations" / f"{name}.xml").write_text(content)
    store, report = read(tmp_path, "val: JPEGImages\nnames: [cat]\n")
    assert len(store) == 1
    (line,) = report.lines
    assert line.startswith(f"{tmp_path / 'Annotations' / 'b.xml'}: annotation file cannot be read as XML: ")
    assert message in line


def test_a_box_past_the_edge_is_told_with_the_line_it_stands_on(tmp_path):
    picture(tmp_path / "images" / "a.jpg")
    (tmp_path / "labels").mkdir()
    label = tmp_path / "labels" / "a.txt"
    label.write_text("0 .5 .5 .2 .2\n\n0 .95 .5 .2 .2\n7 .5 .5 .2 .2\n0 .05 .5 .2 .2\n0 .05 .5 .2 .2\n")
    _, report = read(tmp_path, "val: images\nnames: [cat]\n")
    assert [remark.place for remark in report.remarks] == [f"{label}:3", f"{label}:5"]
    file = write_json(tmp_path / "coco", ["a.jpg"], [BOX, BOX | {"id": 5, "bbox": [150, 10, 60, 40]}])
    picture(tmp_path / "coco" / "images" / "val" / "a.jpg")
    _, report = read(tmp_path / "coco", "val: annotations/instances_val.json\nnames: [cat]\n")
    assert [remark.place for remark in report.remarks] == [f"{file}: annotation 5 (a.jpg)"]


def test_a_file_that_is_no_image_is_told_in_the_same_words_every_time(tmp_path):
    picture(tmp_path / "images" / "a.jpg")
    (tmp_path / "images" / "a.txt").write_text("")
    (tmp_path / "images" / "b.jpg").write_text("<html>not found</html>")
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "a.txt").write_text("0 .5 .5 .2 .2\n")
    lines = [read(tmp_path, "val: images\nnames: [cat]\n")[1].lines for _ in range(2)]
    assert lines[0] == lines[1]
    assert lines[0][0].endswith("b.jpg: not an image that can be decoded: its content is of no known format")


def test_dota_corners_far_outside_are_told_and_left_out(tmp_path):
    picture(tmp_path / "images" / "a.png")
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "a.txt").write_text(
        "gsd:1\n-10 10 50 10 50 50 -10 50 plane 0\n-1e300 10 50 10 50 50 10 50 plane 0\n10 10 250 10 50 50 10 50 ship 0\n"
    )
    result = convert_dota_to_yolo_obb(tmp_path / "images", tmp_path / "labels", tmp_path / "out")
    assert (tmp_path / "out" / "a.txt").read_text() == "0 -0.05 0.1 0.25 0.1 0.25 0.5 -0.05 0.5\n"
    starts = [f"{tmp_path / 'labels' / 'a.txt'}:{line}: a corner lies more than 10% outside" for line in (3, 4)]
    assert [line.partition(" the image")[0] for line in result.findings] == starts


def test_masks_with_opacity_and_of_more_pixels_than_allowed(tmp_path, monkeypatch):
    mask = np.zeros((20, 40), np.uint8)
    mask[5:15, 10:30] = 2
    full = np.full_like(mask, 255)
    (tmp_path / "masks").mkdir()
    for name, channels in (("grey", [mask, full]), ("colour", [mask, mask, mask, full])):
        Image.fromarray(np.stack(channels, -1)).save(tmp_path / "masks" / f"{name}.png")
    convert_segment_masks_to_yolo_seg(tmp_path / "masks", tmp_path / "out", 2)
    row = "1 0.25 0.25 0.25 0.7 0.725 0.7 0.725 0.25\n"
    assert {p.name: p.read_text() for p in (tmp_path / "out").iterdir()} == {"colour.txt": row, "grey.txt": row}
    monkeypatch.setenv("YOLOCORE_MAX_PIXELS", "799")
    result = convert_segment_masks_to_yolo_seg(tmp_path / "masks", tmp_path / "small", 2)
    assert result.files == 0
    assert all("'max_pixels': 40x20 = 800 pixels; the setting allows 799" in line for line in result.findings)


def test_box_rows_that_are_no_boxes_never_reach_the_segmenter(tmp_path):
    picture(tmp_path / "images" / "a.jpg")
    (tmp_path / "labels").mkdir()
    label = tmp_path / "labels" / "a.txt"
    label.write_text("0 .5 .5 .2 .2\nnan .5 .5 .2 .2\n0 .5 nan .2 .2\n1e400 .5 .5 .2 .2\n0 .5 .5 .2 .2 .9\n")
    seen = []

    def empty(im_bgr, boxes):
        seen.append(len(boxes))
        return np.zeros((len(boxes), *im_bgr.shape[:2]))

    result = yolo_bbox2segment(tmp_path / "images", sam_model=empty)
    assert seen == [1]
    assert (result.files, result.objects) == (1, 1)
    assert [line.split(": ")[0] for line in result.findings] == [f"{label}:{n}" for n in (2, 3, 4, 5)]


def test_numbers_that_the_helpers_refuse(tmp_path):
    picture(tmp_path / "images" / "a.png", 66_000, 20)
    with pytest.raises(DataError, match="weights are"):
        autosplit(tmp_path / "images", (float("inf"), 1, 1))
    with pytest.raises(DataError, match="a side of a JPEG is at most 65500 pixels"):
        compress_one_image(tmp_path / "images" / "a.png", tmp_path / "a.jpg", max_dim=70_000)
    with pytest.raises(MissingFileError, match="there is no such folder to write a.jpg to"):
        compress_one_image(tmp_path / "images" / "a.png", tmp_path / "none" / "a.jpg")
    with pytest.raises(DataError, match="no finite number"):
        polygon2mask((8, 10), [float("nan"), 1, 7, 1, 7, 5])
    for ratio in (0, 9):
        with pytest.raises(DataError, match=r"downsample_ratio is .*expected 1 \.\.\. 8"):
            polygon2mask((8, 10), [2, 1, 7, 1, 7, 5], 1, ratio)
    assert polygon2mask((8, 10), [-1e300, -1e300, 1e300, -1e300, 1e300, 1e300, -1e300, 1e300]).all()
