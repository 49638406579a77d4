"""Every row of the reading rules of label files, and that the fast path and the diagnosis agree."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from yolocore.data.row_faults import diagnose
from yolocore.data.rows import Schema, assemble, parse_fast, suspicious
from yolocore.data.scan import scan
from yolocore.errors import DataError

GOOD = {
    "detect": "0 .5 .5 .2 .2",
    "segment": "0 .1 .1 .4 .1 .4 .5",
    "pose": "0 .5 .5 .2 .2 .4 .4 2 .6 .6 1",
    "obb": "0 .1 .1 .4 .1 .4 .5 .1 .5",
}
JPEG = cv2.imencode(".jpg", np.full((20, 30, 3), 127, np.uint8))[1].tobytes()


def make(root: Path, labels: dict[str, str | bytes | None]) -> dict:
    (root / "images").mkdir(parents=True, exist_ok=True)
    (root / "labels").mkdir(exist_ok=True)
    for name, text in labels.items():
        (root / "images" / f"{name}.jpg").write_bytes(JPEG)
        if text is not None:
            data = text.encode() if isinstance(text, str) else text
            (root / "labels" / f"{name}.txt").write_bytes(data)
    return {"path": root, "train": [str(root / "images")], "nc": 2, "kpt_shape": [2, 3]}


def read(root: Path, text: str | bytes | None, task: str = "detect", **changes):
    """Scan one image with ``text`` as label, beside a good one, so that the split always has a label."""
    info = make(root, {"a": text, "z": GOOD[task]}) | changes
    return scan(info, "train", task=task, cache=False)


INVALID = [
    ("detect", "0 .5 .5 .2", "wrong number of columns", "expected 5 columns (class x y w h), found 4"),
    ("detect", "0 .5 .5 .2 .2 .9", "wrong number of columns", "is the last column a confidence"),
    ("detect", "0 .5 .5 .2 .2 .9 .1 .3", "wrong number of columns", "odd number of polygon coordinates (7)"),
    ("detect", "0", "wrong number of columns", "found 1"),
    ("detect", "0 1.2 .5 .2 .2", "coordinate out of range", "column 2 is 1.2"),
    ("detect", "0 .5 .5 .2 1.02", "coordinate out of range", "column 5 is 1.02"),
    ("detect", "0 -.1 .5 .2 .2", "coordinate out of range", "column 2 is -0.1"),
    ("detect", "0 .5 .5 -.2 .2", "coordinate out of range", "column 4"),
    ("detect", "0 320 200 50 60", "coordinate out of range", "are these pixels"),
    ("detect", "0 nan .5 .2 .2", "coordinate not finite", "column 2 is nan"),
    ("detect", "0 .5 inf .2 .2", "coordinate not finite", "column 3 is inf"),
    ("detect", "0 .5 -inf .2 .2", "coordinate not finite", "-inf"),
    ("detect", "-1 .5 .5 .2 .2", "class out of range", "class -1 is out of range 0 ... 1"),
    ("detect", "5 .5 .5 .2 .2", "class out of range", "class 5 is out of range 0 ... 1"),
    ("detect", "2 .5 .5 .2 .2", "class out of range", "0 ... 1"),
    ("detect", "0.5 .5 .5 .2 .2", "class out of range", "not an integer"),
    ("detect", "nan .5 .5 .2 .2", "class out of range", "nan"),
    ("detect", "1e300 .5 .5 .2 .2", "class out of range", "out of range"),
    ("detect", "cat .5 .5 .2 .2", "not a number", "'cat'"),
    ("detect", "traffic light .5 .5 .2 .2", "not a number", "write the index of the class"),
    ("detect", "0,.5,.5,.2,.2", "not a number", "separated by spaces"),
    ("detect", "0 0,5 0,5 0,2 0,2", "not a number", "decimals use a point"),
    ("detect", "0 .5 .5 .2 x", "not a number", "column 5"),
    ("detect", "0 .5 .5 .2 1_0", "not a number", "column 5"),
    ("detect", "0 .5 .5 .2 ٣", "not a number", "column 5"),
    ("detect", "0 .5 .5 0 .2", "zero width or height", "more than 0"),
    ("detect", "0 .5 .5 .2 0", "zero width or height", "more than 0"),
    ("detect", "0 .2 .2 .2 .4 .2 .6", "zero width or height", "0 x 0.4"),
    ("segment", "0 .5 .5 .2 .2", "wrong number of columns", "a box row"),
    ("segment", "0 .5 .5 .2 .2 .1", "wrong number of columns", "at least 7 columns"),
    ("segment", "0 .5 .5 .2 .2 .1 .3 .4", "wrong number of columns", "odd number of polygon coordinates (7)"),
    ("segment", "0 .5 .5 .2 .2 1.5 .3", "coordinate out of range", "column 6 is 1.5"),
    ("segment", "0 .5 .5 .5 .5 .5 .5", "zero width or height", "0 x 0"),
    ("pose", "0 .5 .5 .2 .2", "wrong number of columns", "expected 11 columns"),
    ("pose", GOOD["pose"] + " .7", "wrong number of columns", "2 points of 3 values), found 12; is the last"),
    ("pose", "0 .5 .5 .2 .2 .4 1.4 2 .6 .6 1", "coordinate out of range", "column 7 is 1.4"),
    ("pose", "0 .5 .5 .2 .2 .4 .4 .9 .6 .6 1", "visibility is not 0, 1 or 2", "column 8 is 0.9"),
    ("pose", "0 .5 .5 .2 .2 nan .4 0 .6 .6 1", "coordinate not finite", "column 6"),
    (
        "obb",
        "0 .5 .5 .2 .2",
        "wrong number of columns",
        "(class x1 y1 x2 y2 x3 y3 x4 y4), found 5",
    ),
    ("obb", GOOD["obb"] + " .9", "wrong number of columns", "confidence"),
    ("obb", "0 .1 .1 1.4 .1 .4 .5 .1 .5", "coordinate out of range", "column 4 is 1.4"),
]


@pytest.mark.parametrize(("task", "row", "reason", "message"), INVALID)
def test_an_invalid_row_is_skipped_counted_and_located(tmp_path, task, row, reason, message):
    text = f"\n{GOOD[task]}\n{row}\n1{GOOD[task][1:]}\n"
    store, report = read(tmp_path, text, task)
    assert report.counts == {reason: 1}
    (line,) = report.lines
    assert line.startswith(f"{tmp_path / 'labels' / 'a.txt'}:3: ")
    assert message in line
    assert store[0].cls.tolist() == [0, 1]
    assert report.corrupt == 0


@pytest.mark.parametrize(("task", "row", "reason", "message"), INVALID[:3] + INVALID[-2:])
def test_strict_makes_it_an_error(tmp_path, task, row, reason, message):
    info = make(tmp_path, {"a": f"{GOOD[task]}\n{row}\n"})
    with pytest.raises(DataError, match=r"a\.txt:2: ") as error:
        scan(info, "train", task=task, strict=True, cache=False)
    assert reason in str(error.value)


VALID = [
    ("detect", "0 .5 .5 .2 .2", [[0.5, 0.5, 0.2, 0.2]]),
    ("detect", "0.0 .5 .5 .2 .2", [[0.5, 0.5, 0.2, 0.2]]),
    ("detect", "\ufeff0 .5 .5 .2 .2", [[0.5, 0.5, 0.2, 0.2]]),
    ("detect", "0\t.5  .5 .2 .2\r\n\r\n", [[0.5, 0.5, 0.2, 0.2]]),
    ("detect", "0 5e-1 .5 .2 .2", [[0.5, 0.5, 0.2, 0.2]]),
    ("detect", "0 1.005 .5 .2 .2", [[1.0, 0.5, 0.2, 0.2]]),
    ("detect", "0 .1 .1 .4 .1 .4 .5", [[0.25, 0.3, 0.3, 0.4]]),
    ("detect", "0 .1 .1 .4 .1 .4 .5\n1 .5 .5 .2 .2", [[0.25, 0.3, 0.3, 0.4], [0.5, 0.5, 0.2, 0.2]]),
    ("segment", "0 .1 .1 .4 .1 .4 .5", [[0.25, 0.3, 0.3, 0.4]]),
    ("pose", GOOD["pose"], [[0.5, 0.5, 0.2, 0.2]]),
    ("pose", "0 .5 .5 .2 .2 -1 7 0 .6 .6 1", [[0.5, 0.5, 0.2, 0.2]]),
    ("obb", GOOD["obb"], [[0.25, 0.3, 0.3, 0.4]]),
    ("obb", "0 -.05 .1 .4 .1 .4 .5 -.05 .5", [[0.2, 0.3, 0.4, 0.4]]),
]


@pytest.mark.parametrize(("task", "text", "boxes"), VALID)
def test_valid_rows(tmp_path, task, text, boxes):
    store, report = read(tmp_path, text, task)
    assert report.lines == []
    np.testing.assert_allclose(store[0].bboxes, boxes, atol=1e-6)


def test_polygons_corners_and_keypoints_are_stored(tmp_path):
    segment = read(tmp_path / "s", GOOD["segment"], "segment")[0][0]
    np.testing.assert_allclose(segment.segments[0], [[0.1, 0.1], [0.4, 0.1], [0.4, 0.5]], atol=1e-6)
    obb = read(tmp_path / "o", "0 -.05 .1 .4 .1 .4 .5 -.05 .5", "obb")[0][0]
    np.testing.assert_allclose(obb.segments[0], [[-0.05, 0.1], [0.4, 0.1], [0.4, 0.5], [-0.05, 0.5]], atol=1e-6)
    pose = read(tmp_path / "p", "0 .5 .5 .2 .2 .4 .3 2 -1 7 0", "pose")[0][0]
    np.testing.assert_allclose(pose.keypoints, [[[0.4, 0.3, 2], [0, 0, 0]]], atol=1e-6)
    assert read(tmp_path / "d", GOOD["segment"], "detect")[0][0].segments[0].shape == (0, 2)


def test_two_values_a_point_give_visibility_from_the_sign(tmp_path):
    info = make(tmp_path, {"a": "0 .5 .5 .2 .2 .4 .3 -1 .5"}) | {"kpt_shape": [2, 2]}
    store, _ = scan(info, "train", task="pose", cache=False)
    np.testing.assert_allclose(store.keypoints, [[[0.4, 0.3, 1], [0, 0, 0]]], atol=1e-6)


def test_duplicates_are_dropped_and_counted(tmp_path):
    store, report = read(tmp_path, "0 .5 .5 .2 .2\n1 .5 .5 .2 .2\n0.0 0.50 .5 .2 .2\n")
    assert store[0].cls.tolist() == [0, 1]
    assert report.counts == {"duplicate row": 1}
    assert "a.txt:3: the same row as line 1; 1 duplicate removed" in report.lines[0]


def test_a_box_past_the_edge_is_kept_and_counted(tmp_path):
    store, report = read(tmp_path, "0 .95 .5 .2 .2")
    np.testing.assert_allclose(store[0].bboxes, [[0.95, 0.5, 0.2, 0.2]], atol=1e-6)
    assert report.counts == {"box past the edge (clipped when used)": 1}
    assert report.lines == []


@pytest.mark.parametrize(("text", "counter"), [(None, "missing"), ("", "empty"), ("\n \n", "empty")])
def test_backgrounds(tmp_path, text, counter):
    store, report = read(tmp_path, text)
    assert len(store) == 2
    assert store[0].cls.shape == (0,)
    assert getattr(report, counter) == 1
    assert report.missing + report.empty == 1
    assert report.found == 1
    assert report.lines == []
    scan(make(tmp_path, {}), "train", task="detect", strict=True, cache=False)


@pytest.mark.parametrize(
    ("data", "hint"),
    [
        ("0 .5 .5 .2 .2".encode("utf-16"), "UTF-16"),
        (b"\x00\x01\x02", "zero bytes"),
        (b"0 .5 \xff\xff", "byte 5"),
    ],
)
def test_a_label_file_that_is_no_text_is_skipped_with_its_image(tmp_path, data, hint):
    store, report = read(tmp_path, data)
    assert [Path(f).stem for f in store.im_files] == ["z"]
    assert report.corrupt == 1
    assert report.counts == {"label file cannot be read as text": 1}
    assert hint in report.lines[0]


@pytest.mark.parametrize("kind", ["directory", "dangling", "fifo"])
def test_a_label_path_that_is_no_file(tmp_path, kind):
    import os

    info = make(tmp_path, {"a": None, "z": GOOD["detect"]})
    label = tmp_path / "labels" / "a.txt"
    if kind == "directory":
        label.mkdir()
    elif kind == "dangling":
        label.symlink_to(tmp_path / "nowhere")
    else:
        os.mkfifo(label)
    store, report = scan(info, "train", task="detect", cache=False)
    assert len(store) == 1
    assert report.counts == {"label file is not a readable regular file": 1}
    assert report.lines[0].startswith(str(label))


def test_the_class_check_uses_the_classes_of_the_files(tmp_path):
    from yolocore.config.dataset_info import DatasetInfo

    info = DatasetInfo({**make(tmp_path, {"a": "1 .5 .5 .2 .2"}), "yaml_file": "x.yaml"})
    info["nc"], info["names"] = 1, {0: "item"}
    store, report = scan(info, "train", task="detect", cache=False)
    assert not report.lines
    assert store.merge_classes().cls.tolist() == [0]


TOKEN = st.sampled_from(["0", "1", ".5", ".2", "0.25", "1.005", "-0.2", "nan", "inf", "x", "2", "1e-60", "0.0", "-0.0"])
ROW = st.lists(TOKEN, min_size=0, max_size=12).map(" ".join)


@pytest.mark.parametrize("task", ["detect", "segment", "pose", "obb"])
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.one_of(ROW, st.sampled_from([*GOOD.values(), "1 .5 .5 .2 .2"])), max_size=6))
def test_what_the_fast_path_lets_pass_the_diagnosis_lets_pass(task, rows):
    data = "\n".join(rows).encode()
    schema = Schema(task, 2, (2, 3) if task == "pose" else (0, 0))
    good_values, good_columns, faults = diagnose(data, schema)
    kept = assemble(np.array(good_values, dtype=np.float64), np.array(good_columns, dtype=np.int64), schema)
    assert (kept.bboxes[:, 2:] > 0).all()
    assert np.isfinite(kept.bboxes).all()
    assert kept.seg_counts.sum() == len(kept.seg_points)
    try:
        values, columns = parse_fast(data)
    except ValueError:
        assert faults
        return
    columns_array = np.array(columns, dtype=np.int64)
    doubtful = suspicious(np.array(values), columns_array, np.zeros(len(columns), np.int64), schema)
    assert doubtful.any() or not faults
    assert faults or not doubtful.any()
