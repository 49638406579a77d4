"""What a weights file is, in plain values, and the way from any of them to yolocore's own form."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from yolocore.errors import CheckpointError
from yolocore.nn.checkpoint import build_model, native_payload, write_checkpoint
from yolocore.nn.parse import load_model_yaml, packaged_models
from yolocore.utils.downloads import sha256_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import nn

    from yolocore.nn.record import Checkpoint

_NOT_PARAMETERS = ("running_mean", "running_var", "num_batches_tracked")
SHARED = ("backbone", "head", "reg_max", "end2end")


def checkpoint_facts(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return what ``yolo checkpoint info`` tells: plain values, the same keys for every kind of file.

    Keys: ``file``, ``bytes``, ``sha256``, ``kind`` (native, official or state_dict), ``family`` (such as ``yolo11``,
    or None), ``scale``, ``task``, ``nc``, ``names``, ``kpt_shape``, ``imgsz`` (pixels), ``stride`` (pixels),
    ``parameters``, ``tensors``, ``dtype`` (as stored), ``fused``, ``averaged`` (the weights are a training's moving
    average), ``epoch`` (zero-based, or None), ``resumable``, ``license``, ``date``, ``version``, ``metrics`` and
    ``train_args``.
    """
    yaml, meta = checkpoint.yaml or {}, checkpoint.metadata
    path = Path(checkpoint.path)
    weights = {k: v for k, v in checkpoint.state_dict.items() if not k.endswith(_NOT_PARAMETERS)}
    return {
        "file": str(path),
        "bytes": path.stat().st_size,
        "sha256": sha256_of(path),
        "kind": checkpoint.kind,
        "family": family(yaml),
        "scale": yaml.get("scale") or None,
        "task": checkpoint.task,
        "nc": checkpoint.nc,
        "names": checkpoint.names,
        "kpt_shape": checkpoint.kpt_shape,
        "imgsz": checkpoint.imgsz,
        "stride": list(checkpoint.stride),
        "parameters": sum(tensor.numel() for tensor in weights.values()),
        "tensors": len(checkpoint.state_dict),
        "dtype": checkpoint.dtype,
        "fused": checkpoint.fused,
        "averaged": checkpoint.averaged,
        "epoch": checkpoint.epoch if checkpoint.epoch >= 0 else None,
        "resumable": checkpoint.resumable,
        "license": meta.get("license"),
        "date": meta.get("date"),
        "version": meta.get("version"),
        "metrics": meta.get("metrics") or meta.get("train_metrics") or {},
        "train_args": checkpoint.train_args,
    }


def family(yaml: Mapping[str, Any]) -> str | None:
    """Return the packaged model file whose layers ``yaml`` has, such as ``yolo11-seg``; None for a network of its own.

    A family that shares its layers with another one is told apart by the name in ``yaml_file``.
    """
    if not yaml:
        return None
    found = []
    for name in packaged_models():
        content = load_model_yaml(name)
        if all(_comparable(content.get(key)) == _comparable(yaml.get(key)) for key in SHARED):
            found.append(name.removesuffix(".yaml"))
    named = Path(str(yaml.get("yaml_file") or "").replace("\\", "/")).stem
    return next((name for name in found if named.startswith(name.partition("-")[0])), found[0] if found else None)


def _comparable(value: Any) -> Any:
    """Return a value as it is compared: rows as lists, texts that stand for nothing as None."""
    if isinstance(value, (list, tuple)):
        return [_comparable(part) for part in value]
    return None if value in ("None", False) else value


def convert(checkpoint: Checkpoint, target: str | Path, model_class: Callable[..., nn.Module], **options: Any) -> Path:
    """Write ``checkpoint`` in yolocore's own form; licence, arguments and what resuming needs go along.

    Args:
        checkpoint: from ``read_checkpoint``, with a network description.
        target: a ``.pt`` that does not exist.
        model_class: of its task.
        **options: further arguments of the class, e.g. ``registry``.

    Returns:
        ``target``.

    Raises:
        CheckpointError: ``target`` exists or has another ending, or the weights do not fit their description.
    """
    target = Path(target)
    if target.suffix != ".pt":
        raise CheckpointError(f"{target}: yolocore's own checkpoints end in .pt")
    if target.exists():
        raise CheckpointError(f"{target}: exists and is left as it is; name another file")
    network = build_model(checkpoint, model_class, **options)
    origin: dict[str, Any] = {
        key: checkpoint.metadata[key] for key in ("date", "version") if key in checkpoint.metadata
    }
    known = {key: value for key, value in checkpoint.metadata.items() if key not in origin}
    source: dict[str, Any] = {"file": checkpoint.path.name, "sha256": sha256_of(checkpoint.path), **origin}
    metadata: dict[str, Any] = {**known, "converted_from": source}
    if checkpoint.epoch >= 0:
        metadata["epoch"] = checkpoint.epoch
    if not metadata.get("license"):
        metadata["license"] = "not stated by the file this was converted from"
    payload = native_payload(network, checkpoint.train_args, training=checkpoint.training, metadata=metadata)
    return write_checkpoint(target, payload, keep_previous=False)
