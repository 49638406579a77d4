"""Labels straight from COCO JSON and VOC XML: the same store as after conversion, and faults with file and record."""

from __future__ import annotations

import csv
import json
import logging
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from yolocore import YOLO
from yolocore.cli import main
from yolocore.config.dataset import load_dataset
from yolocore.data.converter import convert_coco
from yolocore.data.dataset import pixel_boxes
from yolocore.data.scan import scan
from yolocore.errors import DataError, DataKeyError, MissingFileError
from yolocore.testing.datasets import tiny_model

NAMES = "names: [cat, dog]\n"
STORED = ("cls", "bboxes", "seg_points", "seg_offsets", "offsets", "shapes", "keypoints")


def read(folder: Path, text: str, task: str = "detect", **options):
    file = folder / "data.yaml"
    file.write_text(text)
    info = load_dataset(file, task=task, splits=["val"], settings={"datasets_dir": str(folder / "none")})
    return info, *scan(info, "val", task=task, **{"cache": False, **options})


def picture(path: Path, width: int = 200, height: int = 100) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((height, width, 3), 90, np.uint8))


def same(a, b) -> None:
    assert [Path(f).name for f in a.im_files] == [Path(f).name for f in b.im_files]
    for name in STORED:
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name)


# ---------------------------------------------------------------- COCO


@pytest.fixture
def coco(tmp_path):
    """A COCO set of two pictures; returns a function that writes annotations (id, image_id and category 7 added)."""
    for name in ("a", "b"):
        picture(tmp_path / "images" / "val" / f"{name}.jpg")
    (tmp_path / "annotations").mkdir()

    def write(annotations, images=(), categories=((3, "dog"), (7, "cat")), name="instances_val.json"):
        listed = [{"id": i, "file_name": f"{n}.jpg", "width": 200, "height": 100} for i, n in enumerate("ab", 1)]
        numbered = [
            {"id": 10 + i, "image_id": 1, "category_id": 7, **annotation} for i, annotation in enumerate(annotations)
        ]
        document = {
            "images": [*listed, *images],
            "annotations": numbered,
            "categories": [{"id": i, "name": n} for i, n in categories],
        }
        (tmp_path / "annotations" / name).write_text(json.dumps(document))
        return tmp_path

    return write


BOX = {"bbox": [20, 10, 60, 40]}


@pytest.mark.shared
@pytest.mark.parametrize("task", ["detect", "segment", "pose"])
def test_reading_gives_the_labels_of_the_converted_set(shared_dir, tmp_path, task):
    source = shared_dir / "data" / "coco-json"
    before = {p: p.stat().st_mtime_ns for p in source.rglob("*")}
    form = {"segment": {"use_segments": True}, "pose": {"use_keypoints": True}}.get(task, {})
    convert_coco(source / "annotations", tmp_path / "yolo", **form)
    name = "person_keypoints_val2017" if task == "pose" else "instances_val2017"
    folder = "person_keypoints_val2017" if task == "pose" else "val2017"
    shutil.copytree(source / "images" / "val2017", tmp_path / "yolo" / "images" / folder)
    points = "kpt_shape: [17, 3]\n"
    described = f"path: {source}\nval: annotations/{name}.json\n{points}"
    info, direct, report = read(tmp_path, described, task)
    assert (info["format"], info["nc"]) == ("coco", 1 if task == "pose" else 80)
    names = "".join(f"  {i}: {n}\n" for i, n in info["names"].items())
    _, converted, _ = read(tmp_path, f"path: yolo\nval: images/{folder}\n{points}names:\n{names}", task)
    same(direct, converted)
    assert report.lines == []
    assert report.objects == {"detect": 188, "segment": 188, "pose": 22}[task]
    assert report.left_out == {"crowd region": 1 if task == "pose" else 5}
    assert {p: p.stat().st_mtime_ns for p in source.rglob("*")} == before


@pytest.mark.parametrize(
    "entry",
    ["val: annotations/instances_val.json", "format: coco\nval: images/val", "format: coco\nval: [images/val]"],
)
def test_ways_to_name_a_split(coco, entry):
    root = coco([BOX, BOX | {"category_id": 3, "image_id": 2}])
    info, store, report = read(root, f"{entry}\n{NAMES}")
    assert info["format"] == "coco"
    assert store.cls.tolist() == [0, 1]  # by name, whatever the ids
    np.testing.assert_allclose(store.bboxes[0], (0.25, 0.3, 0.3, 0.4), atol=1e-7)
    assert report.summary() == "val: 2 images, 0 backgrounds, 0 skipped, 2 objects"


def test_annotations_beside_the_images(tmp_path):
    picture(tmp_path / "valid" / "a.jpg")
    document = {
        "images": [{"id": 0, "file_name": "a.jpg", "width": 200, "height": 100}],
        "annotations": [{"id": 0, "image_id": 0, "category_id": 0, **BOX}],
        "categories": [{"id": 0, "name": "cat"}],
    }
    (tmp_path / "valid" / "_annotations.coco.json").write_text(json.dumps(document))
    info, store, _ = read(tmp_path, "val: valid\n")
    assert (info["format"], info["names"]) == ("coco", {0: "cat"})
    assert len(store.cls) == 1


def test_names_come_from_the_json_in_the_order_of_the_ids(coco):
    root = coco([BOX])
    info, store, _ = read(root, "val: annotations/instances_val.json\n")
    assert info["names"] == {0: "dog", 1: "cat"}
    assert store.cls.tolist() == [1]
    with pytest.raises(DataError, match=r"data\.yaml:2: nc is 3 but .*instances_val\.json has 2 categories"):
        read(root, "val: annotations/instances_val.json\nnc: 3\n")
    with pytest.raises(DataKeyError, match="neither 'names' nor a JSON file"):
        read(root, "format: coco\nval: images/val\n")
    with pytest.raises(DataError, match=r"none of its categories \(dog, cat\) is a class of the description \(bird"):
        read(root, "val: annotations/instances_val.json\nnames: [bird]\n")


def test_single_class_training_keeps_the_names_of_the_labels(coco):
    info, _, _ = read(coco([BOX]), f"val: annotations/instances_val.json\n{NAMES}")
    info.update(nc=1, names={0: "item"})
    store, _ = scan(info, "val", task="detect", cache=False)
    assert store.cls.tolist() == [0]


@pytest.mark.parametrize(
    ("annotation", "task", "message"),
    [
        ({"bbox": [20, 10, 0, 40]}, "detect", "the object is 0 x 40"),
        ({"bbox": [20, 10, 60, "40"]}, "detect", "bbox holds what is no finite number"),
        ({"bbox": [300, 10, 60, 40]}, "detect", "column 2 is 1.65; coordinates are normalised"),
        ({"category_id": 9}, "detect", "category_id is 9"),
        (BOX, "detect", "the same row as annotation 10; 1 duplicate removed"),
        (BOX | {"segmentation": []}, "segment", "a box row"),
        (BOX | {"segmentation": [[1, 1, 900, 1, 9, 9]]}, "segment", "column 4 is 4.5"),
        (BOX | {"keypoints": [1, 1, 2]}, "pose", "expected 11 columns"),
        (BOX | {"keypoints": [1, 1, 2, 3, 3, 5]}, "pose", "column 11 is 5; visibility is 0"),
    ],
)
def test_a_fault_is_told_with_file_and_record(coco, annotation, task, message):
    good = BOX | {"segmentation": [[20, 10, 80, 10, 80, 50]], "keypoints": [30, 20, 2, 40, 30, 1]}
    root = coco([good, good | annotation if task == "detect" else {**annotation, "id": 11}])
    text = f"val: annotations/instances_val.json\nkpt_shape: [2, 3]\n{NAMES}"
    _, store, report = read(root, text, task)
    file = root / "annotations" / "instances_val.json"
    assert len(store.cls) == 1
    assert len(report.lines) == 1
    assert report.lines[0].startswith(f"{file}: annotation 11 (a.jpg): {message}")
    assert sum(report.counts.values()) == 1
    with pytest.raises(DataError, match=r"strict.*\n.*annotation 11"):
        read(root, text, task, strict=True)


def test_crowds_and_classes_not_asked_for_are_left_out_without_being_a_fault(coco):
    root = coco([BOX, BOX | {"iscrowd": 1}, BOX | {"category_id": 3}])
    text = "val: annotations/instances_val.json\nnames: [cat]\n"
    _, store, report = read(root, text, strict=True)
    assert len(store.cls) == 1
    assert report.left_out == {"crowd region": 1, "category 'dog' without class": 1}
    assert report.summary().endswith("1 objects, 1 x crowd region left out, 1 x category 'dog' without class left out")


def test_image_records_that_cannot_be_used(coco):
    images = [
        {"id": 3, "file_name": "none.jpg", "width": 20, "height": 20},
        {"id": 4, "file_name": "a.jpg", "width": 0, "height": 20},
        {"id": 1, "file_name": "b.jpg", "width": 20, "height": 20},
        {"id": 5, "file_name": "a.jpg", "width": 200, "height": 100},
        {"file_name": "a.jpg"},
        "text",
    ]
    root = coco([BOX, BOX | {"image_id": 4}], images)
    _, store, report = read(root, f"val: annotations/instances_val.json\n{NAMES}")
    file = root / "annotations" / "instances_val.json"
    assert len(store) == 2
    starts = ["image 4 (a.jpg): width", "image 1: the id occurs twice", "image number 7", "image number 8"]
    starts += ["annotation 11: image_id 4", "image 3: listed image not found", "image 5: "]
    assert len(report.lines) == len(starts)
    for line, start in zip(report.lines, starts, strict=True):
        assert line.startswith(f"{file}: {start}")
    assert report.counts == {"record cannot be read": 5, "listed image not found": 1, "image listed twice": 1}


def test_an_image_of_another_shape_than_annotated_is_noted(coco, tmp_path):
    root = coco([BOX])
    text = f"val: annotations/instances_val.json\n{NAMES}"
    picture(root / "images" / "val" / "a.jpg", 400, 200)  # enlarged: the labels still fit
    assert read(root, text)[2].notes == []
    picture(root / "images" / "val" / "a.jpg", 100, 200)  # turned
    _, store, report = read(root, text)
    assert len(store.cls) == 1
    where = root / "images" / "val" / "a.jpg"
    assert report.notes == [f"{where}: annotated for an image of another shape: 200 x 100, not 100 x 200"]
    with pytest.raises(DataError, match="of another shape"):
        read(root, text, strict=True)


def test_what_cannot_be_read_as_coco(coco):
    root = coco([BOX])
    with pytest.raises(DataError, match="format coco holds labels for detect, segment, pose, not for task obb"):
        read(root, f"val: annotations/instances_val.json\n{NAMES}", "obb")
    with pytest.raises(DataError, match=r"kpt_shape is \[2, 2\]; expected \[2, 3\]"):
        read(root, f"val: annotations/instances_val.json\nkpt_shape: [2, 2]\n{NAMES}", "pose")
    (root / "annotations" / "instances_val.json").unlink()
    with pytest.raises(MissingFileError, match=r"no annotation file\. Searched:\n.*_annotations\.coco\.json\n"):
        read(root, f"format: coco\nval: images/val\n{NAMES}")
    (root / "annotations" / "x.json").write_text('{"images": [],\n oops}')
    with pytest.raises(DataError, match=r"x\.json:2:2: not JSON"):
        read(root, f"val: annotations/x.json\n{NAMES}")
    with pytest.raises(DataError, match=r"x\.json: no class names can be read"):
        read(root, "val: annotations/x.json\n")


def test_ids_of_the_wrong_type_are_told_as_such(coco):
    root = coco([BOX, BOX | {"image_id": "1"}, BOX | {"image_id": "none"}])
    file = root / "annotations" / "instances_val.json"
    text = f"val: annotations/instances_val.json\n{NAMES}"
    lines = read(root, text)[2].lines
    assert [line.partition("usable image")[2] for line in lines] == ["; 1 is: write both alike", ""]
    document = json.loads(file.read_text())
    for categories, message in (
        ([{"id": "1", "name": "cat"}], r"no category that can be used; .*\n  .*category number 1: expected an integer"),
        ([], "no category that can be used; 'categories' is a list of integer id and name"),
    ):
        file.write_text(json.dumps(document | {"categories": categories}))
        with pytest.raises(DataError, match=message):
            read(root, text)


def assert_same_training(folder: Path, task: str, first: Path, second: Path) -> None:
    """Train a tiny network for an epoch on both descriptions and compare what they log."""
    results = []
    for number, file in enumerate((first, second)):
        settings = {"imgsz": 64, "epochs": 1, "batch": 8, "workers": 0, "device": "cpu", "project": folder}
        YOLO(tiny_model(task)).train(data=str(file), name=f"run{number}", plots=False, **settings)
        with (folder / f"run{number}" / "results.csv").open() as stream:
            (row,) = csv.DictReader(stream)
        results.append({key: value for key, value in row.items() if key != "time"})
    assert results[0] == results[1]
    assert float(results[0]["train/box_loss"]) > 0
    assert any(float(value) > 0 for key, value in results[0].items() if key.startswith("val/"))


@pytest.mark.shared
@pytest.mark.parametrize(("task", "stem"), [("detect", "instances_"), ("segment", "instances_"), ("pose", "")])
def test_training_on_json_is_training_on_the_converted_set(shared_dir, tmp_path, task, stem):
    source = shared_dir / "data" / "coco-json"
    convert_coco(
        source / "annotations", tmp_path / "yolo", use_segments=task == "segment", use_keypoints=task == "pose"
    )
    split = "val2017" if stem else "person_keypoints_val2017"
    shutil.copytree(source / "images" / "val2017", tmp_path / "yolo" / "images" / split)
    json_file, points = f"annotations/{stem}{split}.json", "" if stem else "kpt_shape: [17, 3]\n"
    (tmp_path / "json.yaml").write_text(f"path: {source}\ntrain: {json_file}\nval: {json_file}\n{points}")
    nc = 80 if stem else 1
    (tmp_path / "txt.yaml").write_text(f"path: yolo\ntrain: images/{split}\nval: images/{split}\nnc: {nc}\n{points}")
    assert_same_training(tmp_path, task, tmp_path / "json.yaml", tmp_path / "txt.yaml")


def test_the_cache_follows_the_annotation_file_and_the_names(coco):
    text = f"val: annotations/instances_val.json\n{NAMES}"
    _, _, first = read(coco([BOX, BOX | {"iscrowd": 1}]), text, cache=True)
    root = coco([BOX, BOX | {"iscrowd": 1}])
    stamp = (root / "annotations" / "instances_val.json").stat()
    _, _, other = read(root, text, cache=True)
    _, _, second = read(root, text, cache=True)
    assert not first.cached
    assert second.cached
    assert second.left_out == other.left_out == {"crowd region": 1}
    _, store, renamed = read(root, text.replace("[cat, dog]", "[dog, cat]"), cache=True)
    assert not renamed.cached
    assert store.cls.tolist() == [1]
    coco([BOX, {"bbox": [1, 2, 30, 40]}])
    _, store, changed = read(root, text, cache=True)
    assert (root / "annotations" / "instances_val.json").stat().st_mtime_ns >= stamp.st_mtime_ns
    assert not changed.cached
    assert len(store.cls) == 2


# ---------------------------------------------------------------- VOC

OBJECT = (
    "<object><name>{}</name>{}<bndbox><xmin>20</xmin><ymin>10</ymin><xmax>80</xmax><ymax>50</ymax></bndbox></object>"
)
SIZE = "<size><width>200</width><height>100</height><depth>3</depth></size>"


def write_voc(root: Path, body: str, name: str = "a", size: str = SIZE, folder: str = "Annotations") -> Path:
    picture(root / "JPEGImages" / f"{name}.jpg")
    (root / folder).mkdir(exist_ok=True)
    (root / folder / f"{name}.xml").write_text(f"<annotation>{size}\n{body}\n</annotation>")
    return root


@pytest.mark.shared
def test_real_voc_gives_the_labels_of_the_converted_set(shared_dir, tmp_path):
    source = shared_dir / "data" / "bccd"
    stems = sorted(p.stem for p in (source / "voc_sample").glob("*.xml"))
    for folder in ("JPEGImages", "Annotations", "ImageSets/Main", "yolo/images", "yolo/labels"):
        (tmp_path / folder).mkdir(parents=True)
    for stem in stems:
        shutil.copy(source / "voc_sample" / f"{stem}.xml", tmp_path / "Annotations")
        for place in ("JPEGImages", "yolo/images"):
            shutil.copy(source / "images" / "test" / f"{stem}.jpg", tmp_path / place)
        shutil.copy(source / "labels" / "test" / f"{stem}.txt", tmp_path / "yolo" / "labels")
    (tmp_path / "ImageSets" / "Main" / "val.txt").write_text("\n".join([*stems, "none", "skipped -1"]))
    names = "names: [Platelets, RBC, WBC]\n"
    info, direct, report = read(tmp_path, f"val: ImageSets/Main/val.txt\n{names}")
    _, by_folder, clean = read(tmp_path, f"val: JPEGImages\n{names}")
    _, converted, _ = read(tmp_path, f"val: yolo/images\n{names}")
    assert info["format"] == "voc"
    same(direct, by_folder)
    sizes = [(480, 640)] * 8
    np.testing.assert_array_equal(direct.cls, converted.cls)
    np.testing.assert_allclose(pixel_boxes(direct, sizes), pixel_boxes(converted, sizes), atol=1e-3)
    assert clean.lines == []
    assert report.lines == [
        f"{tmp_path / 'ImageSets' / 'Main' / 'val.txt'}:9: listed image not found: {tmp_path / 'JPEGImages' / 'none'}"
    ]


def test_training_on_voc_is_training_on_a_copy_in_label_files(tmp_path):
    for folder in ("JPEGImages", "Annotations"):
        (tmp_path / folder).mkdir()
    rng = np.random.default_rng(0)
    for number in range(6):
        cv2.imwrite(str(tmp_path / "JPEGImages" / f"{number}.png"), rng.integers(0, 255, (80, 100, 3), np.uint8))
        box = OBJECT.format(("cat", "dog")[number % 2], "").replace(">20<", f">{20 + number}<")
        size = SIZE.replace("200", "100").replace(">100</height", ">80</height")
        (tmp_path / "Annotations" / f"{number}.xml").write_text(f"<annotation>{size}{box}</annotation>")
    (tmp_path / "voc.yaml").write_text(f"train: JPEGImages\nval: JPEGImages\n{NAMES}")
    assert main(["check", f"data={tmp_path / 'voc.yaml'}", "--fix", str(tmp_path / "copy")]) == 0
    assert_same_training(tmp_path, "detect", tmp_path / "voc.yaml", tmp_path / "copy" / "data.yaml")


def test_image_sets_with_spaces_in_names_and_with_suffixes(tmp_path):
    (tmp_path / "ImageSets" / "Main").mkdir(parents=True)
    (tmp_path / "Annotations").mkdir()
    for name in ("a b", "a", "c 1", "d"):
        write_voc(tmp_path, OBJECT.format("cat", ""), name)
    (tmp_path / "ImageSets" / "Main" / "val.txt").write_text("a b\na 1\nc 1\nd.jpg\nc -1\n")
    _, store, report = read(tmp_path, f"val: ImageSets/Main/val.txt\n{NAMES}")
    assert [Path(image).name for image in store.im_files] == ["a b.jpg", "a.jpg", "c 1.jpg", "d.jpg"]
    assert report.lines == []


@pytest.mark.parametrize(
    ("entry", "folder", "image"),
    [
        ("val: .", "Annotations", "JPEGImages/a.jpg"),
        ("format: voc\nval: images/val", "annotations/val", "images/val/a.jpg"),
        ("val: both", "both", "both/a.jpg"),
    ],
)
def test_layouts_of_voc(tmp_path, entry, folder, image):
    picture(tmp_path / image)
    (tmp_path / folder).mkdir(parents=True, exist_ok=True)
    (tmp_path / folder / "a.xml").write_text(f"<annotation>{SIZE}{OBJECT.format('dog', '')}</annotation>")
    info, store, _ = read(tmp_path, f"{entry}\n{NAMES}")
    assert info["format"] == "voc"
    assert store.cls.tolist() == [1]
    np.testing.assert_allclose(store.bboxes[0], (0.25, 0.3, 0.3, 0.4), atol=1e-7)


@pytest.mark.parametrize(
    ("folder", "label"),
    [("images/val", "labels/val/a.txt"), ("JPEGImages", "JPEGImages/a.txt"), ("both", "both/a.txt")],
)
def test_label_files_come_before_stray_xml(tmp_path, folder, label):
    picture(tmp_path / folder / "a.jpg")
    (tmp_path / folder / "a.xml").write_text(f"<annotation>{SIZE}{OBJECT.format('dog', '')}</annotation>")
    (tmp_path / "Annotations").mkdir()
    (tmp_path / label).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / label).write_text("0 .5 .5 .2 .2\n")
    info, store, _ = read(tmp_path, f"val: {folder}\n{NAMES}")
    assert info.get("format") is None
    assert store.cls.tolist() == [0]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (OBJECT.format("cow", ""), "class 'cow' is not in names"),
        (OBJECT.format("dgo", ""), "class 'dgo' is not in names. Did you mean 'dog'?"),
        (OBJECT.format("dog", "").replace("20", "x"), "xmin is 'x', not a number"),
        (OBJECT.format("dog", "").replace("<ymax>50</ymax>", ""), "ymax is missing"),
        (OBJECT.format("dog", "").replace("20", "90"), "the object is -10 x 40"),
        (OBJECT.format("dog", "").replace("20", "nan"), "xmin is 'nan', not a number"),
        (OBJECT.format("dog", "").replace("80", "8000"), "column 2 is 20.05"),
        (OBJECT.format("cat", ""), "the same as the object of line 3"),
    ],
)
def test_a_fault_in_voc_is_told_with_file_and_line(tmp_path, body, message):
    root = write_voc(tmp_path, f"\n{OBJECT.format('cat', '')}\n\n{body}")
    _, store, report = read(root, f"val: JPEGImages\n{NAMES}")
    assert len(store.cls) == 1
    assert len(report.lines) == 1
    assert report.lines[0].startswith(f"{root / 'Annotations' / 'a.xml'}:5: {message}")


def test_parts_difficult_objects_and_files_without_size(tmp_path):
    part = "<part><name>head</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox></part>"
    body = OBJECT.format("cat", part) + OBJECT.format("dog", "<difficult>1</difficult>")
    root = write_voc(tmp_path, body, size="")
    picture(root / "JPEGImages" / "bare.jpg")
    _, store, report = read(root, f"val: JPEGImages\n{NAMES}", strict=True)
    assert store.cls.tolist() == [0]
    np.testing.assert_allclose(store.bboxes[0], (0.25, 0.3, 0.3, 0.4), atol=1e-7)
    assert report.left_out == {"difficult object": 1}
    assert report.missing == 1


BOMB = '<!DOCTYPE a [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]><annotation><object><name>&b;</name></object></annotation>'
FETCH = (
    '<!DOCTYPE a [<!ENTITY a SYSTEM "file:///etc/hostname">]><annotation><object><name>&a;</name></object></annotation>'
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BOMB, "it declares entities"),
        (FETCH, "it declares entities"),
        ("<annotation><object>", "line 1, column 21: no element found"),
        ("", "no element found"),
        ("\x00\x01", "not well-formed"),
    ],
)
def test_hostile_and_broken_xml(tmp_path, text, message, caplog):
    caplog.set_level(logging.INFO, "yolocore")
    root = write_voc(tmp_path, OBJECT.format("cat", ""))
    write_voc(root, "", name="b")
    (root / "Annotations" / "b.xml").write_text(text)
    _, store, report = read(root, f"val: JPEGImages\n{NAMES}")
    assert len(store) == 1
    assert report.corrupt == 1
    assert report.lines[0].startswith(f"{root / 'Annotations' / 'b.xml'}: annotation file cannot be read as XML")
    assert message in report.lines[0]


def test_voc_is_for_detection_only(tmp_path):
    root = write_voc(tmp_path, OBJECT.format("cat", ""))
    with pytest.raises(DataError, match="format voc holds labels for detect, not for task segment"):
        read(root, f"val: JPEGImages\n{NAMES}", "segment")
