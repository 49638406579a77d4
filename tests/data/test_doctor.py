"""Figures of a split, images in two splits, and the corrected copy."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from yolocore.cli import main
from yolocore.config.dataset import load_dataset
from yolocore.data.corrected import write_corrected
from yolocore.data.duplicates import NEAR, SAME, Twin, find_twins, shared_images
from yolocore.data.scan import scan
from yolocore.data.shapes import draw_picture, make_shapes
from yolocore.data.statistics import measure, suggest
from yolocore.errors import DataError


def load(file: Path, task: str, *splits: str):
    info = load_dataset(file, task=task, splits=splits, settings={"datasets_dir": str(file.parent / "none")})
    results = {split: scan(info, split, task=task, cache=False) for split in splits}
    return info, {s: store for s, (store, _) in results.items()}, [report for _, report in results.values()]


def picture(seed: int, size: int = 160) -> np.ndarray:
    return draw_picture(size, np.random.default_rng(seed))[0]


# ---------------------------------------------------------------- figures


def test_figures_of_a_split(tmp_path):
    labels = {
        "a": "0 .5 .5 .1 .1\n0 .5 .5 .5 .5\n1 .5 .5 .01 .9\n",  # image 200 x 100
        "b": "0 .5 .5 .25 .14\n",
        "c": "",
    }
    for name, text in labels.items():
        for folder in ("images", "labels"):
            (tmp_path / folder).mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / "images" / f"{name}.png"), np.zeros((100, 200, 3), np.uint8))
        (tmp_path / "labels" / f"{name}.txt").write_text(text)
    (tmp_path / "d.yaml").write_text("train: images\nnames: [cat, dog, cow]\n")
    info, stores, reports = load(tmp_path / "d.yaml", "detect", "train")
    found = measure(stores["train"], "train", info["names"])
    assert found.objects == {"cat": 3, "dog": 1, "cow": 0}
    assert found.class_images == {"cat": 2, "dog": 1, "cow": 0}
    assert found.objects_per_image == (0, 1.0, 3)
    assert [Path(f).name for f in found.backgrounds] == ["c.png"]
    sides = {"5-10%": 1, "10-20%": 2, "20-50%": 0, "50-100%": 1}  # 9.5; 10 and 18.7; 50 %
    assert found.box_sizes == {"0-1%": 0, "1-2%": 0, "2-5%": 0, **sides}
    assert found.box_aspects == {"0-0.25": 1, "0.25-0.5": 0, "0.5-1": 0, "1-2": 0, "2-4": 3, "over 4": 0}
    assert found.tiny == pytest.approx(1 / 4)  # 0.01 x 640 = 6.4 pixels
    advice = suggest([found], reports)
    assert "1 class is without an object in train: cow" in advice
    assert any("33% of the images in train have no object" in line for line in advice)


def test_classes_of_one_name_are_counted_apart(tmp_path):
    make_shapes(tmp_path, 2, 1, imgsz=64)
    for file in (tmp_path / "labels" / "train").iterdir():
        file.write_text("0 .5 .5 .5 .5\n1 .3 .3 .2 .2\n1 .6 .6 .2 .2\n")
    _, stores, _ = load(tmp_path / "data.yaml", "detect", "train")
    found = measure(stores["train"], "train", {0: "cat", 1: "cat", 2: "dog"})
    assert found.objects == {"cat (0)": 2, "cat (1)": 4, "dog": 0}


def test_suggestions_about_classes_of_two_splits(tmp_path):
    make_shapes(tmp_path, 4, 4, imgsz=64)
    train, val = sorted((tmp_path / "labels" / "train").iterdir()), sorted((tmp_path / "labels" / "val").iterdir())
    for file in train:
        file.write_text("0 .5 .5 .5 .5\n" + "".join(f"1 .5 .5 .{n:02} .01\n" for n in range(20, 80)))
    for file in val:
        file.write_text("0 .5 .5 .5 .5\n2 .5 .5 .5 .5\n")
    info, stores, reports = load(tmp_path / "data.yaml", "detect", "train", "val")
    twins = [Twin(SAME, "train", "a", "val", "b"), Twin(NEAR, "train", "c", "val", "d", 0.99)]
    advice = suggest([measure(store, s, info["names"]) for s, store in stores.items()], reports, twins)
    assert advice[0].startswith("2 images are in both train and val, 1 of them nearly the same: validation")
    assert "--fix DIR" in advice[1]
    assert "1 class is in val but not in train: they cannot be learnt: triangle" in advice
    assert "1 class is in train but not in val: their accuracy is not measured: square" in advice
    assert "'square' has 240 objects, 'circle' 4: collect more of the rare classes" in advice
    assert any(line.startswith("98% of the boxes in train are narrower than 8 pixels") for line in advice)


def test_of_many_classes_five_are_named_and_the_rest_counted(tmp_path):
    make_shapes(tmp_path, 2, 1, imgsz=64)
    _, stores, reports = load(tmp_path / "data.yaml", "detect", "train")
    names = dict(enumerate("abcdefghijk"))  # shapes are of the first four
    stores["train"].cls[:] = 0
    advice = suggest([measure(stores["train"], "train", names)], reports)
    assert "10 classes are without an object in train: b, c, d, e, f and 5 more" in advice
    names = dict(enumerate("abcdef"))
    advice = suggest([measure(stores["train"], "train", names)], reports)
    assert "5 classes are without an object in train: b, c, d, e, f" in advice


# ---------------------------------------------------------------- images that occur twice


def test_twins_within_and_across_splits(tmp_path):
    files = {s: [tmp_path / f"{s}{i}.png" for i in range(6)] for s in ("train", "val")}
    for seed, file in enumerate(files["train"] + files["val"]):
        cv2.imwrite(str(file), picture(seed))
    first = files["train"][0].read_bytes()
    files["train"][1].write_bytes(first)
    files["val"][0].write_bytes(first)
    again = cv2.resize(picture(2), (120, 120), interpolation=cv2.INTER_AREA)
    files["val"][1] = tmp_path / "again.jpg"
    cv2.imwrite(str(files["val"][1]), again, [cv2.IMWRITE_JPEG_QUALITY, 40])
    for split in files:  # too plain to tell
        cv2.imwrite(str(files[split][5]), np.full((160, 160, 3), 60 if split == "val" else 61, np.uint8))
    splits = {s: [str(f) for f in paths] for s, paths in files.items()}
    twins = find_twins(splits)
    a, b, c = splits["train"][0], splits["train"][1], splits["train"][2]
    same = {(t.first, t.second) for t in twins if t.kind == SAME}
    near = {(t.first, t.second): t.correlation for t in twins if t.kind == NEAR}
    assert same == {(a, b), (a, splits["val"][0])}
    assert near.keys() == {(c, splits["val"][1])}  # the copy of b is named as the same file as a
    assert 0.995 <= near[c, splits["val"][1]] <= 1
    assert shared_images(twins) == {("train", "val"): 2}
    assert {t.kind for t in find_twins(splits, near=False)} == {SAME}
    assert find_twins({"train": [c, c], "val": [c]}) == [Twin(SAME, "train", c, "val", c)]


def test_of_many_pictures_alike_the_most_alike_is_named(tmp_path):
    rng = np.random.default_rng(0)
    scene = picture(3)
    files = {"train": [], "val": []}
    for split, paths in files.items():
        for number in range(40):  # frames of a camera that stands still
            frame = scene.astype(int) + rng.integers(-20, 20, scene.shape) * (number + 1) // 20
            paths.append(str(tmp_path / f"{split}{number}.png"))
            cv2.imwrite(paths[-1], frame.clip(0, 255).astype(np.uint8))
    twins = find_twins(files)
    assert [twin.second for twin in twins] == files["val"]
    assert shared_images(twins) == {("train", "val"): 40}


@pytest.mark.parametrize(
    "change",
    [
        lambda im: cv2.resize(im, None, fx=0.5, fy=0.5),
        lambda im: cv2.resize(im, (640, 640)),
        lambda im: np.clip(im * 1.15 + 10, 0, 255).astype(np.uint8),
        lambda im: cv2.cvtColor(im, cv2.COLOR_BGR2GRAY),
    ],
    ids=["half", "square", "brighter", "grey"],
)
@pytest.mark.shared
def test_changed_copies_of_photographs_are_found_and_other_photographs_are_not(shared_dir, tmp_path, change):
    photographs = sorted((shared_dir / "data" / "coco128" / "images").rglob("*.jpg"))
    copies = [tmp_path / f"{number}.jpg" for number in range(len(photographs))]
    for photograph, copy in zip(photographs, copies, strict=True):
        cv2.imwrite(str(copy), change(cv2.imread(str(photograph))), [cv2.IMWRITE_JPEG_QUALITY, 60])
    twins = find_twins({"train": [str(p) for p in photographs], "val": [str(c) for c in copies]})
    assert [(t.first, t.second) for t in twins] == [(str(p), str(c)) for p, c in zip(photographs, copies, strict=True)]


def test_broken_and_empty_files_have_no_twin(tmp_path):
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / name).write_bytes(f"no image {name}".encode())
    assert (
        find_twins({"train": [str(tmp_path / "a.jpg"), str(tmp_path / "none.jpg")], "val": [str(tmp_path / "b.jpg")]})
        == []
    )
    assert find_twins({"train": [], "val": []}) == []
    cv2.imwrite(str(tmp_path / "c.png"), picture(0))
    for splits in ({"train": [], "val": [str(tmp_path / "c.png")]}, {"train": [str(tmp_path / "c.png")], "val": []}):
        assert find_twins(splits) == []


# ---------------------------------------------------------------- the corrected copy


@pytest.mark.parametrize("task", ["detect", "segment", "pose", "obb"])
def test_a_copy_of_a_clean_set_has_the_same_labels(tmp_path, task):
    make_shapes(tmp_path / "set", 5, 3, task=task, imgsz=96)
    info, stores, reports = load(tmp_path / "set" / "data.yaml", task, "train", "val")
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "set").rglob("*")}
    file = write_corrected(tmp_path / "copy", info, task, stores, reports)
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "set").rglob("*")} == before
    again, copies, clean = load(file, task, "train", "val")
    assert again["names"] == info["names"]
    assert again.get("flip_idx") == info.get("flip_idx")
    assert [report.lines for report in clean] == [[], []]
    for split, store in stores.items():
        for name in ("cls", "bboxes", "seg_points", "seg_offsets", "offsets", "shapes"):
            np.testing.assert_allclose(getattr(copies[split], name), getattr(store, name), atol=2e-6, err_msg=name)
        if task == "pose":
            np.testing.assert_allclose(copies[split].keypoints, store.keypoints, atol=2e-6)


def test_a_copy_leaves_out_what_is_wrong(tmp_path):
    make_shapes(tmp_path / "set", 6, 3, imgsz=64)
    root = tmp_path / "set"
    train = sorted((root / "images" / "train").iterdir())
    (root / "labels" / "train" / "0000.txt").write_text("0 .5 .5 .2 .2\n9 .5 .5 .2 .2\n0 .95 .5 .2 .2\n")
    train[1].write_bytes(b"")
    train[2].write_bytes((root / "images" / "val" / "0000.jpg").read_bytes())
    train[3].write_bytes(train[3].read_bytes() + b"rubbish at the end" * 10)
    info, stores, reports = load(root / "data.yaml", "detect", "train", "val")
    file = write_corrected(tmp_path / "copy", info, "detect", stores, reports, {("train", str(train[2]))})
    copy = tmp_path / "copy"
    assert sorted(p.name for p in (copy / "images" / "train").iterdir()) == [
        "0000.jpg",
        *(f"000{i}.jpg" for i in (3, 4, 5)),
    ]
    assert (copy / "labels" / "train" / "0000.txt").read_text() == "0 0.5 0.5 0.2 0.2\n0 0.925 0.5 0.15 0.2\n"
    assert (copy / "images" / "train" / "0003.jpg").read_bytes().endswith(b"\xff\xd9")
    _, _, clean = load(file, "detect", "train", "val")
    assert [(report.lines, report.counts) for report in clean] == [([], {}), ([], {})]


def test_a_copy_never_lies_in_the_dataset_or_over_something(tmp_path):
    make_shapes(tmp_path / "set", 2, 2, imgsz=64)
    info, stores, reports = load(tmp_path / "set" / "data.yaml", "detect", "train", "val")
    with pytest.raises(DataError, match="never corrected in place"):
        write_corrected(tmp_path / "set" / "images" / "train" / "new", info, "detect", stores, reports)
    with pytest.raises(DataError, match="exists and is not empty"):
        write_corrected(tmp_path / "set", info, "detect", stores, reports)
    (tmp_path / "empty").mkdir()
    assert write_corrected(tmp_path / "empty", info, "detect", stores, reports).is_file()


def test_images_of_one_stem_keep_apart(tmp_path):
    for folder, suffix in (("x", "png"), ("x", "jpg"), ("y", "png")):
        (tmp_path / folder).mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / folder / f"a.{suffix}"), picture(len(suffix) + len(folder)))
        (tmp_path / folder / "a.txt").write_text("0 .5 .5 .2 .2\n")
    (tmp_path / "d.yaml").write_text("train: [x, y]\nnames: [cat]\n")
    info, stores, reports = load(tmp_path / "d.yaml", "detect", "train")
    file = write_corrected(tmp_path / "copy", info, "detect", stores, reports)
    _, copies, _ = load(file, "detect", "train")
    assert len(copies["train"]) == len(copies["train"].cls) == 3


def test_a_damaged_image_of_a_suffix_that_cannot_be_written_is_copied(tmp_path):
    make_shapes(tmp_path / "set", 2, 1, imgsz=64)
    image = tmp_path / "set" / "images" / "train" / "0000.jpg"
    image.rename(image.with_suffix(".mpo")).write_bytes(image.with_suffix(".mpo").read_bytes() + b"rubbish" * 20)
    info, stores, reports = load(tmp_path / "set" / "data.yaml", "detect", "train")
    assert [remark.place for report in reports for remark in report.remarks] == [str(image.with_suffix(".mpo"))]
    write_corrected(tmp_path / "copy", info, "detect", stores, reports)
    assert (tmp_path / "copy" / "images" / "train" / "0000.mpo").is_file()


def test_nested_folders_called_images_keep_their_labels_in_the_copy(tmp_path):
    for part in ("a", "b"):
        for folder in ("images", "labels"):
            (tmp_path / "set" / part / folder).mkdir(parents=True)
        cv2.imwrite(str(tmp_path / "set" / part / "images" / "x.jpg"), picture(ord(part)))
        (tmp_path / "set" / part / "labels" / "x.txt").write_text("0 .5 .5 .2 .2\n")
    (tmp_path / "set" / "d.yaml").write_text("train: [a/images, b/images]\nnames: [cat]\n")
    info, stores, reports = load(tmp_path / "set" / "d.yaml", "detect", "train")
    file = write_corrected(tmp_path / "copy", info, "detect", stores, reports)
    _, copies, (report,) = load(file, "detect", "train")
    assert (report.missing, copies["train"].cls.tolist()) == (0, [0, 0])


def test_a_copy_of_a_set_that_validates_on_its_training_images_keeps_both(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    make_shapes(tmp_path / "set", 4, 2, imgsz=64)
    text = (tmp_path / "set" / "data.yaml").read_text()
    (tmp_path / "set" / "data.yaml").write_text(text.replace("images/val", "images/train"))
    assert main(["check", "data=set/data.yaml", "--fix", "copy"]) == 0
    out = capsys.readouterr().out
    assert "train and val: set/images/train/0000.jpg" in out
    assert "suggestion: 4 images are in both train and val: validation figures" in out
    assert main(["check", "data=copy/data.yaml", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert [record["splits"][split]["images"] for split in ("train", "val")] == [4, 4]


def test_of_a_file_twice_in_a_split_the_one_with_labels_stays_in_the_copy(tmp_path, capsys):
    make_shapes(tmp_path / "set", 5, 3, imgsz=64)
    images, labels = (tmp_path / "set" / folder / "train" for folder in ("images", "labels"))
    val = tmp_path / "set" / "images" / "val" / "0000.jpg"
    for number in (1, 2):
        shutil.copy(images / "0000.jpg", images / f"000{number}.jpg")
    (labels / "0000.txt").unlink()
    (labels / "0001.txt").write_text("0 .5 .5 .5 .5\n1 .2 .2 .1 .1\n")
    (labels / "0002.txt").write_text("0 .5 .5 .5 .5\n")
    for number in (3, 4):  # twice here, and in val: none stays
        shutil.copy(val, images / f"000{number}.jpg")
    assert main(["check", f"data={tmp_path / 'set' / 'data.yaml'}", "--fix", str(tmp_path / "copy")]) == 0
    assert [file.name for file in (tmp_path / "copy" / "images" / "train").iterdir()] == ["0001.jpg"]
    capsys.readouterr()
    assert main(["check", f"data={tmp_path / 'copy' / 'data.yaml'}", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert (record["splits"]["train"]["objects"], record["duplicates"]) == (2, [])


def test_a_copy_keeps_images_of_two_splits_rather_than_a_split_without_objects(tmp_path):
    make_shapes(tmp_path / "set", 3, 2, imgsz=64)
    root = tmp_path / "set"
    shutil.copy(root / "images" / "val" / "0000.jpg", root / "images" / "train" / "0000.jpg")
    for number in (1, 2):
        (root / "labels" / "train" / f"000{number}.txt").write_text("")
    assert main(["check", f"data={root / 'data.yaml'}", "--fix", str(tmp_path / "copy")]) == 0
    assert main(["check", f"data={tmp_path / 'copy' / 'data.yaml'}"]) == 0


def test_one_split_for_validation_and_test_is_no_leak(tmp_path, capsys):
    make_shapes(tmp_path, 4, 2, imgsz=64)
    file = tmp_path / "data.yaml"
    file.write_text(file.read_text() + "test: images/val\n")
    assert main(["check", f"data={file}", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["duplicates"] == []


@pytest.mark.parametrize("folder", ["images/train/new", "other/../images/val/new", "labels/train/new"])
def test_a_copy_never_lies_among_the_images_of_a_set_whose_split_is_a_list(tmp_path, folder):
    make_shapes(tmp_path, 2, 2, imgsz=64)
    (tmp_path / "other").mkdir()
    for split in ("train", "val"):
        images = sorted((tmp_path / "images" / split).iterdir())
        (tmp_path / f"{split}.txt").write_text("".join(f"{image}\n" for image in images))
    file = tmp_path / "data.yaml"
    file.write_text("train: train.txt\nval: val.txt\nnc: 4\n")
    info, stores, reports = load(file, "detect", "train", "val")
    with pytest.raises(DataError, match="never corrected in place"):
        write_corrected(tmp_path / folder, info, "detect", stores, reports)


def test_images_of_classes_with_the_same_flat_name_keep_apart(tmp_path):
    for number, name in enumerate(("a/b_c", "a_b/c", "c")):
        file = tmp_path / "set" / "train" / "cat" / f"{name}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(file), picture(number))
    shutil.copytree(tmp_path / "set" / "train", tmp_path / "set" / "val")
    info = load_dataset(tmp_path / "set", task="classify", settings={"datasets_dir": str(tmp_path)})
    results = {split: scan(info, split, task="classify") for split in ("train", "val")}
    stores = {split: store for split, (store, _) in results.items()}
    copy = write_corrected(tmp_path / "copy", info, "classify", stores, [report for _, report in results.values()])
    assert sorted(p.name for p in (copy / "train" / "cat").iterdir()) == ["b_c.png", "c.png", "c_2.png"]


# ---------------------------------------------------------------- the command


@pytest.mark.parametrize("task", ["obb", "segment"])
def test_the_command_says_so_when_the_rows_are_those_of_another_task(tmp_path, capsys, task):
    make_shapes(tmp_path, 4, 2, task=task, imgsz=64)
    main(["check", f"data={tmp_path / 'data.yaml'}"])
    assert f"suggestion: the label rows are those of task {task}" in capsys.readouterr().out
    main(["check", task, f"data={tmp_path / 'data.yaml'}"])
    assert "the label rows are those" not in capsys.readouterr().out


def test_the_command_shows_examples_of_every_kind_and_survives_every_file_name(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_shapes(tmp_path, 30, 2, imgsz=64)
    images, labels = tmp_path / "images" / "train", tmp_path / "labels" / "train"
    for number in range(24):
        (labels / f"{number:04}.txt").write_text("0 .5 .5 .2 .2\n9 .5 .5 .2 .2\n")
    (labels / "0025.txt").write_text("\n0 .95 .5 .2 .2\n")
    (labels / "0026.txt").write_text("0 .5 .5 .2 .2\n0 .5 .5 0 .2\n")
    for name in (os.fsdecode(b"\xff"), "\x1b[31m[bold]"):
        shutil.copy(images / "0029.jpg", images / f"{name}.jpg")
        (labels / f"{name}.txt").write_text("0 .5 nan .2 .2\n")
    assert main(["check", "data=data.yaml", "--no-near"]) == 1
    text = capsys.readouterr().out
    text.encode()
    assert "\x1b[31m" not in text
    for line in (
        "train: 24 x class out of range",
        "train: 2 x coordinate not finite",
        "  labels/train/\\udcff.txt:1: column 3 is nan",
        "  labels/train/\\x1b[31m[bold].txt:1: column 3 is nan",
        "train: 1 x zero width or height",
        "  labels/train/0025.txt:2: box past the edge",
        "usable, 27 faults",
    ):
        assert line in text
    assert main(["check", "data=data.yaml", "--json"]) == 1
    text = capsys.readouterr().out
    text.encode()
    record = json.loads(text)["splits"]["train"]
    kinds = {finding["reason"] for finding in record["findings"]}
    assert kinds == {"class out of range", "coordinate not finite", "zero width or height"}
    assert [remark["place"] for remark in record["remarks"]] == [f"{labels / '0025.txt'}:2"]
    assert record["counts"]["box past the edge (clipped when used)"] == 1


def test_the_command_tells_what_is_odd_about_the_description(tmp_path, capsys):
    make_shapes(tmp_path, 3, 2, imgsz=64)
    file = tmp_path / "data.yaml"
    file.write_text("train: images/train\nval: images/val\ntest: images/tset\nnames: [a, b, a, c]\nnmaes: x\n")
    assert main(["check", f"data={file}", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert [warning.partition(": ")[0] for warning in record["warnings"]] == [f"{file}:{n}" for n in (5, 4, 3)]
    assert main(["check", f"data={file}"]) == 0
    shown = capsys.readouterr()
    for text in ("'nmaes' is ignored. Did you mean 'names'", "given twice: 'a' (0, 2)", "test does not exist: "):
        assert any(line.startswith("warning: ") and text in line for line in shown.out.splitlines()), text
    assert shown.err == ""


def test_a_test_split_without_labels_is_told_and_the_others_are_examined(tmp_path, capsys):
    make_shapes(tmp_path, 3, 2, imgsz=64)
    (tmp_path / "images" / "val").joinpath("0001.jpg").write_bytes(b"")
    shutil.copytree(tmp_path / "images" / "train", tmp_path / "images" / "test")
    file = tmp_path / "data.yaml"
    file.write_text("train: images/train\nval: images/val\ntest: images/test\nnc: 4\n")
    assert main(["check", f"data={file}", "--json", "--fix", str(tmp_path / "copy")]) == 1
    record = json.loads(capsys.readouterr().out)
    assert (record["usable"], record["faults"], list(record["splits"])) == (True, 2, ["train", "val"])
    assert record["unusable_splits"]["test"].startswith("test: no usable label for 3 images")
    assert main(["check", f"data={tmp_path / 'copy' / 'data.yaml'}"]) == 0
    assert "test" not in load_dataset(tmp_path / "copy" / "data.yaml", task="detect")
    capsys.readouterr()
    assert main(["check", f"data={file}"]) == 1
    assert "warning: test: no usable label for 3 images" in capsys.readouterr().out
    assert main(["check", f"data={file}", "strict=True"]) == 2


def test_images_listed_again_are_counted_and_lie_once_in_the_copy(tmp_path, capsys):
    make_shapes(tmp_path / "set", 4, 2, imgsz=64)
    file = tmp_path / "set" / "data.yaml"
    (tmp_path / "set" / "more.txt").write_text("images\\train\\0001.jpg\r\n./images/train/0001.jpg\r\n")
    file.write_text("train: [images/train, more.txt]\nval: images/val\nnc: 4\n")
    assert main(["check", f"data={file}", "--fix", str(tmp_path / "copy")]) == 0
    text = "suggestion: 2 entries name an image that train holds already: it counts more than once"
    assert text in capsys.readouterr().out
    assert main(["check", f"data={tmp_path / 'copy' / 'data.yaml'}", "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)["splits"]["train"]["statistics"]
    assert (figures["images"], figures["repeated"]) == (4, 0)


def test_the_dataset_may_be_named_by_itself_beside_other_words(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    make_shapes(tmp_path / "seg", 2, 2, task="segment", imgsz=64)
    make_shapes(tmp_path / "cls", 8, 8, task="classify", imgsz=64)
    (tmp_path / "cls" / "data.yaml").unlink()
    (tmp_path / "segment").mkdir()
    for words in (
        ["segment", "seg/data.yaml"],
        ["seg/data.yaml", "strict=True", "task=segment"],
        ["cls", "strict=True"],
    ):
        assert main(["check", *words, "--json"]) == 0
        record = json.loads(capsys.readouterr().out)
        assert (record["data"], record["task"]) == (
            ("cls", "classify") if "cls" in words else ("seg/data.yaml", "segment")
        )
    assert main(["check", "data", "=", "seg/data.yaml", "segment"]) == 0
    assert main(["check", "strict=True"]) == 2
    assert "check needs a dataset" in capsys.readouterr().err


def test_a_copy_that_cannot_be_made_is_told_beside_what_was_found(tmp_path, capsys):
    make_shapes(tmp_path, 3, 2, imgsz=64)
    (tmp_path / "labels" / "train" / "0000.txt").write_text("0 .5 .5 .2 .2\n9 .5 .5 .2 .2\n")
    folder = tmp_path / "images" / "val" / "copy"
    assert main(["check", f"data={tmp_path / 'data.yaml'}", "--json", "--fix", str(folder)]) == 2
    record = json.loads(capsys.readouterr().out)
    assert (record["usable"], record["faults"], "corrected" in record) == (True, 1, False)
    assert "never corrected in place" in record["error"]


def test_what_is_no_image_in_folders_of_classes_is_passed_over(tmp_path, capsys):
    make_shapes(tmp_path / "drawn", 12, 1, task="classify", imgsz=64)
    root = (tmp_path / "drawn" / "train").rename(tmp_path / "set")  # no splits: divided in memory
    (root / "circle" / ".DS_Store").write_bytes(b"\0")
    (root / "circle" / "notes.txt").write_text("../square/0001.jpg\n")
    assert main(["check", f"data={root}", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert sum(record["splits"][split]["images"] for split in ("train", "val")) == 12
    assert "divided 80/20" in record["warnings"][0]


def test_a_copy_into_a_folder_that_somebody_else_fills_is_an_error(tmp_path):
    make_shapes(tmp_path / "set", 2, 2, imgsz=64)
    info, stores, reports = load(tmp_path / "set" / "data.yaml", "detect", "train", "val")

    class Filling(dict):
        def items(self):
            (tmp_path / "copy").mkdir()
            (tmp_path / "copy" / "theirs").touch()
            return super().items()

    with pytest.raises(DataError, match="copy: cannot be made"):
        write_corrected(tmp_path / "copy", info, "detect", Filling(stores), reports)
    assert [p.name for p in (tmp_path / "copy").iterdir()] == ["theirs"]


def test_of_very_many_classes_those_with_objects_are_shown(tmp_path, capsys):
    make_shapes(tmp_path, 4, 2, imgsz=64)
    file = tmp_path / "data.yaml"
    file.write_text(f"train: images/train\nval: images/val\nnames: {[f'class{n}' for n in range(40)]}\n")
    assert main(["check", f"data={file}"]) == 0
    text = capsys.readouterr().out
    assert "class0 " in text
    assert "36 more without an object" in text
    assert "class39 " not in text


def test_the_command_tells_everything_and_mends_a_copy(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    make_shapes(tmp_path / "set", 6, 3, imgsz=64)
    root = tmp_path / "set"
    (root / "images" / "train" / "0002.jpg").write_bytes((root / "images" / "val" / "0000.jpg").read_bytes())
    (root / "labels" / "train" / "0000.txt").write_text("0 .5 .5 .2 .2\n9 .5 .5 .2 .2\n")
    alike = cv2.imread(str(root / "images" / "val" / "0001.jpg"))
    cv2.imwrite(str(root / "images" / "train" / "0003.jpg"), alike, [cv2.IMWRITE_JPEG_QUALITY, 60])
    assert main(["check", "data=set/data.yaml", "--json", "--fix", "copy"]) == 1
    record = json.loads(capsys.readouterr().out)
    assert record["splits"]["train"]["statistics"]["objects"]["circle"] > 0
    twin = Twin(**record["duplicates"][0])
    assert (twin.kind, Path(twin.first).name, Path(twin.second).name) == (SAME, "0002.jpg", "0000.jpg")
    assert [(t["kind"], Path(t["first"]).name) for t in record["duplicates"][1:]] == [(NEAR, "0003.jpg")]
    assert record["suggestions"][0].startswith("2 images are in both train and val")
    assert record["corrected"] == str(tmp_path / "copy" / "data.yaml")
    assert main(["check", "data=copy/data.yaml", "--json"]) == 0
    clean = json.loads(capsys.readouterr().out)
    assert (clean["faults"], clean["splits"]["train"]["images"]) == (0, 5)
    assert [twin["kind"] for twin in clean["duplicates"]] == [NEAR]
    assert main(["check", "data=set/data.yaml", "--no-near"]) == 1
    text = capsys.readouterr().out
    for part in ("box width / height", "circle", "the same file as", "suggestion: 1 image is", "usable, 1 fault\n"):
        assert part in text
    assert main(["check", "data=set/data.yaml", "--fix", "copy"]) == 2
    assert "exists and is not empty" in capsys.readouterr().err.replace("\n", " ")


def test_a_place_where_no_copy_can_be_is_told_before_the_work(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    make_shapes(tmp_path / "set", 2, 2, imgsz=64)
    (tmp_path / "file").write_text("x")
    (tmp_path / "set" / "images" / "val" / "0000.jpg").write_bytes(b"")
    assert main(["check", "data=set/data.yaml", "--fix", "file/copy"]) == 2
    told = capsys.readouterr()
    assert "is no directory that can be written to" in " ".join(told.err.split())
    assert told.out == ""


def test_the_command_on_folders_of_classes(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    make_shapes(tmp_path / "set", 8, 8, task="classify", imgsz=64)
    (tmp_path / "set" / "data.yaml").unlink()
    (tmp_path / "set" / "train" / "circle" / "bad.jpg").write_bytes(b"")
    assert main(["check", "data=set", "--json", "--fix", "copy"]) == 1
    record = json.loads(capsys.readouterr().out)
    assert record["corrected"] == str(tmp_path / "copy")
    assert main(["check", "data=copy"]) == 0
    assert "no faults" in capsys.readouterr().out


BAD_ROWS = {
    "-0.1 in 0 … 1": ("0 -.1 .5 .2 .2", "column 2 is -0.1"),
    "above 1": ("0 .5 1.5 .2 .2", "column 3 is 1.5"),
    "nan": ("0 nan .5 .2 .2", "column 2 is nan"),
    "inf": ("0 .5 .5 -inf .2", "column 4 is -inf"),
    "class nan": ("nan .5 .5 .2 .2", "the class is nan"),
    "class -1": ("-1 .5 .5 .2 .2", "class -1 is out of range 0 ... 3"),
    "class 0.5": ("0.5 .5 .5 .2 .2", "class 0.5 is not an integer"),
    "class nc": ("4 .5 .5 .2 .2", "class 4 is out of range 0 ... 3"),
    "zero width": ("0 .5 .5 0 .2", "the object is 0 x 0.2"),
    "zero height": ("0 .5 .5 .2 0", "the object is 0.2 x 0"),
    "four columns": ("0 .5 .5 .2", "expected 5 columns (class x y w h), found 4"),
    "confidence": ("0 .5 .5 .2 .2 .9", "is the last column a confidence?"),
    "text class": ("cat .5 .5 .2 .2", "the class 'cat' is not a number"),
    "commas": ("0,.5,.5,.2,.2", "columns are separated by spaces"),
    "odd polygon": ("0 .1 .1 .9 .1 .9 .9 .5", "odd number of polygon coordinates"),
}
BAD_FILES = {
    "empty.jpg": (b"", "the file is empty"),
    "cut.jpg": (lambda good: good[: len(good) // 2], "truncated or damaged image"),
    "text.jpg": (b"not an image at all", "not an image that can be decoded"),
}


@pytest.fixture(scope="module")
def faulty(tmp_path_factory):
    """A set with one of each fault that a dataset can have; the folder, and the message of each place."""
    root = tmp_path_factory.mktemp("faulty")
    make_shapes(root, 24, 2, imgsz=64)
    images, labels = root / "images" / "train", root / "labels" / "train"
    good = (images / "0000.jpg").read_bytes()
    expected = {}
    for index, (row, message) in enumerate(BAD_ROWS.values()):
        file = labels / f"{index:04}.txt"
        file.write_text(f"0 .5 .5 .3 .3\n\n{row}\n")
        expected[f"{file}:3"] = message
    twice = labels / f"{len(BAD_ROWS):04}.txt"
    twice.write_text("0 .5 .5 .3 .3\n1 .5 .5 .3 .3\n0 .5 .5 .3 .3\n")
    expected[f"{twice}:3"] = "the same row as line 1"
    for name, (content, message) in BAD_FILES.items():
        (images / name).write_bytes(content(good) if callable(content) else content)
        expected[str(images / name)] = message
    for name, content, message in (
        ("binary", b"\x93\x00\xff", "label file cannot be read as text"),
        ("utf16", "0 .5 .5 .2 .2".encode("utf-16"), "save it as UTF-8"),
    ):
        (images / f"{name}.jpg").write_bytes(good)
        (labels / f"{name}.txt").write_bytes(content)
        expected[str(labels / f"{name}.txt")] = message
    (images / "folder.jpg").write_bytes(good)
    (labels / "folder.txt").mkdir()
    expected[str(labels / "folder.txt")] = "label file is not a readable regular file"
    (images / "dangling.jpg").symlink_to(root / "nowhere.jpg")
    os.mkfifo(images / "pipe.jpg")
    expected |= {str(images / "dangling.jpg"): "cannot be opened", str(images / "pipe.jpg"): "not a regular file"}
    (images / "narrow.png").write_bytes(cv2.imencode(".png", np.zeros((5, 90, 3), np.uint8))[1].tobytes())
    expected[str(images / "narrow.png")] = "a side is shorter than 10 pixels"
    return root, expected


def test_the_command_finds_one_of_each_fault_with_its_place(faulty, capsys):
    root, expected = faulty
    assert main(["check", f"data={root / 'data.yaml'}", "--json"]) == 1
    record = json.loads(capsys.readouterr().out)
    lines = record["splits"]["train"]["lines"]
    assert len(lines) == len(expected)
    for place, message in expected.items():
        (line,) = [line for line in lines if line.startswith(f"{place}: ")]
        assert message in line
    assert record["faults"] == len(expected)


def test_a_copy_of_the_faulty_set_is_clean(faulty, tmp_path):
    root, _ = faulty
    info, stores, reports = load(root / "data.yaml", "detect", "train", "val")
    _, _, clean = load(write_corrected(tmp_path / "copy", info, "detect", stores, reports), "detect", "train", "val")
    assert [report.lines for report in clean] == [[], []]
    assert [report.objects for report in clean] == [report.objects for report in reports]
