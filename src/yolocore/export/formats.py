"""The formats of the core, registered through the same hook as a plugin's."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from yolocore.export import onnx, state_dict, torchscript
from yolocore.export.table import Table
from yolocore.hooks import ExportFormat, hookimpl

if TYPE_CHECKING:
    from collections.abc import Mapping

    from yolocore.hooks import Registry

CORE_FORMATS = (
    ExportFormat("PyTorch", "-", ".pt", cpu=True, gpu=True),
    ExportFormat(
        "TorchScript",
        "torchscript",
        ".torchscript",
        cpu=True,
        gpu=True,
        arguments=("batch", "half", "optimize"),
        export=torchscript.export,
    ),
    ExportFormat(
        "ONNX",
        "onnx",
        ".onnx",
        cpu=True,
        gpu=True,
        arguments=("batch", "dynamic", "half", "opset", "simplify"),
        export=onnx.export,
    ),
    ExportFormat(
        "State dict",
        "state_dict",
        ".safetensors",
        cpu=True,
        gpu=True,
        export=state_dict.export,
        aliases=("safetensors",),
        as_trained=True,
    ),
)
DOCUMENTED = (  # formats that only a plugin can write; its record takes the place of the one here
    ExportFormat("OpenVINO", "openvino", "_openvino_model", cpu=True, gpu=False),
    ExportFormat("TensorRT", "engine", ".engine", cpu=False, gpu=True, aliases=("tensorrt", "trt")),
    ExportFormat("CoreML", "coreml", ".mlpackage", cpu=True, gpu=False),
    ExportFormat(
        "TensorFlow SavedModel", "saved_model", "_saved_model", cpu=True, gpu=True, aliases=("tensorflow", "tf")
    ),
    ExportFormat("TensorFlow GraphDef", "pb", ".pb", cpu=True, gpu=True),
)
SYNONYMS = MappingProxyType({alias: known.argument for known in DOCUMENTED for alias in known.aliases})
COLUMNS = ("Format", "Argument", "Suffix", "CPU", "GPU", "Arguments")


class BuiltinFormats:
    """Plugin that registers the formats of the core."""

    @hookimpl
    def register_export_formats(self, register: Registry[ExportFormat]) -> None:
        """Register them."""
        for record in CORE_FORMATS:
            register.register(record.argument, record, aliases=record.aliases)


def format_table(formats: Mapping[str, ExportFormat]) -> Table:
    """Return a table of ``formats``, an alias not counting."""
    records = dict.fromkeys(formats.values())
    rows = [(r.name, r.argument, r.suffix, r.cpu, r.gpu, r.arguments) for r in records]
    return Table(COLUMNS, [dict(zip(COLUMNS, row, strict=True)) for row in rows])
