"""Values typed at a prompt."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yolocore.config import ARGUMENTS
from yolocore.config.literals import parse_literal


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *[("None", None), ("none", None), ("null", None), ("True", True), ("false", False), ("TRUE", True)],
        *[("1", 1), ("-1", -1), ("+2", 2), ("0.5", 0.5), ("1e-3", 0.001), (".5", 0.5), ("1_000", 1000)],
        *[("224,128", (224, 128)), ("[224, 128]", [224, 128]), ("(1,)", (1,)), ("{'a': 1}", {"a": 1})],
        *[("disk", "disk"), ("'a b'", "a b"), ('"x"', "x"), ("", ""), ("  7 ", 7), ("a=b", "a=b")],
        *[("cuda:0,cuda:1", "cuda:0,cuda:1"), ("runs/x y/last.pt", "runs/x y/last.pt"), ("007", "007")],
        *[("1j", "1j"), ("b'x'", "b'x'"), ("{1, 2}", "{1, 2}"), ("[1, 2j]", "[1, 2j]"), ("...", "...")],
        *[("__import__('os').getcwd()", "__import__('os').getcwd()"), ("1 + 1", "1 + 1"), ("'", "'")],
        *[("[" * 9000, "[" * 9000), ("1" * 20_000, "1" * 20_000), ("\x00", "\x00"), ("фото.jpg", "фото.jpg")],
    ],
)
def test_parse(text: str, value: object) -> None:
    result = parse_literal(text)
    assert result == value
    assert type(result) is type(value)


plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**6), 10**6) | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=5,
)


@given(plain)
def test_what_python_prints_is_read_back(value: object) -> None:
    assert parse_literal(repr(value)) == value


@given(st.text())
def test_no_text_breaks_the_parser(text: str) -> None:
    parse_literal(text)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        *[("name", "007", "007"), ("name", "1e3", "1e3"), ("name", "None", None), ("name", "True", "True")],
        *[
            ("format", "none", "none"),
            ("source", "0", "0"),
            ("source", "None", None),
            ("model", "'a b.pt'", "a b.pt"),
        ],
        *[("resume", "True", True), ("resume", "runs/last.pt", "runs/last.pt"), ("device", "0,1", (0, 1))],
        *[("epochs", "10", 10), ("cache", "disk", "disk"), ("imgsz", "224,128", (224, 128))],
    ],
)
def test_arguments_know_whether_they_are_text(name: str, text: str, value: object) -> None:
    assert ARGUMENTS[name].parse(text) == value
