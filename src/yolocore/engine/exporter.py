"""Exports a network to another format."""

from __future__ import annotations

import copy
import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, cast

import torch

from yolocore.config import ARGUMENTS
from yolocore.config.settings import get_settings
from yolocore.engine.component import Component, make_manager
from yolocore.errors import ConfigError, ExportError, YolocoreError, did_you_mean
from yolocore.export.formats import SYNONYMS, BuiltinFormats, format_table
from yolocore.export.metadata import build_metadata
from yolocore.hooks import HookManager, permitted_by
from yolocore.nn.durable import free_bytes, replace_durably
from yolocore.utils.torch_utils import select_devices

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import nn

    from yolocore.export.table import Table
    from yolocore.hooks import ExportFormat

LOGGER = logging.getLogger(__name__)
# arguments that a format may or may not honour; imgsz and device concern every format
OPTIONS = ("keras", "optimize", "int8", "half", "dynamic", "simplify", "opset", "workspace", "nms")


class Exporter(Component):
    """Writes a network as TorchScript, ONNX, or a format that a plugin brings.

    Example:
        >>> Exporter(overrides={"format": "onnx", "model": "best.pt"})(model=network)
        'best.onnx'

    Attributes:
        format: record of the chosen format.
        model: the copy of the network that is exported: fused, in eval mode.
        im: (B, C, H, W) example input.
        imgsz: (height, width), pixels.
        device: where the conversion runs.
        file: path of the artefact.
        f: paths of everything produced.
        output_shape: shape of the output, or a tuple of shapes.
        metadata: what the artefact says about itself.
    """

    kind: ClassVar[str] = "exporter"
    mode: str = "export"

    format: ExportFormat
    model: nn.Module
    im: torch.Tensor
    imgsz: tuple[int, int]
    device: torch.device
    file: Path
    f: list[str]
    output_shape: tuple[Any, ...]
    metadata: dict[str, Any]

    def __init__(self, cfg: Any = None, overrides: Mapping[str, Any] | None = None, _callbacks: Any = None) -> None:
        super().__init__(cfg, overrides, _callbacks)
        self.attach()

    def __call__(self, model: nn.Module) -> str:
        """Export ``model`` and return the path of the artefact, beside the weights and with their stem.

        Args:
            model: a trainable network; it is copied, not changed. ``model.pt_path`` or ``args.model`` says
                where its weights lie.

        Raises:
            ConfigError: an argument does not fit the format or the device; nothing is written.
            ExportError: the conversion failed; an older artefact of that name is intact.
        """
        self.format = self._choose_format()
        self._check_options()
        self.device = self._choose_device()
        self.imgsz = self._input_size(model)
        self.file = self._target(model)
        self.hooks.on_export_start(exporter=self)
        started = time.perf_counter()
        self.model = self._prepare(model)
        self.im = self._example()
        self.output_shape = self._output_shape()
        self.metadata = self._metadata()
        self.file = self._write()
        self.f = [str(self.file)]
        LOGGER.info(
            "exported %s (%s) in %.1f s, %.1f MB",
            self.file,
            self.format.name,
            time.perf_counter() - started,
            _size(self.file) / 1e6,
        )
        self.hooks.on_export_end(exporter=self)
        return str(self.file)

    def make_host(self) -> HookManager:
        """Return a plugin host that knows the formats of this package."""
        return make_manager(self.kind, self.args, self._callbacks, builtins=[("formats", BuiltinFormats())])

    def _choose_format(self) -> ExportFormat:
        formats = self.manager.registry("export_formats")
        wanted = str(self.args.format).lower()
        record = formats.get(wanted) or formats.get(SYNONYMS.get(wanted, wanted))
        if record is None or record.export is None:
            names = sorted(name for name, known in formats.items() if known.export is not None)
            raise ConfigError(
                f"format={self.args.format!r} is unknown.{did_you_mean(wanted, names)} Installed:"
                f" {', '.join(names)}; other formats come with plugins"
            )
        return record

    def _check_options(self) -> None:
        args, honoured = self.args, self.format.arguments
        asked = [k for k in OPTIONS if getattr(args, k) not in (None, False, ARGUMENTS[k].default)]
        refused = [k for k in asked if k not in honoured]
        if refused:
            formats = self.manager.registry("export_formats").values()
            takers = sorted({r.argument for r in formats if refused[0] in r.arguments}) or ["no installed format"]
            given = ", ".join(f"{key}={getattr(args, key)!r}" for key in refused)
            raise ConfigError(
                f"{given}: format={self.format.argument!r} takes {', '.join(('imgsz', 'device', *honoured))};"
                f" {refused[0]} is for {', '.join(takers)}"
            )
        if type(args.batch) is not int or args.batch < 1:
            raise ConfigError(f"batch={args.batch!r}: an export needs a whole number of images, e.g. batch=1")

    def _choose_device(self) -> torch.device:
        wanted = self.args.device
        if wanted is None:
            wanted = 0 if self.args.half and torch.cuda.is_available() else "cpu"
        devices = select_devices(wanted)
        if len(devices) > 1:
            raise ConfigError(f"device={wanted!r}: an export runs on one device; give a single one")
        if self.args.half and devices[0].type == "cpu":
            raise ConfigError("half=True: float16 is traced on a GPU; give device=0, or leave half out")
        if self.args.optimize and devices[0].type != "cpu":
            raise ConfigError(f"optimize=True is for the CPU, not for device={wanted!r}; give device='cpu'")
        return devices[0]

    def _input_size(self, model: nn.Module) -> tuple[int, int]:
        stride = max(int(torch.as_tensor(getattr(model, "stride", 32)).max()), 1)
        given = self.args.imgsz
        height, width = (given, given) if isinstance(given, int) else given
        size = (-(-height // stride) * stride, -(-width // stride) * stride)
        if size != (height, width):
            LOGGER.warning("imgsz=%s is no multiple of the model's stride %d; taking %s", given, stride, list(size))
        return size

    def _target(self, model: nn.Module) -> Path:
        source = Path(str(getattr(model, "pt_path", None) or self.args.model or "model.pt"))
        return source.with_name(source.stem + self.format.suffix)

    def _prepare(self, model: nn.Module) -> Any:
        memo: dict[int, Any] = {id(getattr(model, "criterion", None)): None}  # a loss is not exported
        network: Any = copy.deepcopy(model, memo).to(self.device).float().eval().requires_grad_(False)
        if self.format.as_trained:
            return network
        if hasattr(network, "fuse"):
            network = network.fuse()
        for module in network.modules():
            if isinstance(getattr(module, "export", None), bool):
                module.export = True
        return network.half() if self.args.half else network

    def _example(self) -> torch.Tensor:
        channels = int((getattr(self.model, "yaml", None) or {}).get("channels", 3))
        dtype = torch.float16 if self.args.half else torch.float32
        return torch.zeros(int(self.args.batch), channels, *self.imgsz, device=self.device, dtype=dtype)

    def _output_shape(self) -> tuple[Any, ...]:
        with torch.no_grad():
            output = self.model(self.im)
        if isinstance(output, torch.Tensor):
            return tuple(output.shape)
        return tuple(tuple(part.shape) for part in output if isinstance(part, torch.Tensor))

    def _metadata(self) -> dict[str, Any]:
        arguments = {
            "batch": self.args.batch,
            **{key: getattr(self.args, key) for key in self.format.arguments},
        }
        return build_metadata(
            self.model,
            imgsz=self.imgsz,
            batch=int(self.args.batch),
            arguments=arguments,
            title=self.file.stem,
        )

    def _write(self) -> Path:
        convert = cast("Callable[..., Path]", self.format.export)

        def write(path: Path) -> None:
            convert(self.model, self.im, path, self.args, self.metadata)

        try:
            return replace_durably(self.file, write)
        except YolocoreError:
            raise
        except OSError as error:
            raise ExportError(
                f"{self.file}: could not be written ({error}); {free_bytes(self.file)} bytes are free there"
            ) from error
        except Exception as error:  # converters raise whatever they like
            raise ExportError(f"{self.file}: the conversion to {self.format.name} failed: {error}") from error


def export_formats() -> Table:
    """Return a table of the formats that core and installed plugins write.

    Columns: Format, Argument, Suffix, CPU, GPU, Arguments.
    """
    manager = HookManager(
        kind="exporter", builtins=[("formats", BuiltinFormats())], permitted=permitted_by(get_settings())
    )
    return format_table(manager.registry("export_formats"))


def _size(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())
