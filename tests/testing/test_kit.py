"""The fixtures and helpers of the kit."""

from __future__ import annotations

import os
import socket
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import ClassVar

import pytest

from yolocore import YOLO
from yolocore.data.shapes import TASKS
from yolocore.errors import ConfigError
from yolocore.hooks import EVENTS
from yolocore.hooks.discovery import candidates
from yolocore.models.yolo.detect import DetectionTrainer
from yolocore.testing import HookRecorder, NetworkBlocker, alone, fixtures, make_tiny_dataset, tiny_model
from yolocore.testing.network import BlockedNetworkError, is_loopback
from yolocore.testing.snapshot import plain_equal, shared_values, state_of_package

pytest_plugins = ["yolocore.testing"]

TINY = {"imgsz": 32, "batch": 4, "workers": 0, "device": "cpu", "plots": False, "epochs": 1}


def test_every_task_has_a_dataset_a_model_and_their_fixtures() -> None:
    for task in YOLO(tiny_model()).task_map:
        assert tiny_model(task).is_file()
        assert YOLO(tiny_model(task)).task == task
        for kind in ("dataset", "model"):
            assert hasattr(fixtures, f"tiny_{task}_{kind}")


@pytest.mark.parametrize("task", TASKS)
def test_tiny_datasets_are_the_same_everywhere(task: str, tmp_path: Path) -> None:
    one, two = make_tiny_dataset(tmp_path / "one", task), make_tiny_dataset(tmp_path / "two", task)
    root = one if task == "classify" else one.parent
    files = [path.relative_to(root) for path in root.rglob("*") if path.is_file()]
    assert len([path for path in files if path.suffix == ".jpg"]) == 16
    for path in files:
        assert (root / path).read_bytes() == (tmp_path / "two" / path).read_bytes()
    assert two.exists()


def test_unknown_tasks_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Did you mean 'detect'"):
        tiny_model("detct")
    with pytest.raises(ConfigError, match="Did you mean 'segment'"):
        make_tiny_dataset(tmp_path, "segmnt")


def test_a_recorder_sees_a_training(tiny_detect_dataset, tiny_detect_model, hook_recorder, tmp_path) -> None:
    model = YOLO(tiny_detect_model)
    assert hook_recorder.attach(model) is hook_recorder
    model.train(data=tiny_detect_dataset, project=tmp_path, nbs=4, warmup_epochs=0, **TINY)
    assert hook_recorder.events[:3] == ["on_pretrain_routine_start", "on_pretrain_routine_end", "on_train_start"]
    assert hook_recorder.count("optimizer_step") == 3
    val, final = hook_recorder.of("on_val_end")
    assert (val.context.phase, final.context.phase) == ("val", "final_eval")  # as it was then
    assert (val.kind, val.epoch) == ("validator", 0)
    assert {record.kind for record in hook_recorder.records} == {"trainer", "validator"}
    assert hook_recorder.of("teardown")[0].component is model.trainer
    hook_recorder.clear()
    assert hook_recorder.events == []


def test_a_recorder_of_some_events() -> None:
    assert list(HookRecorder().callbacks) == list(EVENTS)
    assert list(HookRecorder(["teardown"]).callbacks) == ["teardown"]


def test_no_connection_leaves_the_machine(no_network: NetworkBlocker) -> None:
    with pytest.raises(urllib.error.URLError, match="blocks the network"):
        urllib.request.urlopen("http://service.example/")
    with pytest.raises(BlockedNetworkError), socket.socket() as client:
        client.connect(("192.0.2.1", 443))
    with pytest.raises(ConnectionError), socket.socket(type=socket.SOCK_DGRAM) as client:
        client.sendto(b"x", ("192.0.2.1", 53))
    assert no_network.attempts == ["look up service.example", "connect 192.0.2.1:443", "sendto 192.0.2.1:53"]


def test_servers_of_this_machine_can_be_reached(no_network: NetworkBlocker) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        with socket.create_connection(("localhost", server.getsockname()[1])):
            server.accept()[0].close()
        with NetworkBlocker(allow_loopback=False) as strict, pytest.raises(BlockedNetworkError):
            socket.create_connection(server.getsockname())
    assert len(strict.attempts) == 1
    assert no_network.attempts == []


def test_the_network_is_given_back() -> None:
    before = (socket.socket.connect, socket.getaddrinfo)
    with NetworkBlocker():
        assert socket.socket.connect is not before[0]
    assert (socket.socket.connect, socket.getaddrinfo) == before


@pytest.mark.parametrize("host", ["localhost", b"localhost", "127.0.0.1", "127.8.8.8", "::1", "0.0.0.0", "", None])
def test_this_machine(host: object) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["example.org", "10.0.0.1", "192.168.1.1", "fe80::1%eth0", "169.254.169.254"])
def test_other_machines(host: str) -> None:
    assert not is_loopback(host)


def test_fake_ranks(tiny_detect_dataset, tiny_detect_model, fake_ranks, tmp_path) -> None:
    with pytest.raises(ConfigError, match="ranks are 0 to 1"):
        fake_ranks(2)
    overrides = {"model": tiny_detect_model, "data": tiny_detect_dataset, "project": tmp_path, **TINY}
    trainer = alone(DetectionTrainer)(overrides=overrides, ranks=fake_ranks(1, 2))
    trainer.train()
    assert os.environ["RANK"] == os.environ["LOCAL_RANK"] == "1"
    assert (trainer.rank, trainer.world_size, trainer.context.is_main) == (1, 2, False)
    assert len(trainer.train_loader) == 2  # of 3: this rank's share
    assert not trainer.last.exists()


def test_fake_ranks_take_their_variables_back() -> None:
    assert not {"RANK", "LOCAL_RANK", "WORLD_SIZE"} & set(os.environ)


def test_a_fake_installation_lasts_for_one_test(fake_installation) -> None:
    folder = fake_installation("gong", "class Plugin:\n    def on_train_end(self, trainer): ...\n", version="2.0")
    (found,) = [candidate for candidate in candidates() if candidate.name == "gong"]
    assert found.origin == "yolocore-gong 2.0"
    assert found.entry_point.load().__module__ == "yolocore_gong"
    assert folder.is_dir()


def test_a_fake_installation_is_gone() -> None:
    assert "gong" not in [candidate.name for candidate in candidates()]
    assert "yolocore_gong" not in sys.modules


class Holder:
    common: ClassVar[list[int]] = []

    def __init__(self) -> None:
        self.own: list[int] = []
        self.rows = self.common


def test_what_two_objects_share() -> None:
    assert shared_values(Holder(), Holder()) == ["rows"]
    before = state_of_package(__name__)
    Holder.common.append(1)
    after = state_of_package(__name__)
    assert [key for key in before if before[key] != after[key]] == [f"{__name__}.Holder.common"]
    Holder.common.clear()


def test_states_are_compared_with_their_tensors() -> None:
    import torch

    one = {"a": [1, (2.0, "x")], "t": torch.ones(2)}
    assert plain_equal(one, {"a": [1, (2.0, "x")], "t": torch.ones(2)})
    for other in ({}, {**one, "a": [1]}, {**one, "t": torch.zeros(2)}, {**one, "t": torch.ones(3)}, {**one, "a": (1,)}):
        assert not plain_equal(one, other)
