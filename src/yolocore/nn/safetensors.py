"""Reads and writes ``.safetensors`` files: a length, a JSON table, then the raw numbers. Nothing in it can run.

The format (safetensors README, "Format"): 8 bytes little-endian header length N, N bytes of JSON
``{name: {dtype, shape, data_offsets: [begin, end]}}``, then the buffer the offsets count in.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from yolocore.errors import CheckpointError, MissingFileError
from yolocore.nn.container import to_tensor

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_HEADER_BYTES = 100_000_000
_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


def read_safetensors(path: str | Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Return the tensors by name, in the order of their bytes, and the text metadata.

    Raises:
        MissingFileError: There is no such file.
        CheckpointError: The file is damaged or not of this format.
    """
    path = Path(path)
    if path.exists() and not path.is_file():
        raise CheckpointError(f"{path}: is no regular file")
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise MissingFileError(f"{path}: no such weights file") from error
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error})") from error
    try:
        length = int.from_bytes(data[:8], "little")
        if len(data) < 8 or length > min(MAX_HEADER_BYTES, len(data) - 8):
            raise CheckpointError("cut short or not a safetensors file")
        table = json.loads(data[8 : 8 + length])
        metadata = table.pop("__metadata__", None) or {}
        body = memoryview(data)[8 + length :]
        entries = sorted(table.items(), key=lambda item: tuple(item[1]["data_offsets"]))
        _refuse_overlaps(entries)
        return {name: _tensor(name, entry, body) for name, entry in entries}, metadata
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        raise CheckpointError(f"{path}: the table of tensors is damaged ({error})") from error


def write_safetensors(path: str | Path, tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str]) -> Path:
    """Write ``tensors`` in their order, with text ``metadata``; the numbers start at a multiple of 8 bytes.

    Raises:
        CheckpointError: A tensor has a type that the format does not know.
        OSError: The file could not be written.
    """
    names = {dtype: name for name, dtype in _DTYPES.items()}
    table: dict[str, Any] = {"__metadata__": {"format": "pt", **metadata}}
    offset = 0
    for name, tensor in tensors.items():
        if tensor.dtype not in names:
            raise CheckpointError(f"tensor '{name}' is {tensor.dtype}, which safetensors cannot hold")
        end = offset + tensor.numel() * tensor.element_size()
        table[name] = {"dtype": names[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [offset, end]}
        offset = end
    header = json.dumps(table, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    with Path(path).open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        for tensor in tensors.values():
            if tensor.numel():
                flat = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
                file.write(flat.numpy().data)
    return Path(path)


def _refuse_overlaps(entries: list[tuple[str, Any]]) -> None:
    """Refuse two names for the same bytes: a small file could ask for any amount of memory so."""
    reached = 0
    for name, entry in entries:
        begin, end = entry["data_offsets"]
        if begin < reached:
            raise CheckpointError(f"refused: tensor '{name}' shares bytes with another one")
        reached = max(reached, end)


def _tensor(name: str, entry: dict[str, Any], body: memoryview) -> torch.Tensor:
    dtype = _DTYPES.get(entry["dtype"])
    if dtype is None:
        raise CheckpointError(f"tensor '{name}' has type {entry['dtype']!r}, known: {', '.join(_DTYPES)}")
    begin, end = entry["data_offsets"]
    shape = [int(n) for n in entry["shape"]]
    if (
        min(shape, default=0) < 0
        or not 0 <= begin <= end <= len(body)
        or end - begin != math.prod(shape) * dtype.itemsize
    ):
        raise CheckpointError(f"tensor '{name}' of shape {shape} does not fit its bytes {begin}..{end} of {len(body)}")
    return to_tensor(bytes(body[begin:end]), dtype).reshape(shape)
