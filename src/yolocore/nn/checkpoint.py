"""Weights files: read any of them safely, write yolocore's own durably.

Example:
    >>> checkpoint = read_checkpoint("best.pt")  # doctest: +SKIP
    >>> model = build_model(checkpoint, DetectionModel)  # doctest: +SKIP
"""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from yolocore._version import __version__
from yolocore.errors import CheckpointError, ModelError
from yolocore.nn.container import Contents, open_container
from yolocore.nn.durable import free_bytes, remove_stale, write_durably
from yolocore.nn.native import FORMAT, parse_native, prepare
from yolocore.nn.official import holds_network, parse_official
from yolocore.nn.plain import state_dict_checkpoint
from yolocore.nn.recognise import the_match
from yolocore.nn.record import Checkpoint, class_names
from yolocore.nn.safetensors import read_safetensors

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "Checkpoint",
    "build_model",
    "native_payload",
    "newest_valid",
    "previous_path",
    "read_checkpoint",
    "strip_training",
    "write_checkpoint",
]
LOGGER = logging.getLogger(__name__)
LICENSE = "Apache-2.0 (the format; the weights carry the licence of who trained them)"


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Read a ``.pt`` of yolocore or of the ecosystem, a plain state dict, or a ``.safetensors`` file.

    No class is imported and no code of the file runs. Tensors are on the CPU, floating ones float32.

    Raises:
        MissingFileError: There is no such file.
        CheckpointError: Empty, cut short, damaged (the tensor is named), foreign, or asking for code (named).
    """
    path = Path(path)
    tensors, metadata = read_safetensors(path) if path.suffix.lower() == ".safetensors" else (None, {})
    contents = open_container(path) if tensors is None else Contents(tensors, "safetensors")
    try:
        return (
            _interpret(contents, path) if tensors is None else state_dict_checkpoint(contents, tensors, path, metadata)
        )
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
    except (
        TypeError,
        ValueError,
        KeyError,
        AttributeError,
        IndexError,
        OverflowError,
        RecursionError,
    ) as error:
        raise CheckpointError(f"{path}: not understood ({type(error).__name__}: {error})") from error


def write_checkpoint(path: str | Path, payload: Mapping[str, Any], *, keep_previous: bool | None = None) -> Path:
    """Write yolocore's own checkpoint: complete under its name, or not at all.

    It goes to a temporary file in the same folder, is forced to disk and renamed. The file it replaces stays
    as ``<stem>.prev.pt``, so that two are on disk. Temporaries of writers that died are removed.

    Args:
        path: Where to, e.g. ``weights/last.pt``.
        payload: The keys of ``native_payload``; nested dict, list, tuple, tensor and plain scalars.
        keep_previous: Keep the file that is replaced; by default when a training can go on from ``payload``.

    Returns:
        ``path``.

    Raises:
        CheckpointError: A value cannot be stored (its key path is named), a weight is not finite, or the disk
            is full or read-only (path and free bytes are named). The file that was there is intact.
    """
    path = Path(path)
    try:
        clean = prepare(payload)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
    keep = clean.get("training") is not None if keep_previous is None else keep_previous
    try:
        return write_durably(path, _saver(clean), previous=previous_path(path) if keep else None)
    except (OSError, RuntimeError) as error:  # torch turns a failed write into RuntimeError
        raise CheckpointError(
            f"{path}: could not be written ({error}); {free_bytes(path)} bytes are free there. A file of that"
            " name is as it was. Free some space, or choose another folder with project=..."
        ) from error


def previous_path(path: str | Path) -> Path:
    """Return where the predecessor of a checkpoint is kept: ``last.pt`` → ``last.prev.pt``."""
    path = Path(path)
    return path.with_name(f"{path.stem}.prev{path.suffix}")


def newest_valid(where: str | Path, *, resumable: bool = False) -> Path | None:
    """Return the newest checkpoint that reads without error, or None; each damaged one costs a warning.

    Args:
        where: A folder (every ``*.pt`` in it counts), or one checkpoint file (it and its predecessor count).
        resumable: Accept only those a training can go on from.
    """
    where = Path(where)
    folder = where if where.is_dir() else where.parent
    if not folder.is_dir():
        return None
    candidates = list(folder.glob("*.pt")) if where.is_dir() else [where, previous_path(where)]
    found = [(p.stat().st_mtime_ns, p.name == "last.pt", p) for p in candidates if p.is_file()]
    for _, _, path in sorted(found, reverse=True):
        try:
            checkpoint = read_checkpoint(path)
        except CheckpointError as error:
            LOGGER.warning("skipped a damaged checkpoint: %s", error)
            continue
        if checkpoint.resumable or not resumable:
            return path
    return None


def strip_training(path: str | Path) -> Path:
    """Remove what only a resumed training needs from a finished run's checkpoint, and its predecessor file.

    Raises:
        CheckpointError: It is not a checkpoint of yolocore, or cannot be written.
    """
    path = Path(path)
    contents = open_container(path)
    if not _is_native(contents.tree):
        raise CheckpointError(f"{path}: not a checkpoint written by yolocore, nothing to strip")
    try:
        parse_native(contents, path)  # never pass damaged weights on under fresh checksums
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
    write_checkpoint(path, {**contents.tree, "training": None}, keep_previous=False)
    previous_path(path).unlink(missing_ok=True)
    remove_stale(path.parent)
    return path


def native_payload(
    model: nn.Module,
    args: Mapping[str, Any] | None = None,
    *,
    training: Mapping[str, Any] | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the payload of ``write_checkpoint`` that describes ``model`` (the EMA during training).

    Args:
        model: Has ``task``, ``names``, ``nc``, ``stride``, ``yaml``; floating weights are stored as float32.
        args: Arguments of the training, flat.
        training: What resuming needs.
        metadata: Added to date, version and licence; ``epoch`` is read back as ``Checkpoint.epoch``.
    """
    norms = {n: (m.eps, m.momentum) for n, m in model.named_modules() if isinstance(m, nn.BatchNorm2d)}
    attributes: Any = model
    return {
        "task": attributes.task,
        "names": dict(attributes.names),
        "nc": int(attributes.nc),
        "stride": [float(s) for s in torch.as_tensor(attributes.stride).flatten()],
        "yaml": attributes.yaml,
        "args": dict(args or {}),
        "model": {k: v.float() if v.is_floating_point() else v for k, v in model.state_dict().items()},
        "batch_norm": {name: (float(eps), float(momentum or 0.0)) for name, (eps, momentum) in norms.items()},
        "training": training,
        "metadata": {
            "date": dt.datetime.now(tz=dt.UTC).isoformat(timespec="seconds"),
            "version": __version__,
            "license": getattr(model, "license", None) or LICENSE,
            **(metadata or {}),
        },
    }


def build_model(checkpoint: Checkpoint, model_class: Callable[..., Any], **options: Any) -> Any:
    """Build the network a checkpoint describes and load its weights strictly (float32, CPU, eval mode).

    Args:
        checkpoint: From ``read_checkpoint``; needs a network description.
        model_class: Called as ``model_class(yaml, ch=..., nc=..., verbose=False, **options)``.
        **options: Further arguments of the class, e.g. ``registry``.

    Raises:
        CheckpointError: No description in the file, or names or shapes of the weights do not agree with it.
    """
    # a bare state dict that no packaged network, or more than one, has raises here
    yaml = checkpoint.yaml or the_match(checkpoint.state_dict, str(checkpoint.path)).yaml
    channels = int(yaml.get("channels") or yaml.get("ch") or 3)
    try:
        model: Any = model_class(yaml, ch=channels, nc=checkpoint.nc, verbose=False, **options)
    except ModelError as error:
        raise CheckpointError(f"{checkpoint.path}: the network description cannot be built: {error}") from error
    _set_batch_norm(model, checkpoint)
    if checkpoint.fused:
        model.fuse()
    _load_strictly(model, checkpoint)
    model.names = class_names(checkpoint.names, checkpoint.nc)
    model.license = checkpoint.metadata.get("license")
    if checkpoint.stride and getattr(model, "stride", None) is not None:
        model.stride = torch.tensor(checkpoint.stride)
    return model.eval()


def _interpret(contents: Contents, path: Path) -> Checkpoint:
    tree = contents.tree
    if _is_native(tree):
        return parse_native(contents, path)
    if holds_network(tree):
        return parse_official(contents, path)
    if isinstance(tree, Mapping):
        for tensors in (tree, tree.get("state_dict"), tree.get("model")):
            if isinstance(tensors, Mapping) and tensors and all(isinstance(v, torch.Tensor) for v in tensors.values()):
                return state_dict_checkpoint(contents, dict(tensors), path, {})
    what = f"a dict with the keys {sorted(map(str, tree))[:8]}" if isinstance(tree, Mapping) else type(tree).__name__
    raise CheckpointError(f"holds {what}; expected a checkpoint, or a state dict of tensors by name")


def _is_native(tree: Any) -> bool:
    return isinstance(tree, Mapping) and tree.get("format") == FORMAT


def _saver(payload: dict[str, Any]) -> Callable[[Path], None]:
    def save(temporary: Path) -> None:
        with temporary.open("xb") as file:
            torch.save(payload, file)
            file.flush()

    return save


def _set_batch_norm(model: nn.Module, checkpoint: Checkpoint) -> None:
    for name, module in model.named_modules():
        if isinstance(module, nn.BatchNorm2d) and name in checkpoint.batch_norm:
            module.eps, module.momentum = checkpoint.batch_norm[name]


def _load_strictly(model: nn.Module, checkpoint: Checkpoint) -> None:
    expected, given = model.state_dict(), checkpoint.state_dict
    problems = [f"lacks {k}" for k in expected if k not in given]
    problems += [f"has unknown {k}" for k in given if k not in expected]
    problems += [
        f"{k} is {tuple(given[k].shape)}, expected {tuple(expected[k].shape)}"
        for k in expected
        if k in given and given[k].shape != expected[k].shape
    ]
    if problems:
        raise CheckpointError(
            f"{checkpoint.path}: the weights do not fit the network described beside them"
            f" ({len(problems)} differences): {'; '.join(problems[:5])}"
        )
    model.load_state_dict(given, strict=True)
