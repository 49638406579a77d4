"""The content of yolocore's own checkpoint: what may be in it, its checksums, and how it is understood.

Only tensors and plain types are stored, so ``torch.load(path, weights_only=True)`` reads it without yolocore.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch

from yolocore.errors import CheckpointError
from yolocore.nn.official import as_float32
from yolocore.nn.record import Checkpoint, class_names, image_size, is_fused, keypoint_shape, main_dtype

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from yolocore.nn.container import Contents

FORMAT = "yolocore"
VERSION = 1
MAX_DEPTH = 64
_DTYPES = frozenset(
    {torch.float32, torch.float16, torch.float64, torch.bfloat16, torch.int64, torch.int32, torch.int16}
    | {torch.int8, torch.uint8, torch.bool}
)
_SCALARS = frozenset({str, int, float, bool, type(None)})
_REQUIRED = ("task", "names", "nc", "yaml", "model")
_WEIGHTS = ("model", "ema")


def prepare(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``payload`` ready to be written: tensors detached, on the CPU and compact, checksums added.

    Raises:
        CheckpointError: A value that is neither plain nor a tensor (its key path is named), a required key is
            missing, or a weight is not finite.
    """
    missing = [key for key in _REQUIRED if key not in payload]
    if missing:
        raise CheckpointError(
            f"a checkpoint needs the keys {', '.join(missing)}; given: {', '.join(map(str, payload))}"
        )
    body = {k: v for k, v in payload.items() if k not in ("format", "version", "checksums")}
    clean: dict[str, Any] = _clean({"format": FORMAT, "version": VERSION, **body}, "", 0)
    _refuse_non_finite(clean)
    clean["checksums"] = {path: checksum(tensor) for path, tensor in tensors_in(clean)}
    return clean


def parse_native(contents: Contents, path: Path) -> Checkpoint:
    """Return the checkpoint in a tree that ``open_container`` read, after verifying every tensor.

    Raises:
        CheckpointError: Written by a newer yolocore, a key is missing, or a tensor is damaged (named).
    """
    tree = contents.tree
    version = tree.get("version")
    if type(version) is not int or not 1 <= version <= VERSION:
        raise CheckpointError(f"has format version {version!r}, this yolocore reads up to {VERSION}; update yolocore")
    missing = [key for key in _REQUIRED if key not in tree]
    if missing:
        raise CheckpointError(f"lacks the keys {', '.join(missing)}")
    _verify(contents)
    arguments = tree.get("args") or {}
    metadata = tree.get("metadata") or {}
    tensors = _mapping(tree["model"], "model")
    state_dict = as_float32(tensors, contents)
    return Checkpoint(
        path=path,
        kind="native",
        state_dict=state_dict,
        task=tree["task"],
        names=class_names(tree["names"], tree["nc"]),
        nc=tree["nc"],
        stride=tuple(float(s) for s in tree.get("stride") or ()),
        yaml=tree["yaml"],
        train_args=dict(_mapping(arguments, "args")),
        imgsz=image_size(arguments.get("imgsz")),
        epoch=int(metadata.get("epoch", -1)),
        training=tree.get("training"),
        metadata=dict(_mapping(metadata, "metadata")),
        fused=is_fused(state_dict),
        kpt_shape=keypoint_shape(tree["yaml"].get("kpt_shape")) if isinstance(tree["yaml"], dict) else None,
        batch_norm={k: (float(v[0]), float(v[1])) for k, v in (tree.get("batch_norm") or {}).items()},
        dtype=main_dtype(tensors),
        averaged="epoch" in metadata,  # a training writes the average
    )


def checksum(tensor: torch.Tensor) -> int:
    """Return a CRC-32 of the type, shape and bytes of a contiguous CPU tensor."""
    start = zlib.crc32(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
    if not tensor.numel():
        return start
    return zlib.crc32(tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().data, start)


def tensors_in(value: Any, path: str = "") -> Iterator[tuple[str, torch.Tensor]]:
    """Yield every tensor in nested containers with its path, e.g. ``training.optimizer.state.0.exp_avg``."""
    if isinstance(value, torch.Tensor):
        yield path, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from tensors_in(item, f"{path}.{key}" if path else str(key))
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from tensors_in(item, f"{path}.{index}")


def _clean(value: Any, path: str, depth: int) -> Any:
    if depth > MAX_DEPTH:
        raise CheckpointError(f"cannot store '{path}': nested deeper than {MAX_DEPTH} levels")
    if type(value) in _SCALARS:
        return value
    if isinstance(value, torch.Tensor):
        return _compact(value, path)
    if isinstance(value, Mapping):
        bad = next((k for k in value if type(k) not in (str, int)), None)
        if bad is not None:
            raise CheckpointError(f"cannot store the key {bad!r} of '{path}': keys are str or int")
        return {k: _clean(v, f"{path}.{k}" if path else str(k), depth + 1) for k, v in value.items()}
    if type(value) in (list, tuple):
        return type(value)(_clean(v, f"{path}.{i}", depth + 1) for i, v in enumerate(value))
    raise CheckpointError(
        f"cannot store '{path}': it is {type(value).__module__}.{type(value).__qualname__}. A checkpoint"
        " holds dict, list, tuple, tensor, str, int, float, bool and None only; convert the value first"
    )


def _compact(tensor: torch.Tensor, path: str) -> torch.Tensor:
    if tensor.dtype not in _DTYPES or tensor.layout != torch.strided or tensor.is_quantized:
        raise CheckpointError(f"cannot store '{path}': a {tensor.layout} tensor of {tensor.dtype}")
    dense = tensor.detach().resolve_conj().resolve_neg().cpu().contiguous()
    partial = dense.untyped_storage().nbytes() != dense.numel() * dense.element_size()
    return dense.clone() if partial else dense  # a view would take its whole storage along


def _refuse_non_finite(payload: Mapping[str, Any]) -> None:
    training = payload.get("training")
    parts = {"model": payload["model"]}
    if isinstance(training, Mapping):
        parts |= {f"training.{key}": training[key] for key in _WEIGHTS if key in training}
    for path, tensor in tensors_in(parts):
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise CheckpointError(
                f"not written: '{path}' holds NaN or infinite values. The training has diverged; go on from"
                " the previous checkpoint with a lower lr0 or amp=False"
            )


def _verify(contents: Contents) -> None:
    expected = contents.tree.get("checksums")
    if not isinstance(expected, Mapping):
        raise CheckpointError("lacks its checksums")
    found = dict(tensors_in({k: v for k, v in contents.tree.items() if k != "checksums"}))
    for path, tensor in found.items():
        if contents.is_damaged(tensor) or expected.get(path) != checksum(tensor):
            raise CheckpointError(
                f"the bytes of tensor '{path}' are damaged (checksum does not match);"
                " use the previous checkpoint or a copy"
            )
    lost = [path for path in expected if path not in found]
    if lost:
        raise CheckpointError(f"the tensor '{lost[0]}' is missing ({len(lost)} in all)")


def _mapping(value: Any, key: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise CheckpointError(f"'{key}' is {type(value).__name__}, expected a dict")
    return value
