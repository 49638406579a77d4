"""Writes an ONNX file: the network traced on one input, simplified, with its metadata as properties."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from typing import TYPE_CHECKING, Any

import torch

from yolocore.errors import ConfigError, ExportError
from yolocore.nn.backends.base import INSTALL_HINT
from yolocore.nn.backends.metadata import encode

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import nn

    from yolocore.config import Config

LOGGER = logging.getLogger(__name__)
OLDEST_OPSET = 13  # the first with every operation of the heads
TRACED_OPSET = 20  # newest of torch's tracing exporter
NEWEST_OPSET = 23  # newest of the one built on torch.export, which takes ten times as long
INPUT = "images"
_OUTPUT_AXES: Mapping[int, dict[int, str]] = {
    2: {0: "batch"},
    3: {0: "batch", 2: "anchors"},
    4: {0: "batch", 2: "mask_height", 3: "mask_width"},
}


def export(model: nn.Module, im: torch.Tensor, path: Path, args: Config, metadata: Mapping[str, Any]) -> Path:
    """Write ``model`` to ``path``; input ``images``, outputs ``output0`` and on.

    Args:
        model: In eval mode, with a tensor or a tuple of tensors as output.
        im: (B, C, H, W) example input, on the network's device.
        path: Where to.
        args: ``dynamic`` frees batch, height and width; ``opset``; ``simplify``.
        metadata: Stored as ``metadata_props``: text as it is, other values as JSON.

    Returns:
        ``path``.

    Raises:
        ConfigError: The operator set is none that torch writes.
        ExportError: A package is missing.
    """
    opset = args.opset or TRACED_OPSET
    if not OLDEST_OPSET <= opset <= NEWEST_OPSET:
        raise ConfigError(f"opset={opset}: ONNX export writes {OLDEST_OPSET} to {NEWEST_OPSET}; e.g. opset=17")
    try:
        import onnx  # optional, as is everything that only an export needs
    except ImportError as error:
        raise ExportError(f"format='onnx' needs the package onnx, which is not installed: {INSTALL_HINT}") from error
    with torch.inference_mode(False), torch.no_grad():
        outputs = model(im)
        shapes = [tuple(o.shape) for o in (outputs if isinstance(outputs, (tuple, list)) else [outputs])]
        write = _write_traced if opset <= TRACED_OPSET else _write_exported
        write(model, im, path, opset, shapes, dynamic=args.dynamic)
    graph = onnx.load(str(path))
    if args.simplify:
        graph = _simplified(graph)
    for key, value in encode(metadata).items():
        graph.metadata_props.add(key=key, value=value)
    onnx.save(graph, str(path))
    return path


def _write_traced(
    model: nn.Module,
    im: torch.Tensor,
    path: Path,
    opset: int,
    shapes: list[tuple[int, ...]],
    *,
    dynamic: bool,
) -> None:
    names = _output_names(shapes)
    jit: Any = torch.jit
    axes: dict[str, Any] = {INPUT: {0: "batch", 2: "height", 3: "width"}}
    axes |= {name: _OUTPUT_AXES.get(len(shape), {0: "batch"}) for name, shape in zip(names, shapes, strict=True)}
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
    ):  # a failure prints the whole graph
        # deprecated in favour of the exporter below, which takes ten times as long and gives the same graph
        warnings.filterwarnings("ignore", message="You are using the legacy TorchScript", category=DeprecationWarning)
        warnings.filterwarnings("ignore", message="The feature will be removed", category=DeprecationWarning)
        # the loop over the levels of the head is the same for every input
        warnings.filterwarnings("ignore", message="Iterating over a tensor", category=jit.TracerWarning)
        torch.onnx.export(
            model,
            (im,),
            str(path),
            dynamo=False,
            opset_version=opset,
            input_names=[INPUT],
            output_names=names,
            dynamic_axes=axes if dynamic else None,
        )


def _write_exported(
    model: nn.Module,
    im: torch.Tensor,
    path: Path,
    opset: int,
    shapes: list[tuple[int, ...]],
    *,
    dynamic: bool,
) -> None:
    free: Any = torch.export.Dim.DYNAMIC
    if dynamic:
        im = im.expand(max(len(im), 2), -1, -1, -1)  # an example of one image would fix the batch at one
    try:
        torch.onnx.export(
            model,
            (im,),
            str(path),
            dynamo=True,
            opset_version=opset,
            input_names=[INPUT],
            output_names=_output_names(shapes),
            dynamic_shapes=({0: free, 2: free, 3: free},) if dynamic else None,
            external_data=False,
            verbose=False,
        )
    except ImportError as error:
        raise ExportError(f"opset={opset} needs the package {error.name}: {INSTALL_HINT}") from error


def _output_names(shapes: list[tuple[int, ...]]) -> list[str]:
    return [f"output{i}" for i in range(len(shapes))]


def _simplified(graph: Any) -> Any:
    try:
        import onnxslim  # optional
    except ImportError:
        LOGGER.warning("simplify=True is skipped: the package onnxslim is not installed (%s)", INSTALL_HINT)
        return graph
    return onnxslim.slim(graph)
