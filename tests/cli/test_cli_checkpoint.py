"""``yolo checkpoint info`` and ``convert``."""

from __future__ import annotations

import json

import pytest
import torch

from yolocore import YOLO
from yolocore.cli import main
from yolocore.nn.checkpoint import read_checkpoint

pytestmark = pytest.mark.usefixtures("folder")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = YOLO("yolo11n.yaml")
    model.save(tmp_path / "native.pt")
    torch.save(model.model.state_dict(), tmp_path / "bare.pt")
    return tmp_path


def test_info_shows_what_there_is(capsys):
    assert main(["checkpoint", "info", "native.pt", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["kind"], facts["family"], facts["scale"], facts["task"]) == ("native", "yolo11", "n", "detect")
    assert (facts["nc"], facts["parameters"], facts["fused"], facts["dtype"]) == (80, 2_624_080, False, "float32")
    assert main(["checkpoint", "info", "bare.pt"]) == 0
    text = capsys.readouterr().out
    assert "state_dict" in text
    assert "yolo11 n" in text
    assert "not stated" in text


def test_convert_never_overwrites(capsys):
    assert main(["checkpoint", "convert", "bare.pt"]) == 0
    assert read_checkpoint("bare-native.pt").kind == "native"
    assert main(["checkpoint", "convert", "bare.pt"]) == 2
    assert "exists and is left as it is" in capsys.readouterr().err.replace("\n", " ")
    assert main(["checkpoint", "convert", "bare.pt", "other.pt"]) == 0
    assert read_checkpoint("other.pt").nc == 80


def test_convert_takes_the_description_of_an_unknown_network(folder, capsys):
    (folder / "own.yaml").write_text("nc: 3\nbackbone:\n- [-1, 1, Conv, [8, 3, 2]]\nhead:\n- [-1, 1, Classify, [nc]]\n")
    torch.save(YOLO("own.yaml", task="classify").model.state_dict(), "own.pt")
    assert main(["checkpoint", "convert", "own.pt", "a.pt"]) == 2
    assert "Say which network it is" in capsys.readouterr().err.replace("\n", " ")
    assert main(["checkpoint", "convert", "own.pt", "a.pt", "model=own.yaml"]) == 0
    assert YOLO("a.pt").task == "classify"
    for words in (["native.pt", "b.pt", "model=own.yaml"], ["own.pt", "b.pt", "c.pt"], ["own.pt", "mode=x"]):
        assert main(["checkpoint", "convert", *words]) == 2


def test_a_missing_or_hostile_file_is_one_paragraph(folder, capsys):
    (folder / "evil.pt").write_bytes(b"cos\nsystem\n(S'touch canary'\ntR.")
    assert main(["checkpoint", "info", "evil.pt"]) == 2
    assert "os.system" in capsys.readouterr().err
    assert not (folder / "canary").exists()
    assert main(["checkpoint", "info", "nothing.pt"]) == 2


def test_a_real_official_file(shared_dir, capsys):
    assert main(["checkpoint", "info", str(shared_dir / "weights" / "yolo11n-cls-cifar10.pt"), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["kind"], facts["family"], facts["task"], facts["nc"]) == ("official", "yolo11-cls", "classify", 10)
    assert "AGPL-3.0" in facts["license"]
    assert facts["dtype"] == "float16"
    assert facts["train_args"]["data"] == "cifar10"
