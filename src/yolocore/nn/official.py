"""Interprets the ecosystem's ``.pt``: a network object among plain values, read as inert stubs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from yolocore.errors import CheckpointError
from yolocore.nn.record import Checkpoint, class_names, image_size, is_fused, keypoint_shape, main_dtype
from yolocore.nn.unpickle import NETWORKS, Stub

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from yolocore.nn.container import Contents

MAX_DEPTH = 64
MAX_NODES = 200_000
_METADATA = ("date", "version", "license", "docs", "git", "best_fitness", "train_metrics", "train_results")
_DROP = object()


def parse_official(contents: Contents, path: Path) -> Checkpoint:
    """Return the checkpoint in a tree that ``open_container`` read.

    The EMA network is taken when there is one, else the model; float16 becomes float32.

    Raises:
        CheckpointError: No network in it, a tensor is damaged, or a part is not what it should be.
    """
    tree = contents.tree
    network = _network(tree)
    attributes = _state(network, "the network")
    modules = list(_walk(network))
    tensors = _tensors(modules)
    state_dict = as_float32(tensors, contents)
    yaml = plain(attributes.get("yaml"))
    if not isinstance(yaml, dict):
        raise CheckpointError("the network carries no description ('yaml')")
    train_args = _arguments(tree, attributes)
    nc = yaml.get("nc", attributes.get("nc"))
    if type(nc) is not int or nc < 1:
        raise CheckpointError(f"the number of classes is {nc!r}")
    return Checkpoint(
        path=path,
        kind="official",
        state_dict=state_dict,
        task=NETWORKS[network.kind],
        names=class_names(plain(attributes.get("names")), nc),
        nc=nc,
        stride=_stride(attributes.get("stride")),
        yaml=yaml,
        train_args=train_args,
        imgsz=image_size(train_args.get("imgsz")),
        epoch=tree["epoch"] if type(tree.get("epoch")) is int else -1,
        metadata={k: v for k in _METADATA if (v := plain(tree.get(k))) is not None},
        fused=is_fused(state_dict),
        kpt_shape=keypoint_shape(plain(attributes.get("kpt_shape")) or yaml.get("kpt_shape")),
        batch_norm=dict(_batch_norms(modules)),
        dtype=main_dtype(tensors),
        averaged=tree.get("ema") is not None or tree.get("epoch") == -1,  # a finished run keeps the average only
    )


def holds_network(tree: Any) -> bool:
    """Whether ``tree`` is a dict with a foreign object under ``ema`` or ``model``."""
    return isinstance(tree, dict) and any(isinstance(tree.get(key), Stub) for key in ("ema", "model"))


def plain(value: Any) -> Any:
    """Return ``value`` with namespaces as dicts and paths as strings; other objects are left out (None).

    Raises:
        CheckpointError: It is nested too deeply or, written out, too large.
    """
    result = _Plain().convert(value, 0)
    return None if result is _DROP else result


class _Plain:
    """One conversion with its budget: a few shared lists could otherwise expand without end."""

    def __init__(self) -> None:
        self._left = MAX_NODES

    def convert(self, value: Any, depth: int) -> Any:
        self._left -= 1
        if depth > MAX_DEPTH or self._left < 0:
            raise CheckpointError(f"a value has more than {MAX_DEPTH} levels or {MAX_NODES} parts")
        if value is None or type(value) in (bool, int, float, str):
            return value
        if isinstance(value, dict):
            items = ((k, self.convert(v, depth + 1)) for k, v in value.items() if type(k) in (str, int))
            return {k: v for k, v in items if v is not _DROP}
        if isinstance(value, (list, tuple, set)):
            parts = [p for p in (self.convert(v, depth + 1) for v in value) if p is not _DROP]
            return tuple(parts) if isinstance(value, tuple) else parts
        if isinstance(value, torch.Tensor) and value.numel() == 1:
            return value.item()
        return self._object(value, depth)

    def _object(self, value: Any, depth: int) -> Any:
        if isinstance(value, Stub) and value.source == "pathlib":
            return "/".join(str(part) for part in value.arguments).replace("//", "/", 1)
        if isinstance(value, Stub) and value.kind == "IterableSimpleNamespace":
            return self.convert(value.state or {}, depth + 1)
        return _DROP


def _network(tree: Any) -> Stub:
    candidate = tree.get("ema") if tree.get("ema") is not None else tree.get("model")
    if not isinstance(candidate, Stub):
        raise CheckpointError(f"holds {type(candidate).__name__} where the network should be")
    if candidate.kind not in NETWORKS:
        raise CheckpointError(f"the network is a '{candidate.source}.{candidate.kind}', known: {sorted(NETWORKS)}")
    return candidate


def _state(stub: Stub, where: str) -> dict[str, Any]:
    if not isinstance(stub.state, dict):
        raise CheckpointError(f"{where} ({stub.source}.{stub.kind}) has no attributes")
    return stub.state


def _walk(root: Stub) -> Iterator[tuple[str, Stub]]:
    """Yield every module with its dotted name, in the order of the module tree."""
    pending: list[tuple[str, Any, int]] = [("", root, 0)]
    count = 0
    while pending:
        prefix, stub, depth = pending.pop()
        count += 1
        if count > MAX_NODES or depth > MAX_DEPTH:
            raise CheckpointError(f"the module tree has more than {MAX_NODES} modules or {MAX_DEPTH} levels")
        if not isinstance(stub, Stub):
            raise CheckpointError(f"the module '{prefix}' is {type(stub).__name__}")
        yield prefix, stub
        children = _state(stub, f"the module '{prefix}'").get("_modules") or {}
        if not isinstance(children, dict):
            raise CheckpointError(f"the children of module '{prefix}' are {type(children).__name__}")
        named = [(f"{prefix}.{k}" if prefix else str(k), v, depth + 1) for k, v in children.items() if v is not None]
        pending.extend(reversed(named))


def _tensors(modules: list[tuple[str, Stub]]) -> dict[str, Any]:
    tensors: dict[str, Any] = {}
    for prefix, stub in modules:
        transient = stub.state.get("_non_persistent_buffers_set") or ()
        for kind in ("_parameters", "_buffers"):
            held = stub.state.get(kind) or {}
            if not isinstance(held, dict):
                raise CheckpointError(f"{kind} of module '{prefix}' is {type(held).__name__}")
            for name, value in held.items():
                if value is not None and not (kind == "_buffers" and name in transient):
                    tensors[f"{prefix}.{name}" if prefix else str(name)] = value
    return tensors


def as_float32(tensors: Mapping[str, Any], contents: Contents) -> dict[str, torch.Tensor]:
    """Return ``tensors`` contiguous, floating ones as float32.

    Raises:
        CheckpointError: A value is no tensor, is damaged, or all together are larger than the file.
    """
    result: dict[str, torch.Tensor] = {}
    storages: dict[int, int] = {}
    elements = 0
    for name, value in tensors.items():
        if not isinstance(value, torch.Tensor):
            raise CheckpointError(f"'{name}' is {type(value).__name__}, expected a tensor")
        if contents.is_damaged(value):
            raise CheckpointError(f"the bytes of tensor '{name}' are damaged (checksum does not match)")
        storage = value.untyped_storage()
        storages[storage.data_ptr()] = storage.nbytes()
        elements += value.numel()
        if elements > 4 * sum(storages.values()) + 1024:  # many names for one storage: memory the file never had
            raise CheckpointError(f"the tensors up to '{name}' are larger than the storages they share")
        result[name] = value.float().contiguous() if value.is_floating_point() else value.contiguous()
    return result


def _batch_norms(modules: list[tuple[str, Stub]]) -> Iterator[tuple[str, tuple[float, float]]]:
    for prefix, stub in modules:
        if stub.kind == "BatchNorm2d":
            eps, momentum = stub.state.get("eps"), stub.state.get("momentum")
            if isinstance(eps, float) and isinstance(momentum, float):
                yield prefix, (eps, momentum)


def _stride(value: Any) -> tuple[float, ...]:
    if isinstance(value, torch.Tensor) and value.numel() <= 16:
        return tuple(float(v) for v in value.flatten())
    if isinstance(value, (int, float)):
        return (float(value),)
    return ()


def _arguments(tree: dict[str, Any], attributes: dict[str, Any]) -> dict[str, Any]:
    for source in (tree.get("train_args"), attributes.get("args")):
        arguments = plain(source)
        if isinstance(arguments, dict) and arguments:
            return {str(k): v for k, v in arguments.items()}
    return {}
