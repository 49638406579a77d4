"""The pictures of the explorer, and the explorer on photographs of the data folder."""

from __future__ import annotations

import math
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from yolocore import YOLO, Explorer
from yolocore.errors import ConfigError
from yolocore.testing.datasets import make_tiny_dataset, tiny_model, tiny_tasks
from yolocore.tools.explorer_figures import Tile, draw_counts, draw_grid
from yolocore.utils.palette import colors

LIMIT = 178_956_970


def network(task: str = "detect") -> YOLO:
    torch.manual_seed(5)
    model = YOLO(tiny_model(task))
    model.overrides["imgsz"] = 64
    return model


@pytest.fixture(scope="module")
def explorer(tmp_path_factory: pytest.TempPathFactory) -> Explorer:
    root = tmp_path_factory.mktemp("pictured")
    return Explorer(make_tiny_dataset(root / "set", train=6), network(), root)


def flat(folder: Path, count: int, size: tuple[int, int] = (64, 64)) -> list[Tile]:
    """Return tiles of files of one colour each."""
    tiles = []
    for i in range(count):
        file = folder / f"{i}.png"
        cv2.imwrite(str(file), np.full((*size, 3), (10 * i % 250, 0, 200), np.uint8))
        tiles.append(Tile(str(file), file.name))
    return tiles


def found_colours(image: Image.Image) -> dict[tuple[int, ...], int]:
    return {colour: count for count, colour in image.getcolors(maxcolors=1 << 24)}


def test_every_image_has_its_tile(tmp_path: Path) -> None:
    for count in (1, 2, 5, 25):
        grid = draw_grid(flat(tmp_path, count), "title", LIMIT)
        seen = found_colours(grid)
        pixels = [seen.get((200, 0, 10 * i % 250), 0) for i in range(count)]
        assert min(pixels) == max(pixels) >= 140**2
        assert grid.mode == "RGB"
        assert grid.width <= 1640


def test_an_image_keeps_its_shape(tmp_path: Path) -> None:
    grid = np.asarray(draw_grid(flat(tmp_path, 1, (20, 60)), "", LIMIT))
    ys, xs = np.nonzero((grid == (200, 0, 0)).all(2))
    assert np.ptp(xs) + 1 == 320
    assert np.ptp(ys) + 1 == pytest.approx(320 / 3, abs=1)


def test_a_long_caption_is_cut_in_its_middle(tmp_path: Path) -> None:
    """Captions lie below their tile, left of the note; the shortest possible cut shows more of a longer name."""
    (tile,) = flat(tmp_path, 1)
    right = []
    for caption in ("a.png", "a" * 20 + ".png", "a" * 300 + ".png"):
        grid = np.asarray(draw_grid([replace(tile, caption=caption, note="0.25")], "", LIMIT)).astype(int)
        bare = np.asarray(draw_grid([replace(tile, caption="", note="0.25")], "", LIMIT)).astype(int)
        assert grid.shape == bare.shape
        _, xs = np.nonzero(np.abs(grid - bare).max(2))
        right.append(int(xs.max()))
    _, xs = np.nonzero((bare == (200, 0, 0)).all(2))
    assert xs.min() < right[0] < right[1] < right[2] < xs.max() - 30  # the note has its place
    assert right[2] > xs.max() - 60


def test_outlines_are_oriented_boxes_only_where_all_have_four_corners(tmp_path: Path) -> None:
    (tile,) = flat(tmp_path, 1)
    square = [[0.2, 0.2], [0.4, 0.2], [0.4, 0.4], [0.2, 0.4]]
    other = [[0.6, 0.6], [0.8, 0.6], [0.9, 0.7], [0.8, 0.9], [0.6, 0.9]]
    inside = []
    for masks in ([square, square], [square, other]):
        objects = {
            "labels": ["", ""], "cls": [2, 2], "bboxes": [[0.3, 0.3, 0.2, 0.2]] * 2, "masks": masks, "keypoints": [],
        }  # fmt: skip
        grid = np.asarray(draw_grid([replace(tile, objects=objects)], "", LIMIT))
        ys, xs = np.nonzero((grid == (200, 0, 0)).all(2))
        centre = round(xs.min() + 0.3 * np.ptp(xs)), round(ys.min() + 0.3 * np.ptp(ys))
        inside.append(tuple(grid[centre[1], centre[0]].tolist()))
    assert inside[0] == (200, 0, 0)  # the frame of a box
    assert inside[1] != (200, 0, 0)  # a tint


def test_a_file_that_is_gone_has_an_empty_tile(tmp_path: Path) -> None:
    tiles = [*flat(tmp_path, 1), Tile(str(tmp_path / "gone.png"), "gone.png")]
    seen = found_colours(draw_grid(tiles, "title", LIMIT))
    assert seen[200, 0, 0] == 320**2
    assert seen[242, 242, 242] > 0.9 * 320**2


def test_at_most_a_hundred_images_are_drawn(tmp_path: Path) -> None:
    many = draw_grid(flat(tmp_path, 1) * 250, "title", LIMIT)
    assert many.size == draw_grid(flat(tmp_path, 1) * 100, "title", LIMIT).size


@pytest.mark.parametrize("task", tiny_tasks())
def test_the_objects_of_every_task_are_drawn(task: str, tmp_path: Path) -> None:
    explorer = Explorer(make_tiny_dataset(tmp_path / "set", task, train=4), network(task), tmp_path)
    drawn, bare = explorer.plot_similar(idx=0, limit=1), explorer.plot_similar(idx=0, limit=1, labels=False)
    assert isinstance(drawn, Image.Image)
    assert drawn.size == bare.size
    cls = explorer.get_similar(idx=0, limit=1, return_type="dict")["cls"][0]
    seen, before = found_colours(drawn), found_colours(bare)
    assert all(seen.get(colors(c), 0) > before.get(colors(c), 0) + 50 for c in cls)
    changed = (np.asarray(drawn) != np.asarray(bare)).any(2)
    assert 0.002 < changed.mean() < 0.9
    assert not changed[:40].any()  # the title


def test_boxes_lie_where_the_labels_say(tmp_path: Path) -> None:
    description = make_tiny_dataset(tmp_path / "set", train=2)
    image = sorted((description.parent / "images" / "train").iterdir())[0]
    cv2.imwrite(str(image), np.full((100, 200, 3), 90, np.uint8))
    Path(str(image).replace("images", "labels")).with_suffix(".txt").write_text("1 0.5 0.5 0.5 0.4\n")
    explorer = Explorer(description, network(), tmp_path)
    drawn, bare = (np.asarray(explorer.plot_similar(idx=0, limit=1, labels=on)).astype(int) for on in (True, False))
    left, top = (int(v[0]) for v in np.nonzero((bare == bare[200, 180]).all(2).T))
    ys, xs = np.nonzero((np.abs(drawn - colors(1)) < 3).all(2))
    assert (xs.min() - left) / 320 == pytest.approx(0.25, abs=0.01)
    assert (xs.max() - left) / 320 == pytest.approx(0.75, abs=0.01)
    assert (ys.max() - top) / 160 == pytest.approx(0.7, abs=0.02)


def test_a_query_as_a_picture(explorer: Explorer, caplog: pytest.LogCaptureFixture) -> None:
    picture = explorer.plot_sql_query("WHERE labels LIKE '%circle%'")
    assert isinstance(picture, Image.Image)
    bare = explorer.plot_sql_query("WHERE labels LIKE '%circle%'", labels=False)
    assert bare.size == picture.size
    assert found_colours(picture)[colors(0)] > found_colours(bare).get(colors(0), 0)
    files = explorer.plot_sql_query("SELECT im_file FROM 'table' WHERE labels LIKE '%circle%'")
    assert found_colours(files).get(colors(0), 0) == found_colours(bare).get(colors(0), 0)
    assert explorer.plot_sql_query("WHERE labels LIKE '%unicorn%'") is None
    assert "no image is found by: WHERE labels LIKE '%unicorn%'" in caplog.text
    with pytest.raises(ConfigError, match="im_file is missing"):
        explorer.plot_sql_query("SELECT labels FROM 'table'")


def bars(image: Image.Image) -> list[int]:
    """Return the heights of the bars in pixels, from left to right."""
    blue = (np.abs(np.asarray(image).astype(int) - (0, 0x72, 0xB2)) < 8).all(2)
    heights = blue.sum(0)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], heights > 0, [0]]).astype(int)))
    return [int(heights[(a + b) // 2]) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def test_the_bars_are_as_high_as_the_counts() -> None:
    found = bars(draw_counts([8, 4, 4, 2], [3, 0, 1, 2], 0.2))
    assert len(found) == 4
    assert [height / found[-1] for height in found] == pytest.approx([4, 2, 2, 1], rel=0.03)


def test_very_many_images_are_one_outline() -> None:
    counts = np.arange(50_000, 0, -1).tolist()
    (middle,) = bars(draw_counts(counts, counts, 0.2))
    assert middle > 100


def test_the_chart_needs_no_pandas(explorer: Explorer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    assert len(bars(explorer.plot_similarity_index(1e6))) == 6
    assert len(set(bars(explorer.plot_similarity_index(1e6)))) == 1


class TestPhotographs:
    def test_the_documented_figures_on_blood_cells(self, shared_dir: Path, tmp_path: Path) -> None:
        explorer = Explorer(shared_dir / "data" / "bccd" / "data.yaml", network(), tmp_path)
        explorer.create_embeddings_table()
        files = sorted((shared_dir / "data" / "bccd" / "images" / "train").iterdir())
        assert len(explorer.table) == len(files) == 205
        assert len(explorer.query(files[0])["im_file"]) == 25
        found = explorer.get_similar(idx=100, limit=10, return_type="dict")
        assert len(found["im_file"]) == 10
        assert found["_distance"][0] == 0
        everything = explorer.sql_query("WHERE 1", "dict")["vector"]
        expected = sorted(math.dist(vector, everything[100]) for vector in everything)[:10]
        assert found["_distance"] == pytest.approx(expected, abs=1e-6)
        assert explorer.query(files[100], 1)["im_file"] == [str(files[100])]

    @pytest.mark.parametrize(
        ("data", "split", "names"),
        [("coco128", "val", ("person", "chair")), ("coco128-seg", "train", ("truck", "car"))],
    )
    def test_two_classes_at_once(
        self, data: str, split: str, names: tuple[str, str], shared_dir: Path, tmp_path: Path
    ) -> None:
        root = shared_dir / "data" / data
        explorer = Explorer(next(root.glob("*.yaml")), network(), tmp_path)
        explorer.create_embeddings_table(split=split)
        wanted = {{"person": 0, "car": 2, "truck": 7, "chair": 56}[name] for name in names}
        expected = []
        for image in sorted((root / "images" / split).iterdir()):
            label = root / "labels" / split / f"{image.stem}.txt"
            cls = {int(line.split()[0]) for line in label.read_text().splitlines()} if label.exists() else set()
            expected += [str(image)] if wanted <= cls else []
        query = f"WHERE labels LIKE '%{names[0]}%' AND labels LIKE '%\"{names[1]}\"%'"
        found = explorer.sql_query(query, "dict")
        assert found["im_file"] == expected != []
        assert all(bool(masks) == data.endswith("seg") for masks in found["masks"])

    def test_an_equal_photograph_under_another_name_is_found(self, shared_dir: Path, tmp_path: Path) -> None:
        pytest.importorskip("pandas")
        source = shared_dir / "data" / "coco8-pose"
        shutil.copytree(source, tmp_path / "set")
        folder = next((tmp_path / "set" / "images").glob("train*"))
        twin = sorted(folder.iterdir())[1]
        shutil.copy(twin, folder / "twin.jpg")
        label = Path(str(twin).replace("images", "labels")).with_suffix(".txt")
        shutil.copy(label, label.with_name("twin.txt"))
        explorer = Explorer(next((tmp_path / "set").glob("*.yaml")), network(), tmp_path / "store")
        frame = explorer.similarity_index(0.0)
        assert {Path(file).name for file in frame["im_file"][frame["count"] > 1]} == {twin.name, "twin.jpg"}
        assert all(len(points) for points in explorer.sql_query("WHERE 1", "dict")["keypoints"])
