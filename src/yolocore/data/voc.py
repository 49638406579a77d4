"""Pascal VOC annotation files: one XML file an image, its objects as rows of a label file."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from xml.parsers import expat

from yolocore.data.images import ImageFault

if TYPE_CHECKING:
    from collections.abc import Mapping

UNREADABLE = "annotation file cannot be read as XML"
CORNERS = ("xmin", "ymin", "xmax", "ymax")
SIZES = ("width", "height")
DEEPEST = 32  # elements within one another
LONGEST = 1000  # characters of a text that is read
_OBJECT = ("annotation", "object")
_WANTED = frozenset(
    {
        *(("annotation", "size", size) for size in SIZES),
        *((*_OBJECT, key) for key in ("name", "difficult")),
        *((*_OBJECT, "bndbox", corner) for corner in CORNERS),
    }
)


@dataclass(slots=True)
class VocObject:
    """One object: the line it begins on, and the texts of its elements: name, difficult, xmin ... ymax."""

    line: int
    texts: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class VocFile:
    """A parsed file: texts of width and height, and the objects."""

    size: dict[str, str] = field(default_factory=dict)
    objects: list[VocObject] = field(default_factory=list)


class _Handler:
    """Collects what the parser meets; parts of an object (``<part>``) are not objects."""

    def __init__(self, parser: expat.XMLParserType) -> None:
        self.file = VocFile()
        self.path: tuple[str, ...] = ()
        self.parser = parser
        parser.StartElementHandler = self.start
        parser.EndElementHandler = self.end
        parser.CharacterDataHandler = self.text
        parser.EntityDeclHandler = self.entity

    def start(self, name: str, attributes: Mapping[str, str]) -> None:
        del attributes
        if not self.path and name != _OBJECT[0]:
            raise ValueError(f"it begins with <{name[:40]}>; expected <annotation>")
        if len(self.path) == DEEPEST:
            raise ValueError(f"more than {DEEPEST} elements within one another")
        self.path = (*self.path, name)
        if self.path == _OBJECT:
            self.file.objects.append(VocObject(self.parser.CurrentLineNumber))

    def end(self, name: str) -> None:
        del name
        self.path = self.path[:-1]

    def text(self, text: str) -> None:
        if self.path in _WANTED:
            texts = self.file.objects[-1].texts if self.path[1] == "object" else self.file.size
            whole = texts[self.path[-1]] = texts.get(self.path[-1], "") + text
            if len(whole) > LONGEST:
                raise ValueError(f"<{self.path[-1]}> holds more than {LONGEST} characters")

    def entity(self, *declaration: object) -> None:
        del declaration
        raise ValueError("it declares entities, which an annotation does not need")


def parse_voc(data: bytes, path: str) -> VocFile:
    """Read an annotation file; ``path`` is for messages. Entities are refused, nothing is fetched.

    Raises:
        ImageFault: not XML (with line and column), or not an annotation.
    """
    parser = expat.ParserCreate()
    handler = _Handler(parser)
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        where = f"line {error.lineno}, column {error.offset + 1}: {expat.ErrorString(error.code)}"
        raise ImageFault(path, UNREADABLE, where) from error
    except (ValueError, LookupError) as error:
        raise ImageFault(path, UNREADABLE, str(error)) from error
    return handler.file


def number(text: str | None) -> float | None:
    """Return the finite number that ``text`` is, else ``None``."""
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) else None
