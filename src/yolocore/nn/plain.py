"""A bare state dict as a checkpoint: what its file says about itself, else what its tensors tell."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from yolocore.errors import CheckpointError
from yolocore.nn.backends.metadata import decode
from yolocore.nn.official import as_float32
from yolocore.nn.recognise import matches
from yolocore.nn.record import Checkpoint, class_names, is_fused, keypoint_shape, main_dtype

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import torch

    from yolocore.nn.container import Contents

DESCRIPTIVE = ("date", "version", "license", "author", "description")
FLAT_BATCH_NORM = "*"  # one entry for all batch norms
MAX_DESCRIPTION_CHARS = 1_000_000


def state_dict_checkpoint(
    contents: Contents, tensors: dict[str, torch.Tensor], path: Path, metadata: Mapping[str, Any]
) -> Checkpoint:
    """Return the checkpoint of a bare state dict.

    Args:
        contents: the file, to tell which storages are damaged.
        tensors: by dotted name.
        path: of the file.
        metadata: text values of the file; those of ``export(format="state_dict")`` describe the network.

    Raises:
        CheckpointError: A tensor is damaged, or the description in ``metadata`` is no description.
    """
    state_dict = as_float32(tensors, contents)
    checkpoint = Checkpoint(path, "state_dict", state_dict, metadata=dict(metadata), fused=is_fused(state_dict))
    checkpoint.dtype = main_dtype(tensors)
    if metadata.get("yaml"):
        _describe(checkpoint, metadata)
    else:
        _recognise(checkpoint)
    return checkpoint


def _describe(checkpoint: Checkpoint, metadata: Mapping[str, Any]) -> None:
    """Take over what the file says about itself."""
    yaml = _mapping(metadata, "yaml")
    facts = decode({key: value for key, value in metadata.items() if key != "yaml"})
    checkpoint.yaml, checkpoint.task, checkpoint.nc = yaml, facts.task, int(yaml.get("nc") or len(facts.names))
    checkpoint.names = class_names(facts.names, checkpoint.nc)
    checkpoint.imgsz = facts.imgsz
    checkpoint.kpt_shape = facts.kpt_shape
    if facts.imgsz is not None:
        checkpoint.train_args = {"imgsz": facts.imgsz[0] if len(set(facts.imgsz)) == 1 else facts.imgsz}
    if metadata.get("batch_norm"):
        norms = {name: (float(v[0]), float(v[1])) for name, v in _mapping(metadata, "batch_norm").items()}
        common = norms.pop(FLAT_BATCH_NORM, None)
        if common is not None:
            suffix = ".running_mean"
            own = {k.removesuffix(suffix): common for k in checkpoint.state_dict if k.endswith(suffix)}
            norms = {**own, **norms}
        checkpoint.batch_norm = norms
    checkpoint.metadata = {key: metadata[key] for key in DESCRIPTIVE if key in metadata}


def _recognise(checkpoint: Checkpoint) -> None:
    """Take over what names and shapes tell, when exactly one packaged network has them."""
    found = matches(checkpoint.state_dict)
    if len(found) == 1:
        yaml = found[0].yaml
        checkpoint.yaml, checkpoint.task, checkpoint.nc = yaml, found[0].task, yaml["nc"]
        checkpoint.names = class_names(None, checkpoint.nc)
        checkpoint.kpt_shape = keypoint_shape(yaml.get("kpt_shape")) if found[0].task == "pose" else None


def _mapping(metadata: Mapping[str, Any], key: str) -> dict[str, Any]:
    text = metadata[key]
    try:
        value = json.loads(text) if isinstance(text, str) and len(text) <= MAX_DESCRIPTION_CHARS else None
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"the metadata '{key}' is no JSON ({error})") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"the metadata '{key}' is no JSON object of at most {MAX_DESCRIPTION_CHARS} characters")
    return value
