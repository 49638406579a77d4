"""``shapes.yaml``: a small data set of coloured shapes, drawn on first use into the user cache directory.

Four classes on soft backgrounds, in all sizes and rotations; a dark dot at the tip shows the orientation.
Every picture depends on (seed, split, index) only.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np

from yolocore.errors import ConfigError, did_you_mean
from yolocore.utils.files import atomic_directory, cache_dir

if TYPE_CHECKING:
    from numpy.typing import NDArray

NAMES = ("circle", "square", "triangle", "star")
KEYPOINT_NAMES = ("tip", "left", "right", "centre")
FLIP_IDX = (0, 2, 1, 3)
TASKS = ("detect", "segment", "pose", "obb", "classify")
YAML_NAME = "data.yaml"

_KEYPOINTS = np.array([[0, -0.75], [-0.45, 0.45], [0.45, 0.45], [0, 0.1]])  # (4, 2), inside every shape
_CORNERS = np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])
_CLASSIFY_SHARE = 0.5


class Shape(NamedTuple):
    """One drawn shape, in pixels of the image: outline (k, 2), corners (4, 2), keypoints (4, 2)."""

    cls: int
    outline: NDArray[np.float64]
    corners: NDArray[np.float64]
    keypoints: NDArray[np.float64]


def ensure_shapes(task: str) -> Path:
    """Return the set for ``task``, drawing it when it is not there yet: a YAML, for ``classify`` a directory.

    Raises:
        ConfigError: the task is unknown.
    """
    if task not in TASKS:
        raise ConfigError(f"task {task!r} has no shapes; known: {', '.join(TASKS)}.{did_you_mean(task, TASKS)}")
    target = cache_dir("datasets", "shapes", task)
    if not (target / YAML_NAME).is_file():
        shutil.rmtree(target, ignore_errors=True)
        with atomic_directory(target) as folder:
            make_shapes(folder, task=task)
    return target if task == "classify" else target / YAML_NAME


def sample_images() -> list[Path]:
    """Return two drawn pictures, for predicting when no source is given."""
    return sorted((ensure_shapes("detect").parent / "images" / "val").iterdir())[:2]


def make_shapes(
    root: str | Path,
    n_train: int = 64,
    n_val: int = 16,
    seed: int = 0,
    *,
    task: str = "detect",
    imgsz: int = 320,
) -> Path:
    """Draw a data set below ``root`` (existing files of the same name are replaced) and return its YAML.

    Args:
        root: Directory, made when missing.
        n_train: Number of training pictures.
        n_val: Number of validation pictures.
        seed: The same seed gives the same pictures.
        task: Decides the form of the labels; ``classify`` gives one directory per class.
        imgsz: Side of the square pictures in pixels (half of it for ``classify``).
    """
    root = Path(root)
    for split, (name, count) in enumerate((("train", n_train), ("val", n_val))):
        for index in range(count):
            rng = np.random.default_rng([seed, split, index])
            if task == "classify":
                _write_classify(root / name, index, round(imgsz * _CLASSIFY_SHARE), rng)
            else:
                _write_dense(root, f"{name}/{index:04d}", task, draw_picture(imgsz, rng, index))
    yaml_file = root / YAML_NAME
    yaml_file.write_text(_description(task), encoding="utf-8")
    return yaml_file


def draw_picture(
    imgsz: int, rng: np.random.Generator, first_class: int = 0, count: int | None = None
) -> tuple[NDArray[np.uint8], list[Shape]]:
    """Draw one picture, (imgsz, imgsz, 3) uint8 BGR, and return it with its shapes, which do not overlap."""
    im = _background(imgsz, rng)
    wanted = int(rng.integers(1, 5)) if count is None else count
    circles: list[tuple[float, float, float]] = []
    shapes: list[Shape] = []
    for _ in range(40):
        if len(shapes) == wanted:
            break
        radius = imgsz * float(rng.uniform(0.07, 0.2) if wanted > 1 else rng.uniform(0.15, 0.3))
        x, y = rng.uniform(radius * 1.42, imgsz - radius * 1.42, 2).tolist()
        if any(np.hypot(x - cx, y - cy) < 1.2 * (radius + r) for cx, cy, r in circles):
            continue
        circles.append((x, y, radius))
        shape = _place((first_class + len(shapes)) % len(NAMES), (x, y), radius, rng)
        _paint(im, shape, radius, rng)
        shapes.append(shape)
    return im, shapes


def _outline(cls: int) -> NDArray[np.float64]:
    """Return the outline of a class in the square from (-1, -1) to (1, 1), tip upwards, (k, 2)."""
    if NAMES[cls] == "square":
        return _CORNERS
    if NAMES[cls] == "triangle":
        return np.array([[0.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])
    count = 36 if NAMES[cls] == "circle" else 10
    turn = np.arange(count) * 2 * np.pi / count
    points = np.stack([np.sin(turn), -np.cos(turn)], axis=1)
    if NAMES[cls] == "star":
        points[1::2] *= 0.45
        low, high = points.min(0), points.max(0)
        points = (points - low) / (high - low) * 2 - 1
    return points


def _place(cls: int, centre: tuple[float, float], radius: float, rng: np.random.Generator) -> Shape:
    turn = rng.uniform(0, 2 * np.pi)
    size = radius * np.array([rng.uniform(0.75, 1.0), 1.0])
    rotate = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])

    def to_image(points: NDArray[np.float64]) -> NDArray[np.float64]:
        moved: NDArray[np.float64] = points * size @ rotate + np.array(centre)
        return moved

    return Shape(cls, to_image(_outline(cls)), to_image(_CORNERS), to_image(_KEYPOINTS))


def _background(imgsz: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return a pale gradient between two colours, with clouds and a little grain."""
    first, second = rng.uniform(120, 245, (2, 3))
    turn = rng.uniform(0, 2 * np.pi)
    y, x = np.mgrid[0:imgsz, 0:imgsz] / imgsz - 0.5
    ramp = (x * np.cos(turn) + y * np.sin(turn) + 0.7) / 1.4
    clouds = cv2.resize(rng.normal(0, 9, (6, 6, 3)), (imgsz, imgsz), interpolation=cv2.INTER_CUBIC)
    grain = rng.normal(0, 3, (imgsz, imgsz, 1))
    im = first + (second - first) * ramp[..., None] + clouds + grain
    return np.ascontiguousarray(im.clip(0, 255).astype(np.uint8))


def _paint(im: NDArray[np.uint8], shape: Shape, radius: float, rng: np.random.Generator) -> None:
    hsv = np.array([[[rng.integers(0, 180), rng.integers(150, 256), rng.integers(110, 236)]]], dtype=np.uint8)
    colour = cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)[0, 0].astype(float)
    points = [np.round(shape.outline * 16).astype(np.int32)]
    cv2.fillPoly(im, points, colour.tolist(), cv2.LINE_AA, 4)
    cv2.polylines(im, points, True, (colour * 0.6).tolist(), max(1, round(radius / 16)), cv2.LINE_AA, 4)
    x, y = np.round(shape.keypoints[0] * 16).astype(int).tolist()
    cv2.circle(im, (x, y), max(16, round(radius * 1.4)), (35, 30, 30), -1, cv2.LINE_AA, 4)


def _write_image(file: Path, im: NDArray[np.uint8]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    _, data = cv2.imencode(".jpg", im, [cv2.IMWRITE_JPEG_QUALITY, 92])
    file.write_bytes(data.tobytes())


def _write_classify(folder: Path, index: int, imgsz: int, rng: np.random.Generator) -> None:
    im, shapes = draw_picture(imgsz, rng, index, count=1)
    _write_image(folder / NAMES[shapes[0].cls] / f"{index:04d}.jpg", im)


def _write_dense(root: Path, name: str, task: str, picture: tuple[NDArray[np.uint8], list[Shape]]) -> None:
    im, shapes = picture
    _write_image(root / "images" / f"{name}.jpg", im)
    label = root / "labels" / f"{name}.txt"
    label.parent.mkdir(parents=True, exist_ok=True)
    label.write_text("".join(label_row(shape, len(im), task) + "\n" for shape in shapes), encoding="utf-8")


def label_row(shape: Shape, imgsz: int, task: str) -> str:
    """Return the label line of a shape in the columns of ``task``."""
    outline = (shape.outline / imgsz).clip(0, 1)
    low, high = outline.min(0), outline.max(0)
    box = np.concatenate([(low + high) / 2, high - low])
    if task == "segment":
        numbers = outline.reshape(-1)
    elif task == "obb":
        numbers = (shape.corners / imgsz).clip(0, 1).reshape(-1)
    elif task == "pose":
        points = np.concatenate([shape.keypoints / imgsz, np.full((len(_KEYPOINTS), 1), 2.0)], axis=1)
        numbers = np.concatenate([box, points.reshape(-1)])
    else:
        numbers = box
    return " ".join([str(shape.cls), *(f"{value:.6g}" for value in numbers.tolist())])


def _description(task: str) -> str:
    names = "".join(f"  {index}: {name}\n" for index, name in enumerate(NAMES))
    folders = ("train", "val") if task == "classify" else ("images/train", "images/val")
    text = f"# Drawn by yolocore.data.shapes\ntrain: {folders[0]}\nval: {folders[1]}\nnames:\n{names}"
    if task == "pose":
        text += f"kpt_shape: [{len(KEYPOINT_NAMES)}, 3]\nflip_idx: {list(FLIP_IDX)}\n"
        text += "kpt_names:\n" + "".join(f"  {i}: [{', '.join(KEYPOINT_NAMES)}]\n" for i in range(len(NAMES)))
    return text
