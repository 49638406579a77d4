"""Values typed at a prompt: ``None``, booleans, numbers, lists, else text. Nothing is evaluated."""

from __future__ import annotations

import ast
from typing import Any, Final

MAX_LENGTH: Final = 10_000  # longer texts are no literal anybody typed
WORDS: Final = {"none": None, "null": None, "true": True, "false": False}
PLAIN: Final = (type(None), bool, int, float, str)


def parse_literal(text: str) -> Any:
    """Return the plain value that ``text`` spells, or the text itself.

    ``224,128`` is a tuple like ``(224,128)``; quotes are taken off; ``true`` and ``none`` work in any case.
    """
    text = text.strip()
    if text.lower() in WORDS:
        return WORDS[text.lower()]
    if len(text) > MAX_LENGTH:
        return text
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
        return unquote(text)
    return value if _is_plain(value) else text


def unquote(text: str) -> str:
    """Return ``text`` without the quotes around it."""
    if len(text) >= 2 and text[0] == text[-1] and text[0] in "'\"":
        return text[1:-1]
    return text


def _is_plain(value: Any) -> bool:
    """Tell whether ``value`` is made of the types that arguments have: no complex numbers, bytes or sets."""
    if isinstance(value, dict):
        return all(_is_plain(k) and _is_plain(v) for k, v in value.items())
    if isinstance(value, list | tuple):
        return all(_is_plain(v) for v in value)
    return isinstance(value, PLAIN)
