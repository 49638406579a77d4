"""Dataset descriptions: finding, path resolution, every check."""

from __future__ import annotations

import logging
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from yolocore.config.dataset import find_dataset_yaml, load_dataset
from yolocore.errors import DataError, DataKeyError, MissingFileError, YolocoreError

GOOD = "train: images/train\nval: images/val\nnames: [cat, dog]\n"


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A directory with the usual image directories; the working directory is elsewhere."""
    for split in ("train", "val", "test"):
        (tmp_path / "set" / "images" / split).mkdir(parents=True)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "set"


def load(root: Path, text: str | bytes = GOOD, task: str = "detect", name: str = "data.yaml", **options):
    file = root / name
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    settings = {"datasets_dir": str(root.parent / "datasets")}
    return load_dataset(file, task=task, settings=settings, **options)


def test_the_parsed_form(root):
    info = load(root, GOOD + "author: me\nextra: [1]\n")
    assert info["path"] == root
    assert info["train"] == [str(root / "images/train")]
    assert info["names"] == {0: "cat", 1: "dog"}
    assert (info["nc"], info["channels"]) == (2, 3)
    assert info["yaml_file"] == info.yaml_file == str(root / "data.yaml")
    assert info["extra"] == [1]
    assert "test" not in info
    assert info.split("val") == [str(root / "images/val")]
    with pytest.raises(DataKeyError, match="no 'test' split; the file gives train, val"):
        info.split("test")


@pytest.mark.parametrize("name", ["größe ü.yaml", "with space.yml", "[a]*?.yaml", "x" * 200 + ".yaml"])
def test_any_file_name(root, name):
    assert load(root, name=name)["nc"] == 2


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("nc: 2", {0: "class_0", 1: "class_1"}),
        ("names: {0: a, 1: b}\nnc: 2", {0: "a", 1: "b"}),
        ("names: {1: b, 0: a}", {0: "a", 1: "b"}),
        ("names: {'0': a, '1': b}", {0: "a", 1: "b"}),
        ("names: [0, 1]", {0: "0", 1: "1"}),
        ("names: ['no', ünï]", {0: "no", 1: "ünï"}),
    ],
)
def test_forms_of_names(root, text, names):
    info = load(root, f"train: images/train\nval: images/val\n{text}\n")
    assert info["names"] == names
    assert info["nc"] == len(names)
    assert list(info["names"]) == sorted(names)


def test_validation_is_an_alias_of_val(root):
    info = load(root, "train: images/train\nvalidation: images/val\nnames: [a]\n")
    assert info["val"] == [str(root / "images/val")]
    assert "validation" not in info
    with pytest.raises(DataError, match=r"data\.yaml:4: both 'val' and 'validation'"):
        load(root, GOOD + "validation: images/test\n")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"data\.yaml:1:1: the file is empty"),
        ("# only a comment\n", r"data\.yaml:1:1: the file is empty"),
        ("\n- a\n- b\n", r"data\.yaml:2:1: found a list; expected a mapping"),
        ("hello", r"data\.yaml:1:1: found the text 'hello'; expected a mapping"),
        ("names: [a\ntrain: x", r"data\.yaml:2:6: not valid YAML"),
        ("a: b: c", r"data\.yaml:1:5: not valid YAML: .*mapping values"),
        ("a:\n\tb: 1", r"data\.yaml:2:1: not valid YAML.*spaces, not tabs"),
        ("a: 1\nb: 2\na: 3", r"data\.yaml:3:1: key 'a' was already given in line 1"),
        ("names:\n  0: a\n  0: b", r"data\.yaml:3:3: key '0' was already given in line 2"),
        ("? [a]\n: b", r"data\.yaml:1:3: a key must be a text"),
        ("a: !!python/object/apply:os.system ['touch x']", r"data\.yaml:1:4: .*python.*never built"),
        ("a: !!python/name:os.system", r"data\.yaml:1:4: .*never built"),
        ("a: &x [*x]", r"an alias contains itself"),
        ("a: 1\n---\nb: 2", r"data\.yaml:2:1: not valid YAML"),
        ("a: " + "[" * 100 + "]" * 100, r"nested deeper than 60"),
        (b"names: [\xff]", r"byte 8 is not UTF-8"),
        (GOOD.encode("utf-16"), r"not UTF-8"),
        ("a: \x00", r"data\.yaml.*not valid YAML"),
    ],
)
def test_yaml_errors_say_where(root, text, message):
    with pytest.raises(DataError, match=message) as error:
        load(root, text)
    assert str(error.value).startswith(str(root / "data.yaml"))
    assert not (Path.cwd() / "x").exists()


def test_alias_bombs_are_refused_at_once_and_modest_aliases_work(root):
    bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n"
    for one, two in zip("abcdefgh", "bcdefghi", strict=True):
        bomb += f"{two}: &{two} [{','.join(['*' + one] * 9)}]\n"
    with pytest.raises(DataError, match=r"aliases expand \d+ values to \d+; refused"):
        load(root, bomb)
    assert load(root, "train: &t images/train\nval: *t\nnames: [a]\n")["val"] == [str(root / "images/train")]


BASE = "train: images/train\nval: images/val\n"


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("names: cat", 3, "names is 'cat', of type str; expected a list"),
        ("names: 3", 3, "of type int"),
        ("names: []", 3, "names is empty"),
        ("names: {}", 3, "names is empty"),
        ("names: {0: a, 2: b}", 3, "from 0 to 1 without gaps; missing 1, found 0, 2"),
        ("names: {1: a, 2: b}", 3, "missing 0"),
        ("names: {a: 0}", 3, "names has the key 'a'"),
        ("names: [yes, no]", 3, "the name of class 0 is True; .*quotes"),
        ("names: [a, null]", 3, "the name of class 1 is None"),
        ("names: [a, [b]]", 3, "the name of class 1"),
        ("names: [a, '']", 3, "the name of class 1 is ''"),
        ("nc: 0", 3, "nc is 0; expected an integer of at least 1"),
        ("nc: two", 3, "nc is 'two'"),
        ("nc: 2.0", 3, "nc is 2.0"),
        ("nc: true", 3, "nc is True"),
        ("names: [a]\nnc: 2", 4, "nc is 2 but names lists 1 classes"),
        ("nc: 1\nchannels: 0", 4, "channels is 0"),
        ("nc: 1\nchannels: three", 4, "channels is 'three'"),
        ("nc: 1\npath: [a]", 4, "path is"),
        (
            "nc: 1\nformat: cocoo",
            4,
            "format is 'cocoo'; expected one of yolo, coco, voc. Did you mean 'coco'",
        ),
        ("nc: 1\ntest: 5", 4, "test holds 5"),
        ("nc: 1\ntest: [images/test, 5]", 4, "test holds 5"),
    ],
)
def test_wrong_values(root, text, line, message):
    with pytest.raises(DataError, match=rf"data\.yaml:{line}: .*{message}"):
        load(root, BASE + text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BASE, "neither 'names' nor 'nc' is given"),
        ("val: images/val\nnc: 1", "the key 'train' is missing"),
        ("train: images/train\nnc: 1", "the key 'val' is missing"),
        ("train:\nval: images/val\nnc: 1", "the key 'train' is missing"),
        ("trian: images/train\nval: images/val\nnc: 1", "Did you mean 'trian' to be 'train'"),
    ],
)
def test_missing_keys(root, text, message):
    with pytest.raises(DataKeyError, match=message) as error:
        load(root, text)
    assert isinstance(error.value, KeyError)


def test_unknown_keys_and_duplicate_names_are_warnings(root, caplog):
    info = load(root, "train: images/train\nval: images/val\nnames: [cat, dog, cat]\nchanels: 1\nlicense: MIT\n")
    assert info["nc"] == 3
    assert "data.yaml:4: unknown key 'chanels' is ignored. Did you mean 'channels'" in caplog.text
    assert "data.yaml:3: class names given twice: 'cat' (0, 2)" in caplog.text
    assert "license" not in caplog.text


class TestPose:
    def test_complete(self, root):
        info = load(root, GOOD + "kpt_shape: [3, 2]\nflip_idx: [0, 2, 1]\n", task="pose")
        assert info["kpt_shape"] == [3, 2]

    def test_flip_idx_may_be_absent_and_other_tasks_need_nothing(self, root):
        assert "flip_idx" not in load(root, GOOD + "kpt_shape: [3, 3]\n", task="pose")
        assert "kpt_shape" not in load(root)

    def test_missing(self, root):
        with pytest.raises(DataKeyError, match=r"'kpt_shape' is missing; task pose needs .* kpt_shape: \[17, 3\]"):
            load(root, task="pose")

    @pytest.mark.parametrize("shape", ["3", "[3]", "[3, 4]", "[0, 3]", "[3, 3, 3]", "[a, 3]", "[3.0, 3]"])
    def test_wrong_shape(self, root, shape):
        with pytest.raises(DataError, match=r"data\.yaml:4: kpt_shape is"):
            load(root, GOOD + f"kpt_shape: {shape}\n", task="pose")

    @pytest.mark.parametrize("flip", ["[0, 1]", "[0, 1, 3]", "[0, 0, 1]", "[0, 1, 2, 3]", "x", "[0, 1, two]"])
    def test_wrong_flip_idx(self, root, flip):
        with pytest.raises(ValueError, match=r"data\.yaml:5: flip_idx is .*each of 0 ... 2 exactly once"):
            load(root, GOOD + f"kpt_shape: [3, 3]\nflip_idx: {flip}\n", task="pose")


class TestPaths:
    def test_path_is_relative_to_the_yaml_first_then_datasets_dir_then_cwd(self, root):
        cwd, datasets = Path.cwd(), root.parent / "datasets"
        for base in (cwd, datasets, root):
            for split in ("train", "val"):
                (base / "inner" / "images" / split).mkdir(parents=True)
            assert load(root, "path: inner\n" + GOOD)["path"] == base / "inner"

    def test_absolute_path_and_absolute_split(self, root, tmp_path):
        (tmp_path / "far").mkdir()
        info = load(tmp_path / "work", f"path: {root}\ntrain: images/train\nval: {tmp_path / 'far'}\nnc: 1\n")
        assert info["train"] == [str(root / "images/train")]
        assert info["val"] == [str(tmp_path / "far")]

    def test_lists_and_links_and_parents(self, root, tmp_path):
        (tmp_path / "link").symlink_to(root)
        info = load(
            tmp_path / "link",
            "path: ../set\ntrain: [images/train, images/test]\nval: images/../images/val\nnc: 1\n",
        )
        assert info["train"] == [str(root / "images/train"), str(root / "images/test")]
        assert info["val"] == [str(root / "images/val")]

    def test_every_candidate_of_every_missing_split_is_shown(self, root):
        with pytest.raises(FileNotFoundError) as error:
            load(root, "path: nowhere\ntrain: tr\nval: va\nnc: 1\ndownload: https://example.org/a.zip\n")
        text = str(error.value)
        for base in (root, root.parent / "datasets", Path.cwd()):
            for split in ("train: ", "val: "):
                assert f"{split}{base / 'nowhere' / (split[:2])}\n" in text
        assert "data.yaml:2: " in text
        assert "'path: nowhere' resolves to" in text
        assert "'download' is never executed" in text

    def test_a_common_mistake_gets_the_line_to_write(self, root):
        with pytest.raises(MissingFileError, match="write 'train: images/train'"):
            load(root, "train: ../images/train\nval: ../images/val\nnc: 1\n")

    def test_splits_that_are_not_required_may_be_absent(self, root, caplog):
        info = load(root, GOOD + "test: nowhere\n")
        assert info["test"] == []
        assert "data.yaml:4: test does not exist" in caplog.text
        with pytest.raises(MissingFileError, match=f"test: {root / 'nowhere'}"):
            info.split("test")
        info = load(root, "train: nowhere\nval: images/val\nnc: 1\n", splits=("val",))
        assert info.split("val")


class TestFinding:
    def test_order(self, root, tmp_path, monkeypatch):
        datasets = tmp_path / "datasets"
        datasets.mkdir()
        (datasets / "own.yaml").touch()
        assert find_dataset_yaml("own.yaml", datasets=datasets) == datasets / "own.yaml"
        assert find_dataset_yaml("shapes.yaml", datasets=datasets).parent.name == "datasets"
        for name in ("own.yaml", "shapes.yaml"):
            Path(name).touch()
            assert find_dataset_yaml(name, datasets=datasets) == Path.cwd() / name
        assert find_dataset_yaml("./own.yaml", datasets=datasets).is_absolute()

    def test_not_found(self, root):
        (root.parent / "datasets").mkdir()
        (root.parent / "datasets" / "bccd.yaml").touch()
        settings = {"datasets_dir": str(root.parent / "datasets")}
        with pytest.raises(FileNotFoundError, match=r"Did you mean 'bccd\.yaml'") as error:
            load_dataset("bcd.yaml", task="detect", settings=settings)
        assert str(Path.cwd() / "bcd.yaml") in str(error.value)
        assert str(root.parent / "datasets" / "bcd.yaml") in str(error.value)
        with pytest.raises(MissingFileError, match=r"ends in \.yaml"):
            load_dataset("zzz", task="detect", settings=settings)
        with pytest.raises(MissingFileError) as error:
            load_dataset("no/such.yaml", task="detect", settings=settings)
        assert "datasets/no" not in str(error.value)

    def test_a_directory_or_another_file(self, root):
        load(root)
        with pytest.raises(DataError, match=r"is a directory.*data\.yaml"):
            load_dataset(root, task="detect", settings={"datasets_dir": "x"})
        (root / "a.txt").touch()
        with pytest.raises(DataError, match=r"found '\.txt'"):
            load_dataset(root / "a.txt", task="detect", settings={"datasets_dir": "x"})


def test_nothing_of_download_runs(root, caplog):
    with caplog.at_level(logging.INFO):
        load(root, GOOD + "download: |\n  import pathlib\n  pathlib.Path('x').touch()\n")
    assert "never executed" in caplog.text
    assert not Path("x").exists()


@pytest.mark.parametrize("value", ["", "x", "-1", "[]", "{}", "null", "1e999", "'", "[", "{a: b}", "!!set {a}"])
@pytest.mark.parametrize("key", ["path", "train", "val", "names", "nc", "kpt_shape", "flip_idx", "channels", "format"])
def test_no_value_of_any_key_escapes_the_error_tree(root, key, value):
    lines = {"train": "images/train", "val": "images/val", "names": "[a]", "kpt_shape": "[1, 2]"} | {key: value}
    text = "".join(f"{k}: {v}\n" for k, v in lines.items())
    with suppress(YolocoreError):
        info = load(root, text, task="pose")
        assert info["nc"] == len(info["names"])


def test_reading_a_description_needs_no_heavy_module():
    heavy = {"torch", "cv2", "numpy", "PIL"}
    code = f"import sys, yolocore.config.dataset; print(sorted({heavy} & sys.modules.keys()))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
