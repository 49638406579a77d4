"""The tiny datasets of all tasks: readable, labelled in every picture, and learnable from what they show."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from yolocore.config import make_config
from yolocore.config.dataset import load_dataset
from yolocore.data.build import build_classification_dataset, build_dataset
from yolocore.data.images import read_image
from yolocore.data.scan import scan
from yolocore.data.shapes import TASKS
from yolocore.utils.figures import plot_images

pytest_plugins = ["yolocore.testing"]
SETTINGS = {"datasets_dir": "."}


@pytest.mark.parametrize("task", TASKS)
def test_every_task_has_a_fixture_with_clean_labels(task: str, request: pytest.FixtureRequest) -> None:
    data: Path = request.getfixturevalue(f"tiny_{task}_dataset")
    assert data.is_dir() == (task == "classify")
    info = load_dataset(data, task=task, settings=SETTINGS)
    assert info["nc"] == 4
    for split, count in (("train", 12), ("val", 4)):
        store, report = scan(info, split, task=task, strict=True, cache=False)
        assert (len(store), report.lines) == (count, [])
        assert (store.counts > 0).all()
        assert set(store.shapes.reshape(-1).tolist()) == {32}
        assert set(store.cls.astype(int).tolist()) == {0, 1, 2, 3}


def strong(image: np.ndarray) -> np.ndarray:
    """The saturation, 0 to 255, of a picture: high on shapes, low on the background."""
    return cv2.cvtColor(image, cv2.COLOR_BGR2HSV)[..., 1].astype(float)


def test_shapes_can_be_seen_where_the_labels_are(
    tiny_segment_dataset: Path, tiny_obb_dataset: Path, tiny_pose_dataset: Path
) -> None:
    for task, data in (("segment", tiny_segment_dataset), ("obb", tiny_obb_dataset)):
        store, _ = scan(load_dataset(data, task=task, settings=SETTINGS), "train", task=task)
        inside, outside = [], []
        for labels in store:
            on = np.zeros((32, 32), np.uint8)
            for points in labels.segments:
                cv2.fillPoly(on, [np.round(points * 32 * 16).astype(np.int32)], 1, cv2.LINE_8, 4)
            values = strong(read_image(labels.im_file))
            inside.append(values[on > 0].mean())
            outside.append(values[on == 0].mean())
        assert np.mean(inside) > 1.8 * np.mean(outside), task
    store, _ = scan(load_dataset(tiny_pose_dataset, task="pose", settings=SETTINGS), "train", task="pose")
    for labels in store:
        image = read_image(labels.im_file)
        for points in labels.keypoints:
            x, y = (points[0, :2] * 32).astype(int)
            around = image[max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2]
            assert around.max(2).min() < image.max(2).mean(), "the tip is dark"


def test_the_pictures_of_all_tasks_can_be_plotted(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    for task in TASKS:
        info = load_dataset(request.getfixturevalue(f"tiny_{task}_dataset"), task=task, settings=SETTINGS)
        args = make_config("train", {"task": task, "imgsz": 64}, tasks=TASKS)
        build = build_classification_dataset if task == "classify" else build_dataset
        dataset = build(info, "train", args)
        batch = dataset.collate([dataset[i] for i in range(4)])
        image = cv2.imread(str(plot_images(batch, tmp_path / f"{task}.png", info["names"])))
        assert image.shape == ((324, 324, 3) if task == "classify" else (132, 132, 3))
