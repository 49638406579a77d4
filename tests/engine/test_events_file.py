"""The format of the event record: values, damage, versions."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from yolocore.engine.observers.event_facts import Redactor
from yolocore.engine.observers.event_file import EventFile, number, numbers, pack, plain, precedes, read_events, unpack
from yolocore.errors import DataError

START = {"event": "on_pretrain_routine_start", "version": 1, "final": False, "epoch": None}
DTYPES = st.sampled_from([np.float64, np.float32, np.int64, np.uint8, np.dtype(">f8")])


def line(event: str, epoch: int | None = 0, *, final: bool = False) -> dict[str, Any]:
    return {"event": event, "epoch": epoch, "final": final}


@given(st_numpy.arrays(DTYPES, st_numpy.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=5)))
def test_arrays_come_back_bit_by_bit(array: np.ndarray) -> None:
    again = unpack(json.loads(json.dumps(pack(array))))
    assert again.shape == array.shape
    assert again.dtype == array.dtype.newbyteorder("<")
    np.testing.assert_array_equal(again, array)


def test_a_view_is_packed_in_its_own_order() -> None:
    array = np.arange(12.0).reshape(3, 4).T[::2]
    np.testing.assert_array_equal(unpack(pack(array)), array)


@given(st.floats())
def test_numbers_come_back_exactly(value: float) -> None:
    text = json.dumps(plain({"x": value}), allow_nan=False)
    again = numbers(json.loads(text))["x"]
    assert again == value or (math.isnan(again) and math.isnan(value))


def test_plain_values() -> None:
    given = {1: (Path("a/b"), np.float32(0.5), torch.tensor(2), np.bool_(True)), "none": None, "other": 3 + 4j}
    assert plain(given) == {"1": ["a/b", 0.5, 2, True], "none": None, "other": "(3+4j)"}
    assert number("0.5") == "0.5"


def test_redactor_hides_known_secrets_and_logins(monkeypatch) -> None:
    monkeypatch.setenv("SOME_TOKEN", "long-enough")
    monkeypatch.setenv("SHORT_TOKEN", "abc")

    class Hidden:
        def get_secret_value(self) -> str:
            return "inside-an-object"

    redact = Redactor({"acme": {"password": "longer-than-eight", "auth": {"key": Hidden()}, "plain": "plain-value"}})
    text = "long-enough abc longer-than-eight inside-an-object plain-value rtsp://u:p@w@cam/1 https://host/a@b"
    assert redact(text) == "*** abc *** *** plain-value rtsp://***@cam/1 https://host/a@b"


def test_lines_are_read_back_and_a_torn_last_one_is_left_out(tmp_path: Path) -> None:
    file = EventFile(tmp_path / "events.jsonl")
    file.begin(START)
    file.append(line("on_train_start", None))
    with file.path.open("ab") as stream:
        stream.write(b'{"event": "on_train_epoch_start", "ep')
    assert [found["event"] for found in read_events(file.path)] == ["on_pretrain_routine_start", "on_train_start"]
    file.keep(lambda _: True)
    file.append(line("on_train_epoch_start"))
    assert [found["event"] for found in read_events(file.path)][-1] == "on_train_epoch_start"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no event record"),
        (b"epoch,time\n1,2\n3,4\n", ":1: the line is damaged"),
        (json.dumps(line("on_train_start")).encode(), "no event record"),
        (json.dumps({**START, "version": 7}).encode(), "version 7, this yolocore reads up to 1"),
        (json.dumps(START).encode() + b"\n[1]\n" + json.dumps(line("teardown")).encode(), ":2: the line is damaged"),
    ],
)
def test_what_is_no_record_is_refused(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as error:
        read_events(path)
    assert str(path) in str(error.value)


def test_what_a_resumed_run_keeps() -> None:
    kept = [line("on_pretrain_routine_start", None), line("teardown", 2), line("on_fit_epoch_end", 1)]
    dropped = [
        line("on_train_epoch_start", 2),
        line("on_fit_epoch_end", 3),
        line("on_val_end", 1, final=True),
        line("on_train_end", 1),
    ]
    assert [precedes(found, 2) for found in (*kept, *dropped)] == [True] * 3 + [False] * 4
