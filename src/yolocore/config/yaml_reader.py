"""Reading YAML that strangers wrote: no Python tags, alias bombs or duplicate keys; errors with positions."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import yaml

from yolocore.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

MAX_BYTES = 32 * 2**20
MAX_EXPANDED_NODES = 100_000
MAX_DEPTH = 60

_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, slots=True)
class YamlDocument:
    """A mapping read from a file, with the line on which each top-level key stands."""

    path: Path
    values: dict[str, Any]
    lines: dict[str, int] = field(default_factory=dict)

    def where(self, key: str) -> str:
        """Return ``file:line`` of a top-level ``key``, or the file alone when the key is absent."""
        return f"{self.path}:{self.lines[key]}" if key in self.lines else str(self.path)


def read_yaml_mapping(path: Path) -> YamlDocument:
    """Read a YAML file whose content is one mapping with text keys.

    Raises:
        DataError: the file cannot be read as UTF-8, has a syntax error, is empty, is not a mapping, repeats a
            key, asks for a Python object, or grows out of proportion through aliases. The message starts with
            ``file:line:column`` where the parser gives one.
    """
    text = _read_text(path)
    try:
        return _parse(path, text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{path}:{mark.line + 1}:{mark.column + 1}" if mark else str(path)
        detail = " ".join(part for part in (error.context, error.problem) if part)
        raise DataError(f"{place}: not valid YAML: {detail}{_hint(detail, text, mark)}") from error
    except yaml.YAMLError as error:
        raise DataError(f"{path}: not valid YAML: {error}") from error
    except RecursionError as error:
        raise DataError(f"{path}: the YAML is nested too deeply") from error


def _read_text(path: Path) -> str:
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise DataError(f"{path}: {size} bytes; a description is at most {MAX_BYTES} bytes. Is this the right file?")
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: byte {error.start} is not UTF-8 text. Save the file as UTF-8.") from error


def _parse(path: Path, text: str) -> YamlDocument:
    _check_depth(path, text)
    loader = _Base(text)
    try:
        node = loader.get_single_node()
        if node is None:
            raise DataError(f"{path}:1:1: the file is empty; expected a mapping such as 'names: [cat, dog]'")
        if not isinstance(node, yaml.MappingNode):
            kind = "a list" if isinstance(node, yaml.SequenceNode) else f"the text {node.value[:40]!r}"
            raise DataError(f"{_place(path, node)}: found {kind}; expected a mapping such as 'names: [cat, dog]'")
        _check_expansion(path, node)
        _check_keys(path, node)
        values = loader.construct_document(node)
    finally:
        loader.dispose()
    lines = {str(key.value): key.start_mark.line + 1 for key, _ in node.value}
    return YamlDocument(path, {str(key): value for key, value in values.items()}, lines)


def _check_depth(path: Path, text: str) -> None:
    depth = 0
    for event in yaml.parse(text, Loader=_Base):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                raise DataError(f"{_place(path, event)}: the YAML is nested deeper than {MAX_DEPTH} levels")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _check_expansion(path: Path, root: Any) -> None:
    """Refuse documents whose aliases, written out, are out of proportion or contain themselves."""
    sizes: dict[int, int] = {}
    open_nodes: set[int] = set()

    def size(node: Any) -> int:
        key = id(node)
        if key in sizes:
            return sizes[key]
        if key in open_nodes:
            raise DataError(f"{_place(path, node)}: an alias contains itself")
        open_nodes.add(key)
        total = 1 + sum(size(child) for child in _children(node))
        open_nodes.discard(key)
        sizes[key] = total
        return total

    expanded = size(root)
    if expanded > max(MAX_EXPANDED_NODES, 4 * len(sizes)):
        raise DataError(f"{path}: aliases expand {len(sizes)} values to {expanded}; refused")


def _check_keys(path: Path, root: Any) -> None:
    stack, seen_nodes = [root], set()
    while stack:
        node = stack.pop()
        if id(node) in seen_nodes:
            continue
        seen_nodes.add(id(node))
        stack.extend(_children(node))
        if isinstance(node, yaml.MappingNode):
            _check_mapping_keys(path, node)


def _check_mapping_keys(path: Path, node: Any) -> None:
    seen: dict[tuple[str, str], int] = {}
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise DataError(f"{_place(path, key)}: a key must be a text or a number")
        identity = (key.tag, key.value)
        if identity in seen:
            raise DataError(
                f"{_place(path, key)}: key {key.value!r} was already given in line {seen[identity]}; keep one"
            )
        seen[identity] = key.start_mark.line + 1


def _children(node: Any) -> list[Any]:
    if isinstance(node, yaml.MappingNode):
        return [child for pair in node.value for child in pair]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


def _place(path: Path, node: Any) -> str:
    return f"{path}:{node.start_mark.line + 1}:{node.start_mark.column + 1}"


def _hint(detail: str, text: str, mark: Any) -> str:
    if "python/" in detail:
        return ". Python objects are never built from a YAML file; use plain values"
    line = text.splitlines()[mark.line] if mark and mark.line < len(text.splitlines()) else ""
    if "\t" in line[: len(line) - len(line.lstrip())]:
        return ". YAML is indented with spaces, not tabs"
    return ""
