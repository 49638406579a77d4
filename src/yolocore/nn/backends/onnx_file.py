"""What an ``.onnx`` file says about itself, read without a runtime, and what all its runtimes share.

An ONNX file is one protocol buffer, a ``ModelProto``: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto names the
fields, https://protobuf.dev/programming-guides/encoding the bytes. Only the few fields below are looked at; the weights
are stepped over, not read.
"""

from __future__ import annotations

import mmap
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from yolocore.errors import CheckpointError, MissingFileError
from yolocore.nn.backends.base import Backend
from yolocore.nn.backends.metadata import ArtefactInfo, decode

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch

Buffer = mmap.mmap | bytes
VARINT, EIGHT_BYTES, LENGTH, FOUR_BYTES = 0, 1, 2, 5  # wire types
MODEL_GRAPH, MODEL_METADATA = 7, 14
ENTRY_KEY, ENTRY_VALUE = 1, 2
GRAPH_INITIALIZER, GRAPH_INPUT, GRAPH_OUTPUT = 5, 11, 12
TENSOR_NAME = 8
VALUE_NAME, VALUE_TYPE = 1, 2
TYPE_TENSOR, TENSOR_SHAPE, SHAPE_DIM, DIM_VALUE = 1, 2, 1, 1


@dataclass(frozen=True)
class OnnxHeader:
    """Metadata, input and outputs of an ``.onnx`` file.

    Attributes:
        info: The metadata.
        shape: Sides of the first input; None where a side is free.
        outputs: Names of the outputs.
    """

    info: ArtefactInfo
    shape: tuple[int | None, ...]
    outputs: tuple[str, ...]


class OnnxFileBackend(Backend):
    """A network in an ``.onnx`` file, whichever runtime computes it.

    Args:
        path: The file.
        device: Where input and output live.

    Attributes:
        path: The file.
        outputs: Names of the outputs.

    Raises:
        MissingFileError: There is no such file.
        CheckpointError: It is not an ONNX file.
    """

    def __init__(self, path: str | Path, device: torch.device) -> None:
        self.path = Path(path)
        header = read_header(self.path)
        super().__init__(device, header.info)
        self.outputs = header.outputs
        self.fixed_batch, _, height, width = header.shape if len(header.shape) == 4 else (None,) * 4
        self.dynamic = height is None or width is None
        self.imgsz = header.info.imgsz if height is None or width is None else (height, width)


def read_header(path: str | Path) -> OnnxHeader:
    """Return what the file says about itself.

    Raises:
        MissingFileError: There is no such file.
        CheckpointError: It is not an ONNX file.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingFileError(f"{path}: no such file")
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _header(data)
    except (ValueError, IndexError) as error:  # an empty file cannot be mapped: ValueError
        raise CheckpointError(f"{path}: not a readable ONNX file ({error})") from error


def _header(data: Buffer) -> OnnxHeader:
    texts: dict[str, str] = {}
    weights: set[str] = set()
    inputs: list[tuple[str, tuple[int | None, ...]]] = []
    outputs: list[str] = []
    for field, where in _messages(data, slice(0, len(data))):
        if field == MODEL_METADATA:
            entry = dict(_messages(data, where))
            texts[_text(data, entry.get(ENTRY_KEY))] = _text(data, entry.get(ENTRY_VALUE))
        for inner, place in _messages(data, where) if field == MODEL_GRAPH else ():
            if inner == GRAPH_INITIALIZER:
                weights.add(_text(data, dict(_messages(data, place)).get(TENSOR_NAME)))
            elif inner in (GRAPH_INPUT, GRAPH_OUTPUT):
                value = dict(_messages(data, place))
                name = _text(data, value.get(VALUE_NAME))
                if inner == GRAPH_OUTPUT:
                    outputs.append(name)
                else:
                    inputs.append((name, _shape(data, value.get(VALUE_TYPE))))
    shape = next((sides for name, sides in inputs if name not in weights), None)  # old files list weights too
    if shape is None or not outputs:
        raise ValueError("it has no graph with an input and an output")
    return OnnxHeader(decode(texts), shape, tuple(outputs))


def _shape(data: Buffer, where: slice | None) -> tuple[int | None, ...]:
    for field in (TYPE_TENSOR, TENSOR_SHAPE):
        where = None if where is None else dict(_messages(data, where)).get(field)
    sides = [] if where is None else [place for field, place in _messages(data, where) if field == SHAPE_DIM]
    return tuple(_side(data, place) for place in sides)


def _side(data: Buffer, where: slice) -> int | None:
    sizes = (value for field, value in _fields(data, where) if field == DIM_VALUE and isinstance(value, int))
    return next((size for size in sizes if 0 < size < 1 << 31), None)  # some writers free a side with 0 or -1


def _text(data: Buffer, where: slice | None) -> str:
    return "" if where is None else data[where].decode()


def _messages(data: Buffer, where: slice) -> Iterator[tuple[int, slice]]:
    """Yield number and place of the fields that are texts or messages."""
    return ((field, value) for field, value in _fields(data, where) if isinstance(value, slice))


def _fields(data: Buffer, where: slice) -> Iterator[tuple[int, int | slice]]:
    """Yield (number, value) of every field of the message at ``where``: an integer, or the place of its bytes.

    Raises:
        ValueError: The bytes are no message.
    """
    at, end = where.start, where.stop
    while at < end:
        key, at = _varint(data, at)
        field, kind = key >> 3, key & 7
        if kind == VARINT:
            value, at = _varint(data, at)
            yield field, value
            continue
        if kind == LENGTH:
            size, at = _varint(data, at)
        elif kind in (EIGHT_BYTES, FOUR_BYTES):
            size = 8 if kind == EIGHT_BYTES else 4
        else:
            raise ValueError(f"byte {at} begins no field")
        if at + size > end:
            raise ValueError(f"a field at byte {at} is longer than what holds it")
        yield field, slice(at, at + size)
        at += size


def _varint(data: Buffer, at: int) -> tuple[int, int]:
    """Return the integer at ``at``, seven bits a byte, lowest first, and where it ends."""
    value = 0
    for shift in range(0, 70, 7):
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    raise ValueError(f"the number before byte {at} has no end")
