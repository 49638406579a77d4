"""HTML that escapes by itself: only what ``tag`` made is taken as it is, everything else is text."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

VOID: Final = frozenset({"br", "circle", "img", "input", "line", "link", "meta", "path", "polyline", "rect"})


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


EMPTY: Final = Markup("")

Content = str | int | float | None | Markup


def join(parts: Iterable[Content]) -> Markup:
    """Return the parts one after another, escaped where they are not markup; ``None`` is nothing."""
    return Markup(
        "".join(part if isinstance(part, Markup) else escape(str(part)) for part in parts if part is not None)
    )


def tag(name: str, /, *content: Content, **attributes: str | float | bool | None) -> Markup:
    """Return an element.

    Args:
        name: of the element.
        *content: what is inside.
        **attributes: ``class_`` stands for ``class``, ``data_x`` for ``data-x``; ``None`` and ``False`` are left out,
            ``True`` is an attribute without a value.
    """
    words = [name]
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        attribute = key.rstrip("_").replace("_", "-")
        words.append(attribute if value is True else f'{attribute}="{escape(str(value))}"')
    inside = " ".join(words)
    return Markup(f"<{inside}/>" if name in VOID else f"<{inside}>{join(content)}</{name}>")
