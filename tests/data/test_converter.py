"""Converters of COCO JSON, masks and DOTA: the documented rows, held against pycocotools, and every refusal."""

from __future__ import annotations

import json
import logging
import re
import signal
import subprocess
import sys
import tracemalloc

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from yolocore.data.converter import (
    coco91_to_coco80_class,
    convert_coco,
    convert_dota_to_yolo_obb,
    convert_segment_masks_to_yolo_seg,
    yolo_bbox2segment,
)
from yolocore.data.outlines import decode_rle, join_outlines
from yolocore.errors import DataError, MissingFileError, PluginError

OBJECT = {
    "image_id": 1,
    "category_id": 1,
    "bbox": [20, 10, 60, 40],
    "segmentation": [[20, 10, 80, 10, 80, 50, 20, 50]],
    "keypoints": [30, 20, 2, 40, 30, 1, 0, 0, 0],
}


def write_coco(folder, annotations, name="instances_val.json", file_name="a.jpg", **image):
    folder.mkdir(parents=True, exist_ok=True)
    record = {"id": 1, "file_name": file_name, "width": 200, "height": 100, **image}
    numbered = [{"id": i, "iscrowd": 0, **annotation} for i, annotation in enumerate(annotations, start=1)]
    categories = [{"id": i, "name": f"c{i}"} for i in (1, 2, 12, 90)]
    document = {"images": [record], "annotations": numbered, "categories": categories}
    (folder / name).write_text(json.dumps(document))
    return folder


def rows(root, name="labels/val/a.txt"):
    return (root / name).read_text().splitlines()


@pytest.mark.parametrize(
    ("change", "options", "expected"),
    [
        ({}, {}, "0 0.25 0.3 0.3 0.4"),
        ({}, {"use_segments": True}, "0 0.1 0.1 0.4 0.1 0.4 0.5 0.1 0.5"),
        ({"segmentation": []}, {"use_segments": True}, "0 0.25 0.3 0.3 0.4"),
        ({}, {"use_keypoints": True}, "0 0.25 0.3 0.3 0.4 0.15 0.2 2 0.2 0.3 1 0 0 0"),
        ({"category_id": 90}, {}, "79 0.25 0.3 0.3 0.4"),
        ({"category_id": 90}, {"cls91to80": False}, "89 0.25 0.3 0.3 0.4"),
    ],
)
def test_documented_rows(tmp_path, change, options, expected):
    write_coco(tmp_path / "json", [OBJECT | change])
    result = convert_coco(tmp_path / "json", tmp_path / "out", **options)
    assert rows(tmp_path / "out") == [expected]
    assert (tmp_path / "out" / "images").is_dir()
    assert result == (tmp_path / "out" / "labels", 1, 1, [], {})


@pytest.mark.parametrize(
    ("change", "options", "reason"),
    [
        (
            {"iscrowd": 1, "segmentation": {"size": [100, 200], "counts": [20000]}},
            {"use_segments": True},
            "crowd region",
        ),
        ({"category_id": 12}, {}, "category 'c12' without class"),
        ({"keypoints": None}, {"use_keypoints": True}, "object without keypoints"),
        ({"bbox": [20, 10, 0, 40]}, {}, "0 x 40"),
        ({}, {}, "the same row as annotation 1"),
        ({"bbox": [20, 10, 60]}, {}, r"bbox is \[20, 10, 60\]"),
        ({"bbox": [20, 10, 60, float("nan")]}, {}, "no finite number"),
        ({"bbox": [20, 10, 60, 10**400]}, {}, "no finite number"),
        ({"bbox": "wide"}, {}, "bbox is wide"),
        ({"category_id": 5}, {}, "category_id is 5"),
        ({"image_id": 7}, {}, "image_id 7 is not the id"),
        ({"image_id": None}, {}, "annotation number 2: has no 'image_id'"),
        ({"segmentation": [[1, 2, 3, 4, 5, 6, 7]]}, {"use_segments": True}, "an odd number of polygon coordinates"),
        ({"segmentation": {"size": [100, 200], "counts": [80]}}, {"use_segments": True}, "add up to 80"),
        ({"segmentation": {"size": [9, 9], "counts": [81]}}, {"use_segments": True}, r"the image is \[100, 200\]"),
        ({"segmentation": {"size": [100, 200], "counts": "o" * 99 + "0"}}, {"use_segments": True}, "beyond any image"),
        ({"segmentation": {"size": [100, 200], "counts": [10**4299] * 20}}, {"use_segments": True}, "a run length is"),
        ({"keypoints": [1, 2]}, {"use_keypoints": True}, "2 numbers in 'keypoints'"),
    ],
)
def test_what_is_left_out_or_wrong_is_told_with_its_record(tmp_path, change, options, reason, caplog):
    folder = write_coco(tmp_path / "json", [OBJECT, OBJECT | change])
    result = convert_coco(folder, tmp_path / "out", **options)
    assert len(rows(tmp_path / "out")) == result.objects == 1
    told = result.findings + [f"left out: {name}" for name, count in result.left_out.items() if count == 1]
    assert len(told) == 1
    assert re.search(reason, told[0])
    if result.findings:
        assert told[0].startswith(f"{folder / 'instances_val.json'}: annotation ")
        assert told[0] in caplog.text


def test_of_many_findings_ten_are_shown_and_the_rest_counted(tmp_path, caplog):
    folder = write_coco(tmp_path / "json", [OBJECT, *[OBJECT | {"bbox": [1, 2]}] * 13])
    result = convert_coco(folder, tmp_path / "out")
    assert (result.objects, len(result.findings)) == (1, 13)
    assert "13 findings" in caplog.text
    assert "... and 3 more" in caplog.text
    assert [line in caplog.text for line in result.findings] == [True] * 10 + [False] * 3


def test_two_files_of_one_split_with_the_same_image(tmp_path):
    folder = write_coco(tmp_path / "json", [OBJECT])
    write_coco(folder, [OBJECT | {"category_id": 2}] * 2, "val.json")
    result = convert_coco(folder, tmp_path / "out")
    assert rows(tmp_path / "out") == ["0 0.25 0.3 0.3 0.4"]  # of the first; none is replaced
    assert (result.files, result.objects) == (1, 1)
    (told,) = result.findings
    assert told.startswith(f"{folder / 'val.json'}: image 1")
    assert "is there already" in told


def test_categories_need_not_be_listed(tmp_path):
    folder = write_coco(tmp_path / "json", [OBJECT | {"category_id": 7}])
    document = json.loads((folder / "instances_val.json").read_text())
    del document["categories"]
    (folder / "instances_val.json").write_text(json.dumps(document))
    convert_coco(folder, tmp_path / "out", cls91to80=False)
    assert rows(tmp_path / "out") == ["6 0.25 0.3 0.3 0.4"]


def test_names_of_images(tmp_path):
    json_dir = write_coco(tmp_path / "json", [OBJECT], file_name="deep/er/b.c.jpg")
    write_coco(json_dir, [OBJECT | {"category_id": 2}], "lvis_train.json", coco_url="http://x/train2017/d.jpg")
    convert_coco(json_dir, tmp_path / "out")
    assert rows(tmp_path / "out", "labels/val/deep/er/b.c.txt") == ["0 0.25 0.3 0.3 0.4"]
    (json_dir / "instances_val.json").unlink()
    assert convert_coco(json_dir, tmp_path / "out", lvis=True).folder == tmp_path / "out2" / "labels"
    assert rows(tmp_path / "out2", "labels/lvis_train/d.txt") == ["1 0.25 0.3 0.3 0.4"]


@pytest.mark.parametrize(
    "name", ["../../evil.jpg", "/evil.jpg", "a/../../../evil.jpg", "..\\..\\evil.jpg", "C:evil.jpg"]
)
def test_a_name_cannot_lead_out_of_the_target(tmp_path, name):
    folder = write_coco(tmp_path / "in" / "json", [OBJECT], file_name=name)
    result = convert_coco(folder, tmp_path / "in" / "out")
    assert result.files == 0
    assert "leads out of the dataset" in result.findings[0]
    assert not list(tmp_path.rglob("*.txt"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", r"instances\.json:1:2: not JSON"),
        ("[]", "no list 'images'"),
        ('{"images": []}', "no list 'annotations'"),
        ("[" * 100_000, "not JSON"),
    ],
)
def test_what_is_no_coco_file(tmp_path, content, message):
    folder = write_coco(tmp_path / "json", [OBJECT], "a_good_one_first.json")
    (folder / "instances.json").write_text(content)
    with pytest.raises(DataError, match=message):
        convert_coco(folder, tmp_path / "out")
    assert list(tmp_path.iterdir()) == [folder]  # nothing is left of the good one either


def test_no_json_and_two_kinds_of_rows(tmp_path):
    with pytest.raises(MissingFileError, match="holds no annotation file"):
        convert_coco(tmp_path, tmp_path / "out")
    with pytest.raises(DataError, match="choose one"):
        convert_coco(tmp_path, tmp_path / "out", use_segments=True, use_keypoints=True)


def test_the_table_of_ids():
    table = coco91_to_coco80_class()
    assert len(table) == 91
    assert [number for number in table if number is not None] == list(range(80))
    assert [i for i, number in enumerate(table, 1) if number is None] == [12, 26, 29, 30, 45, 66, 68, 69, 71, 83, 91]


@pytest.mark.parametrize("seed", range(5))
def test_run_lengths_are_those_of_pycocotools(seed):
    rng = np.random.default_rng(seed)
    mask = (cv2.blur(rng.random((57, 83)), (7, 7)) > 0.5).astype(np.uint8)
    mask[0, 0] = seed % 2
    rle = coco_mask.encode(np.asfortranarray(mask))
    text = {"size": list(rle["size"]), "counts": rle["counts"].decode()}
    assert (decode_rle(text, 10**6) == mask).all()
    pixels = np.concatenate([[0], mask.ravel(order="F")])
    edges = np.flatnonzero(np.diff(pixels)).tolist()
    plain = {"size": [57, 83], "counts": np.diff([0, *edges, mask.size]).tolist()}
    assert (decode_rle(plain, 10**6) == mask).all()
    with pytest.raises(DataError, match="more pixels"):
        decode_rle(text, 100)
    with pytest.raises(DataError, match="run lengths"):
        decode_rle({**text, "counts": text["counts"][:-1] + "~"}, 10**6)


def test_a_joined_outline_covers_its_parts():
    squares = [np.array([(x, y), (x + s, y), (x + s, y + s), (x, y + s)], float) for x, y, s in
               ((10, 10, 20), (60, 15, 30), (12, 70, 18))]  # fmt: skip
    squares[1] = squares[1][::-1]
    joined = join_outlines(squares)
    apart, together = np.zeros((100, 100), np.uint8), np.zeros((100, 100), np.uint8)
    cv2.fillPoly(apart, [s.astype(np.int32) for s in squares], 1)
    cv2.fillPoly(together, [joined.astype(np.int32)], 1)
    bridges = together.astype(int) - apart
    assert bridges.min() == 0
    assert bridges.sum() < 100  # lines one pixel wide, over gaps of 30 and 40
    x, y = joined.T
    assert abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2 == pytest.approx(400 + 900 + 324)


def test_very_many_points_are_joined_in_bounded_memory_and_time():
    angle = np.linspace(0, 2 * np.pi, 30_000, endpoint=False)
    circle = np.stack([np.cos(angle), np.sin(angle)], 1) * 40
    tiny = np.array([(0, 0), (1, 0), (1, 1)], float)
    rows = [tiny + np.array([100 + 2 * (i % 20), 2 * (i // 20)]) for i in range(400)]
    tracemalloc.start()
    joined = join_outlines([circle + 50, circle + np.array([50, 150]), *rows])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100e6  # all pairs of the two circles alone are 7 GB
    assert len(joined) == 60_000 + 3 * 400 + 2 * 401
    x, y = (joined - joined[0]).T
    assert abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2 == pytest.approx(2 * np.pi * 1600 + 200, rel=1e-4)


@pytest.mark.shared
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # inside pycocotools
@pytest.mark.parametrize("segments", [False, True])
def test_real_coco_boxes_come_back_to_a_pixel(shared_dir, tmp_path, segments, monkeypatch):
    source = shared_dir / "data" / "coco-json" / "annotations"
    before = {p: p.stat().st_mtime_ns for p in source.parent.rglob("*")}
    done = []
    result = convert_coco(source, tmp_path / "out", use_segments=segments, progress=lambda n, of: done.append((n, of)))
    assert {p: p.stat().st_mtime_ns for p in source.parent.rglob("*")} == before
    assert result.findings == []
    assert (17, 17) in done
    truth = COCO(str(source / "instances_val2017.json"))
    table, count = coco91_to_coco80_class(), 0
    for image in truth.loadImgs(truth.getImgIds()):
        w, h = image["width"], image["height"]
        objects = [a for a in truth.loadAnns(truth.getAnnIds(image["id"])) if not a["iscrowd"]]
        lines = rows(tmp_path / "out", f"labels/val2017/{image['file_name'][:-4]}.txt")
        assert len(lines) == len(objects)
        for annotation, line in zip(objects, lines, strict=True):
            cls, *numbers = map(float, line.split())
            assert cls == table[annotation["category_id"] - 1]
            left, top, bw, bh = annotation["bbox"]
            if segments:
                points = np.array(numbers).reshape(-1, 2) * (w, h)
                low, high = points.min(0), points.max(0)
                mask = np.zeros((h, w), np.uint8)
                cv2.fillPoly(mask, [np.round(points).astype(np.int32)], 1)
                real = truth.annToMask(annotation)
                assert np.abs(mask.astype(int) - real).sum() <= 0.1 * real.sum() + 2 * np.ptp(points, 0).sum()
            else:
                centre, size = np.array(numbers[:2]) * (w, h), np.array(numbers[2:]) * (w, h)
                low, high = centre - size / 2, centre + size / 2
            np.testing.assert_allclose([*low, *high], [left, top, left + bw, top + bh], atol=1)
            count += 1
    assert count == 188


def test_documented_mask(tmp_path):
    mask = np.zeros((20, 40), np.uint8)
    mask[5:15, 10:30] = 2
    (tmp_path / "masks").mkdir()
    Image.fromarray(mask).save(tmp_path / "masks" / "a.png")
    convert_segment_masks_to_yolo_seg(tmp_path / "masks", tmp_path / "out", 2)
    assert rows(tmp_path, "out/a.txt") == ["1 0.25 0.25 0.25 0.7 0.725 0.7 0.725 0.25"]
    with pytest.raises(DataError, match="a.txt: exists and is not replaced"):
        convert_segment_masks_to_yolo_seg(tmp_path / "masks", tmp_path / "out", 2)


def test_values_of_masks(tmp_path, caplog):
    caplog.set_level(logging.INFO, "yolocore")
    mask = np.zeros((20, 40), np.uint8)
    mask[5:15, 2:12], mask[5:15, 20:30], mask[2, 38] = 255, 7, 1  # the last one is a dot: no contour
    masks = tmp_path / "masks"
    masks.mkdir()
    grey = Image.fromarray(mask)
    grey.save(masks / "grey.png")
    Image.merge("RGB", (grey, grey, grey)).save(masks / "same.png")
    Image.fromarray(np.dstack([mask, mask * 0, mask])).save(masks / "coloured.png")
    palette = Image.fromarray(np.minimum(mask, 1)).convert("P")
    palette.putpalette([0, 0, 0, 200, 30, 30])
    palette.save(masks / "palette.png")
    (masks / "broken.png").write_bytes(b"no image")
    (masks / "notes.txt").write_text("x")
    result = convert_segment_masks_to_yolo_seg(masks, tmp_path / "one", 1)
    square = "0 0.05 0.25 0.05 0.7 0.275 0.7 0.275 0.25"
    assert rows(tmp_path, "one/grey.txt") == rows(tmp_path, "one/same.txt") == [square]
    assert rows(tmp_path, "one/palette.txt") == [square, "0 0.5 0.25 0.5 0.7 0.725 0.7 0.725 0.25"]
    assert result.files == 3
    assert {line.split(": ")[0] for line in result.findings} == {
        str(masks / f"{n}.png") for n in ("broken", "coloured")
    }
    assert caplog.text.count("pixel value 7 is no class in 1 ... 1") == 1
    assert "pixel value 255" not in caplog.text
    convert_segment_masks_to_yolo_seg(masks, tmp_path / "eight", 8)
    assert "pixel value 255 is no class in 1 ... 8" in caplog.text
    with pytest.raises(DataError, match="classes is 0"):
        convert_segment_masks_to_yolo_seg(masks, tmp_path / "x", 0)
    with pytest.raises(MissingFileError, match="holds no mask"):
        convert_segment_masks_to_yolo_seg(tmp_path / "one", tmp_path / "x", 1)


@pytest.mark.shared
def test_real_masks_come_back(shared_dir, tmp_path):
    masks = shared_dir / "data" / "coco128-masks" / "masks"
    result = convert_segment_masks_to_yolo_seg(masks, tmp_path / "out", 255)
    assert (result.files, result.findings) == (len(list(masks.glob("*.png"))), [])
    for file in sorted(masks.glob("*.png"))[:6]:
        truth = np.asarray(Image.open(file)).astype(int)
        h, w = truth.shape
        again = np.zeros((256, h, w), np.uint8)
        for line in rows(tmp_path, f"out/{file.stem}.txt"):
            cls, *numbers = line.split()
            points = (np.array(numbers, float).reshape(-1, 2) * (w, h)).round().astype(np.int32)
            cv2.fillPoly(again[int(cls) + 1], [points], 1)
        for value in np.unique(truth[truth > 0]):
            missed = (truth == value) & (again[value] == 0)
            assert missed.sum() <= 0.01 * (truth == value).sum() + 40  # dots and lines of a pixel have no outline


def test_boxes_to_outlines(tmp_path):
    images, labels = tmp_path / "images", tmp_path / "labels"
    for folder in (images / "sub", labels / "sub"):
        folder.mkdir(parents=True)
    for name in ("a", "sub/b", "c", "none"):
        cv2.imwrite(str(images / f"{name}.png"), np.zeros((50, 100, 3), np.uint8))
    (labels / "a.txt").write_text("3 .5 .5 .2 .4\n1 .1 .1 .1 .1\n")
    (labels / "sub" / "b.txt").write_text("0 .1 .1 .9 .1 .9 .9\n")
    (labels / "c.txt").write_text("0 .5 x .2 .2\n")

    def ellipses(im_bgr, boxes):
        masks = np.zeros((len(boxes), *im_bgr.shape[:2]), np.uint8)
        x1, y1, x2, y2 = boxes[0].astype(int).tolist()
        masks[0, y1:y2, x1:x2] = 1
        return torch.from_numpy(masks)

    result = yolo_bbox2segment(images, sam_model=ellipses)
    out = tmp_path / "labels-segment"
    assert result[:3] == (out, 2, 3)
    assert rows(out, "a.txt") == ["3 0.4 0.3 0.4 0.68 0.59 0.68 0.59 0.3", "1 0.05 0.05 0.15 0.05 0.15 0.15 0.05 0.15"]
    assert (out / "sub" / "b.txt").read_bytes() == (labels / "sub" / "b.txt").read_bytes()
    assert [line.split(": ")[0] for line in result.findings] == [f"{labels / 'c.txt'}:1"]
    assert not (out / "none.txt").exists()
    with pytest.raises(DataError, match="exists and is not replaced"):
        yolo_bbox2segment(images, sam_model=ellipses)
    with pytest.raises(PluginError, match=r"shape \(1, 2\); expected \(2, 50, 100\)"):
        yolo_bbox2segment(images, tmp_path / "x", sam_model=lambda im, boxes: np.zeros((1, 2)))
    with pytest.raises(MissingFileError, match="no image with a label file"):
        yolo_bbox2segment(out, tmp_path / "y", sam_model=ellipses)


def test_outlines_of_boxes_in_deep_folders(tmp_path):
    for folder in ("images", "labels"):
        (tmp_path / folder / "deep" / "er").mkdir(parents=True)
    cv2.imwrite(str(tmp_path / "images" / "deep" / "er" / "d.png"), np.zeros((50, 100, 3), np.uint8))
    (tmp_path / "labels" / "deep" / "er" / "d.txt").write_text("3 .5 .5 .2 .4\n")
    nothing = yolo_bbox2segment(tmp_path / "images", sam_model=lambda im, boxes: np.zeros((1, *im.shape[:2])))
    assert (nothing.files, nothing.objects) == (1, 1)
    assert rows(tmp_path, "labels-segment/deep/er/d.txt") == ["3 0.4 0.3 0.6 0.3 0.6 0.7 0.4 0.7"]  # the box


@pytest.mark.shared
def test_real_dota(shared_dir, tmp_path):
    source = shared_dir / "data" / "dota-raw"
    result = convert_dota_to_yolo_obb(source / "images", source / "labelTxt", tmp_path / "out")
    assert (result.files, result.objects, result.findings) == (1, 64, [])
    lines = (source / "labelTxt" / "P1888.txt").read_text().splitlines()[2:]
    given = np.array([line.split()[:8] for line in lines if line.strip()], float)
    table = np.array([line.split() for line in rows(tmp_path, "out/P1888.txt")], float)
    h, w = cv2.imread(str(source / "images" / "P1888.png")).shape[:2]
    np.testing.assert_allclose(table[:, 1:] * np.tile((w, h), 4), given, atol=0.01)
    assert table[:3, 0].tolist() == [10, 10, 9]


def masks_of(folder, count=3):
    folder.mkdir(parents=True)
    for number in range(count):
        cv2.imwrite(str(folder / f"{number}.png"), np.pad(np.ones((20, 20), np.uint8), 5))
    return folder


def convert(what, root, progress=None):
    """Run a converter on three files below ``root``, into ``root / "out"``."""
    if what == "masks":
        return convert_segment_masks_to_yolo_seg(root / "in", root / "out", 1, progress=progress)
    if what == "coco":
        return convert_coco(root / "in", root / "out", progress=progress)
    if what == "dota":
        return convert_dota_to_yolo_obb(root / "in", root / "in", root / "out", progress=progress)
    return yolo_bbox2segment(
        root / "in", root / "out", lambda im, boxes: np.ones((len(boxes), *im.shape[:2])), progress=progress
    )


@pytest.mark.parametrize(
    ("what", "there"),
    [("coco", False), *((what, there) for what in ("masks", "dota", "boxes") for there in (False, True))],
)
def test_what_is_interrupted_leaves_nothing_and_can_be_run_again(tmp_path, what, there):
    source = masks_of(tmp_path / "in")
    if what == "coco":
        write_coco(source, [OBJECT])
    for number in range(3):
        row = "10 10 20 10 20 20 10 20 plane 0" if what == "dota" else "0 .5 .5 .5 .5"
        (source / f"{number}.txt").write_text(row + "\n")
    if there:
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "mine.txt").write_text("stays")
    before = sorted(tmp_path.rglob("*"))

    def interrupt(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert(what, tmp_path, interrupt)
    assert sorted(tmp_path.rglob("*")) == before
    told = []
    result = convert(what, tmp_path, lambda *counts: told.append(counts))
    count = 1 if what == "coco" else 3
    assert result.objects == count
    assert told == [(done, count) for done in range(1, count + 1)]
    expected = {"mine.txt"} if there else set()
    names = {"labels", "images"} if what == "coco" else {f"{n}.txt" for n in range(3)}
    assert {p.name for p in (tmp_path / "out").iterdir()} == names | expected
    assert (tmp_path / "out").stat().st_mode == source.stat().st_mode


def test_a_killed_conversion_leaves_no_label_file(tmp_path):
    masks_of(tmp_path / "in")
    code = (
        "import os, signal, sys\n"
        "from yolocore.data.converter import convert_segment_masks_to_yolo_seg as convert\n"
        "convert('in', 'out', 1, progress=lambda done, total: os.kill(os.getpid(), signal.SIGKILL))\n"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=False).returncode == -signal.SIGKILL
    assert not (tmp_path / "out").exists()
    assert convert("masks", tmp_path).files == 3


@pytest.mark.parametrize("there", [False, True], ids=["new", "there"])
def test_of_two_conversions_into_one_place_the_second_is_told(tmp_path, there):
    masks_of(tmp_path / "in")
    if there:
        (tmp_path / "out").mkdir()

    def overtake(done, total):
        (tmp_path / "out").mkdir(exist_ok=True)
        (tmp_path / "out" / "1.txt").write_text("first")

    with pytest.raises(DataError, match="out.* is not replaced|nothing is replaced"):
        convert("masks", tmp_path, overtake)
    assert [p.read_text() for p in (tmp_path / "out").iterdir()] == ["first"]
    assert {p.name for p in tmp_path.iterdir()} == {"in", "out"}


def test_masks_of_more_classes_than_a_byte_can_number(tmp_path):
    (tmp_path / "masks").mkdir()
    cv2.imwrite(str(tmp_path / "masks" / "a.png"), np.pad(np.full((10, 10), 300, np.uint16), 5))
    convert_segment_masks_to_yolo_seg(tmp_path / "masks", tmp_path / "out", 300)
    assert rows(tmp_path, "out/a.txt") == ["299 0.25 0.25 0.25 0.7 0.7 0.7 0.7 0.25"]


def test_a_row_of_dota_that_cannot_be_read_is_no_difficult_object(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((50, 100, 3), np.uint8))
    (tmp_path / "a.txt").write_text("10 10 20 10 20 20 10 20 large vehicle 0\n10 10 20 10 20 20 10 20 plane 2\n")
    result = convert_dota_to_yolo_obb(tmp_path, tmp_path, tmp_path / "out", keep_difficult=False)
    assert [line.split(": ")[0] for line in result.findings] == [f"{tmp_path / 'a.txt'}:1"]
    assert (result.objects, result.left_out) == (0, {"difficult object": 1})


def test_dota_faults(tmp_path):
    images, labels = tmp_path / "images", tmp_path / "labelTxt"
    images.mkdir()
    labels.mkdir()
    cv2.imwrite(str(images / "a.png"), np.zeros((50, 100, 3), np.uint8))
    good = "10 10 20 10 20 20 10 20"
    (labels / "a.txt").write_text(
        f"imagesource:x\ngsd:0.1\n\n{good} Small_Vehicle 0\n{good} tank 0\n{good}\n10 ten 20 10 20 20 10 20 plane 0\n"
        f"{good} plane 1\n"
    )
    (labels / "b.txt").write_text(good)
    result = convert_dota_to_yolo_obb(images, labels, tmp_path / "out", keep_difficult=False)
    assert rows(tmp_path, "out/a.txt") == ["10 0.1 0.2 0.2 0.2 0.2 0.4 0.1 0.4"]
    where = [line.split(": ")[0] for line in result.findings]
    assert where == [*(f"{labels / 'a.txt'}:{n}" for n in (5, 6, 7)), str(labels / "b.txt")]
    assert result.left_out == {"difficult object": 1}
    with pytest.raises(DataError, match="exists and is not replaced"):
        convert_dota_to_yolo_obb(images, labels, tmp_path / "out")
    assert convert_dota_to_yolo_obb(images, labels, tmp_path / "all", names=["small vehicle", "plane"]).objects == 2
