"""Where ``YOLO`` finds weights, and what it exports for other tools."""

from __future__ import annotations

import logging
import shutil
from typing import TYPE_CHECKING

import pytest
import torch
from weights_server import WeightsServer, serving

from yolocore import YOLO
from yolocore.cli import main
from yolocore.config.settings import get_settings
from yolocore.engine.weights import find_weights
from yolocore.errors import CheckpointError, ConfigError, MissingFileError
from yolocore.hooks.records import ModelRecord
from yolocore.testing import tiny_model

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def server() -> Iterator[WeightsServer]:
    yield from serving()


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("YOLOCORE_ASSETS_URL", raising=False)
    return tmp_path


@pytest.fixture
def published(folder) -> bytes:
    """A weights file as a server would have it."""
    model = YOLO("yolo11n.yaml")
    model.save(folder / "made.pt")
    return (folder / "made.pt").read_bytes()


def test_offline_it_says_what_was_looked_for_and_where_to_put_it(folder):
    with pytest.raises(MissingFileError) as caught:
        YOLO("yolo11n.pt")
    text = str(caught.value)
    assert str(folder / "yolo11n.pt") in text
    assert str(folder / "weights" / "yolo11n.pt") in text
    assert "assets_url is empty" in text
    assert "AGPL-3.0" in text
    assert isinstance(caught.value, FileNotFoundError)


def test_published_names_are_fetched_into_weights_dir(server, published, folder, monkeypatch, caplog):
    server.files["yolo11n.pt"] = server.files["mine.pt"] = published
    server.list_hashes()
    monkeypatch.setenv("YOLOCORE_ASSETS_URL", server.url)
    with caplog.at_level(logging.INFO, "yolocore"):
        model = YOLO("yolo11n")
    assert model.ckpt_path == "weights/yolo11n.pt"
    assert "licence of these weights is AGPL-3.0" in caplog.text
    before = len(server.requests)
    YOLO("yolo11n.pt")  # from the disk now
    for name in ("mine.pt", "other/yolo11s.pt"):
        with pytest.raises(MissingFileError):
            find_weights(name)
    assert len(server.requests) == before


def test_what_the_server_sends_has_to_be_weights(server, folder, monkeypatch):
    server.files["yolo11n.pt"] = b"<html>sign in</html>" * 100
    monkeypatch.setenv("YOLOCORE_ASSETS_URL", server.url)
    with pytest.raises(CheckpointError, match="not a weights file|not a checkpoint"):
        find_weights("yolo11n.pt")
    assert [p.name for p in (folder / "weights").iterdir() if p.suffix != ".lock"] == []


def test_a_project_file_may_not_name_a_private_server(server, published, folder):
    server.files["yolo11n.pt"] = published
    (folder / "yolocore.toml").write_text(f'assets_url = "{server.url}"\n')
    with pytest.raises(ConfigError, match="private network; refused"):
        find_weights("yolo11n.pt")
    assert server.requests == []


def test_the_setting_is_kept_for_the_user(server, published, folder):
    server.files["yolo11n.pt"] = published
    get_settings().update(assets_url=server.url)
    try:
        assert find_weights("yolo11n.pt").read_bytes() == published
    finally:
        get_settings().update(assets_url="")


def test_a_wrong_line_fetches_nothing(server, published, folder, monkeypatch, capsys):
    server.files["yolo11n.pt"] = published
    monkeypatch.setenv("YOLOCORE_ASSETS_URL", server.url)
    assert main(["predict", "model=yolo11n.pt", "source=/no/such"]) == 2
    assert main(["val", "model=yolo11n.pt", "data=nothing.yaml"]) == 2
    assert server.requests == []
    monkeypatch.setenv("YOLOCORE_ASSETS_URL", "")
    assert main(["predict", "model=yolo11n.pt"]) == 2
    assert "assets_url" in capsys.readouterr().err


def test_a_plugin_may_bring_weights(folder, published):
    record = ModelRecord("birds.pt", weights=lambda: folder / "made.pt", license="MIT")
    assert find_weights("birds.pt", {"birds.pt": record}) == folder / "made.pt"


@pytest.mark.parametrize("task", ["detect", "segment", "pose", "obb", "classify"])
def test_an_exported_state_dict_comes_back_bit_for_bit(task, folder):
    model = YOLO(shutil.copy(tiny_model(task), folder))  # the export goes beside it
    names = {i: f"class é {i}" for i in range(model.model.nc)}
    model.model.names = names
    model.model.license = "MIT"
    for name, tensor in model.model.state_dict().items():
        if name.endswith("running_var"):
            tensor.uniform_(0.5, 2)
    path = model.export(format="state_dict", imgsz=64)
    assert path.endswith(".safetensors")
    again = YOLO(path)
    assert (again.task, again.names, again.ckpt["license"], again.overrides["imgsz"]) == (task, names, "MIT", 64)
    ours, theirs = model.model.state_dict(), again.model.state_dict()
    assert list(ours) == list(theirs)
    assert all(torch.equal(v, theirs[k]) for k, v in ours.items())
    image = torch.rand(1, 3, 64, 64)
    expected, found = (m.model.eval()(image)[0] for m in (model, again))
    assert torch.equal(expected, found)


def test_weights_of_either_form_train_and_load(tiny_dataset, folder):
    source = YOLO(shutil.copy(tiny_model("detect"), folder))
    path = source.export(format="safetensors", imgsz=32)
    common = {"data": str(tiny_dataset), "imgsz": 32, "epochs": 1, "batch": 4, "workers": 0, "device": "cpu"}
    model = YOLO(path)
    model.train(**common, lr0=1e-9, optimizer="SGD", warmup_epochs=0, project="runs")
    first = "model.0.conv.weight"
    assert torch.allclose(model.model.state_dict()[first], source.model.state_dict()[first])
    fresh = YOLO(tiny_model("detect"))
    fresh.load(path)
    assert torch.equal(fresh.model.state_dict()[first], source.model.state_dict()[first])
