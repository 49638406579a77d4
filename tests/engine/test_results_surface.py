"""Every documented attribute, number and argument of Results and its containers, one row each."""

from __future__ import annotations

import csv
import inspect
import io
import json

import cv2
import numpy as np
import pytest
import torch

from yolocore.engine.results import OBB, Boxes, Keypoints, Masks, Probs, Results

NAMES = {0: "person", 1: "bus", 2: "tram", 3: "car", 4: "bike", 5: "cat"}
SHAPE = (100, 200)  # h, w
SQUARE = np.zeros((1, *SHAPE), np.float32)
SQUARE[0, 20:81, 10:61] = 1
CONTAINERS = {
    "boxes": (Boxes, np.array([[10.0, 20, 60, 80, 7, 0.75, 1], [50, 30, 90, 60, 9, 0.5, 0]])),
    "obb": (OBB, np.array([[50.0, 40, 20, 10, 0, 7, 0.75, 1]])),
    "masks": (Masks, SQUARE),
    "keypoints": (Keypoints, np.array([[[20.0, 30, 0.5], [100, 50, 0.25]]])),
    "probs": (Probs, np.array([0.0625, 0.5, 0.0, 0.25, 0.125, 0.03125])),
}
DOCUMENTED = [
    ("boxes", "xyxy", [[10, 20, 60, 80], [50, 30, 90, 60]]),
    ("boxes", "xywh", [[35, 50, 50, 60], [70, 45, 40, 30]]),
    ("boxes", "xyxyn", [[0.05, 0.2, 0.3, 0.8], [0.25, 0.3, 0.45, 0.6]]),
    ("boxes", "xywhn", [[0.175, 0.5, 0.25, 0.6], [0.35, 0.45, 0.2, 0.3]]),
    ("boxes", "conf", [0.75, 0.5]),
    ("boxes", "cls", [1, 0]),
    ("boxes", "id", [7, 9]),
    ("boxes", "is_track", True),
    ("boxes", "shape", (2, 7)),
    ("obb", "xywhr", [[50, 40, 20, 10, 0]]),
    ("obb", "xyxyxyxy", [[[60, 45], [60, 35], [40, 35], [40, 45]]]),
    ("obb", "xyxyxyxyn", [[[0.3, 0.45], [0.3, 0.35], [0.2, 0.35], [0.2, 0.45]]]),
    ("obb", "xyxy", [[40, 35, 60, 45]]),
    ("obb", "conf", [0.75]),
    ("obb", "cls", [1]),
    ("obb", "id", [7]),
    ("obb", "is_track", True),
    ("masks", "shape", (1, 100, 200)),
    ("masks", "xy", [[[10, 20], [10, 80], [60, 80], [60, 20]]]),
    ("masks", "xyn", [[[0.05, 0.2], [0.05, 0.8], [0.3, 0.8], [0.3, 0.2]]]),
    ("keypoints", "xy", [[[20, 30], [100, 50]]]),
    ("keypoints", "xyn", [[[0.1, 0.3], [0.5, 0.5]]]),
    ("keypoints", "conf", [[0.5, 0.25]]),
    ("keypoints", "has_visible", True),
    ("probs", "top1", 1),
    ("probs", "top5", [1, 3, 4, 0, 5]),
    ("probs", "top1conf", 0.5),
    ("probs", "top5conf", [0.5, 0.25, 0.125, 0.0625, 0.03125]),
]


def container(kind, convert=np.array):
    cls, data = CONTAINERS[kind]
    return cls(convert(data), SHAPE)


def result(*kinds, **kwargs):
    image = np.full((*SHAPE, 3), 120, np.uint8)
    return Results(image, "folder/im.jpg", NAMES, **{kind: CONTAINERS[kind][1] for kind in kinds}, **kwargs)


def tasks():
    """One result of each task, and one without predictions."""
    one = result("boxes")[0]
    segmented, posed = one[0:1], one[0:1]
    segmented.update(masks=SQUARE)
    posed.update(keypoints=CONTAINERS["keypoints"][1])
    return {
        "detect": result("boxes"),
        "segment": segmented,
        "pose": posed,
        "obb": result("obb"),
        "classify": result("probs"),
        "nothing": result(boxes=np.zeros((0, 6))),
    }


TASKS = tuple(tasks())


@pytest.mark.parametrize("convert", [np.array, torch.tensor], ids=["numpy", "torch"])
@pytest.mark.parametrize(("kind", "name", "wanted"), DOCUMENTED, ids=[f"{k}.{n}" for k, n, _ in DOCUMENTED])
def test_every_documented_member_has_the_documented_value(kind, name, wanted, convert) -> None:
    found = getattr(container(kind, convert), name)
    if isinstance(wanted, bool | tuple):
        assert found == wanted
    elif isinstance(found, list) and kind == "masks":
        np.testing.assert_allclose(np.stack(found), wanted, rtol=1e-6)
    else:
        np.testing.assert_allclose(found, wanted, rtol=1e-6)


@pytest.mark.parametrize("kind", CONTAINERS)
def test_every_container_has_the_common_members(kind) -> None:
    one = container(kind, torch.tensor)
    assert one.orig_shape == SHAPE
    assert len(one) == len(one.data) == one.shape[0]
    assert isinstance(one.numpy().data, np.ndarray)
    assert one.cpu().data.device.type == one.to("cpu").data.device.type == "cpu"
    assert one.to(torch.float32).data.dtype == torch.float32
    if kind != "probs":
        assert one[0].shape == (1, *one.shape[1:])
        assert one[0:0].shape == (0, *one.shape[1:])


def test_ids_are_none_without_tracking_and_scores_without_a_third_number() -> None:
    assert Boxes(CONTAINERS["boxes"][1][:, [0, 1, 2, 3, 5, 6]], SHAPE).id is None
    assert OBB(CONTAINERS["obb"][1][:, [0, 1, 2, 3, 4, 6, 7]], SHAPE).id is None
    points = Keypoints(CONTAINERS["keypoints"][1][..., :2], SHAPE)
    assert (points.conf, points.has_visible) == (None, False)


def test_a_result_has_the_documented_attributes() -> None:
    one = result("boxes", speed={"preprocess": 1.0, "inference": 2.0, "postprocess": 3.0})
    assert one.orig_shape == SHAPE
    assert one.orig_img.shape == (*SHAPE, 3)
    assert (one.path, one.names, one.save_dir) == ("folder/im.jpg", NAMES, None)
    assert one.speed == {"preprocess": 1.0, "inference": 2.0, "postprocess": 3.0}
    assert one.masks is one.probs is one.keypoints is one.obb is None


@pytest.mark.parametrize("task", TASKS)
def test_the_tables_of_every_task_agree(task) -> None:
    one = tasks()[task]
    for given in ({}, {"normalize": True, "decimals": 2}):
        records = one.summary(**given)
        assert json.loads(one.to_json(**given)) == records
        rows = list(csv.DictReader(io.StringIO(one.to_csv(**given))))
        read = [{k: v if k == "name" else json.loads(v) for k, v in row.items()} for row in rows]
        assert read == records


@pytest.mark.parametrize("task", TASKS)
def test_the_data_frame_of_every_task(task) -> None:
    pytest.importorskip("pandas")
    one = tasks()[task]
    assert one.to_df().to_dict("records") == one.summary()


def test_plot_has_the_documented_arguments() -> None:
    wanted = {
        "conf": True, "line_width": None, "font_size": None, "font": "Arial.ttf", "pil": False, "img": None,
        "kpt_radius": 5, "kpt_line": True, "labels": True, "boxes": True, "masks": True, "probs": True,
        "show": False, "save": False, "filename": None, "color_mode": "class", "txt_color": (255, 255, 255),
    }  # fmt: skip
    found = list(inspect.signature(Results.plot).parameters.values())[1:]
    assert {p.name: p.default for p in found} == wanted
    assert [p.name for p in found] == list(wanted)


@pytest.mark.parametrize(
    ("task", "argument"),
    [
        ("detect", {"conf": False}),
        ("detect", {"line_width": 6}),
        ("detect", {"font_size": 30}),
        ("detect", {"pil": True}),
        ("detect", {"labels": False}),
        ("detect", {"boxes": False}),
        ("detect", {"color_mode": "instance"}),
        ("detect", {"txt_color": (0, 255, 255)}),
        ("detect", {"img": np.zeros((*SHAPE, 3), np.uint8)}),
        ("segment", {"masks": False}),
        ("pose", {"kpt_radius": 9}),
        ("classify", {"probs": False}),
    ],
    ids=lambda value: value if isinstance(value, str) else next(iter(value)),
)
def test_every_visual_argument_changes_the_picture(task, argument) -> None:
    one = tasks()[task]
    assert (one.plot() == one.plot()).all()
    assert (one.plot(**argument) != one.plot()).any()


def test_points_of_a_small_person_are_small() -> None:
    def drawn(size: int) -> int:
        points = np.array([[[0, 0], [size, 0], [0, size], [size, size]]]) + 10.0  # (1, 4, 2)
        box = np.array([[10.0, 10, 10 + size, 10 + size, 0.9, 0]])
        one = Results(np.zeros((300, 300, 3), np.uint8), "a.jpg", {0: "a"}, boxes=box, keypoints=points)
        return int(one.plot(boxes=False).any(-1).sum())

    assert drawn(40) < drawn(120) < drawn(200) == drawn(280)


def test_limbs_join_the_points_of_a_person_only() -> None:
    steps = np.linspace(5, 95, 17)
    person = result(keypoints=np.stack([steps * 2, steps[::-1]], -1)[None])
    assert (person.plot() != person.plot(kpt_line=False)).any()
    other = tasks()["pose"]
    assert (other.plot() == other.plot(kpt_line=False)).all()


def test_plot_saves_what_it_returns(tmp_path) -> None:
    drawn = result("boxes").plot(save=True, filename=str(tmp_path / "p.png"))
    assert (cv2.imread(str(tmp_path / "p.png")) == drawn).all()
