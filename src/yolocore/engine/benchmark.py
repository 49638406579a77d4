"""Compares the formats of a network: writes each, takes the time, evaluates the file. Read :func:`benchmark` first."""

from __future__ import annotations

import copy
import logging
import math
import platform
import statistics
import textwrap
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

import torch

from yolocore.config import make_config
from yolocore.engine.benchmark_table import SUCCEEDED, UNSCORED, BenchmarkTable, Row, append_log
from yolocore.engine.exporter import OPTIONS, Exporter
from yolocore.engine.loading import open_model
from yolocore.errors import BenchmarkError, ConfigError, ConfigTypeError, ExportError, YolocoreError, did_you_mean
from yolocore.export.formats import DOCUMENTED
from yolocore.hooks.discovery import entry_point_names
from yolocore.nn.checkpoint import native_payload, write_checkpoint
from yolocore.utils.ops import Profile
from yolocore.utils.torch_utils import select_device

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from yolocore.config import Config
    from yolocore.engine.model import Model
    from yolocore.engine.validator import BaseValidator
    from yolocore.hooks import Callbacks, ExportFormat
    from yolocore.nn.backends import Backend

LOGGER = logging.getLogger(__name__)
EPS: Final = 1e-3  # ms, keeps FPS finite
NATIVE: Final = "-"  # the argument of the native format
PRECISION: Final = ("half", "int8")  # refused where a format cannot: a row must not tell another precision
OWN: Final = frozenset({"model", "mode", "task", "cfg", "format", "save_dir", "project", "name", "plots", "verbose"})
WARMUP, FEWEST, MOST, SECONDS = 5, 10, 200, 2.0  # timed calls: from FEWEST to MOST, within SECONDS where possible
METRICS: Final = {
    "detect": "metrics/mAP50-95(B)",
    "segment": "metrics/mAP50-95(M)",
    "pose": "metrics/mAP50-95(P)",
    "obb": "metrics/mAP50-95(B)",
    "classify": "metrics/accuracy_top5",
}


def benchmark(
    model: Model, *, data: Any, wanted: str, verbose: bool | float, eps: float, arguments: Mapping[str, Any]
) -> Any:
    """Measure the ``wanted`` format or all; see :meth:`yolocore.engine.model.Model.benchmark`."""
    threshold = _threshold(verbose)
    if isinstance(eps, bool) or not isinstance(eps, int | float) or not eps > 0:
        raise ConfigError(f"eps={eps!r}: give a small positive number of milliseconds, such as eps={EPS}")
    bench = Bench(model, benchmark_config(model, data, wanted, arguments))
    formats = bench.formats(wanted)
    bench.check_data()
    level = logging.INFO if verbose else logging.DEBUG
    rows = []
    for record in formats:
        rows.append(bench.measure(record))
        LOGGER.log(level, "%s", rows[-1])
    table = BenchmarkTable.from_rows(bench.metric, rows, float(eps))
    append_log(table, bench.summary())
    result = table.to_frame()
    if threshold is not None:
        _compare(rows, bench.metric, threshold, result)
    return result


def benchmark_config(model: Model, data: Any, wanted: str, arguments: Mapping[str, Any]) -> Config:
    """Return the validated arguments; the size a model was trained at does not count here.

    Raises:
        ConfigError: an argument is unknown or has a wrong value, or the size is not square.
    """
    remembered = {key: value for key, value in model.overrides.items() if key != "imgsz"}
    given = {**remembered, **({} if data is None else {"data": data}), **({"format": wanted} if wanted else {})}
    config = make_config(
        "benchmark",
        {**given, **arguments, "task": model.task},
        tasks=model.task_map,
        plugin_names=entry_point_names(),
        defaults={"device": "cpu"},
    )
    if type(config.batch) is not int or config.batch < 1:
        raise ConfigError(f"batch={config.batch!r}: an export needs a whole number of images, e.g. batch=1")
    if not isinstance(config.imgsz, int) and len(set(config.imgsz)) > 1:
        raise ConfigError(f"imgsz={config.imgsz}: images are evaluated square here; give one number, e.g. imgsz=640")
    return config


class Bench:
    """Everything the rows of one table have in common.

    Args:
        model: whose formats are compared; it is left as it is.
        config: see :func:`benchmark_config`.

    Attributes:
        metric: key of the number that is compared.
        device: where everything runs.
        imgsz: side of the images, pixels, a multiple of the stride.
    """

    def __init__(self, model: Model, config: Config) -> None:
        self.model, self.config = model, config
        self.task = model.task_map[model.task]
        self.metric = METRICS.get(model.task, "fitness")
        self.device = select_device(config.device)
        self.raised: list[Exception] = []  # by functions of the user: not a fault of a format
        self.callbacks = _watched(model.callbacks, self.raised)
        self.network: Any = None if isinstance(model.model, str) else _copied(model.model)
        self.imgsz = self._size()

    def _size(self) -> int:
        asked = self.config.imgsz
        size = int(asked if isinstance(asked, int) else asked[0])
        stride = 1 if self.network is None else max(int(torch.as_tensor(self.network.stride).max()), 1)
        rounded = math.ceil(size / stride) * stride
        if rounded != size:
            LOGGER.warning("imgsz=%d is no multiple of the stride %d; using %d", size, stride, rounded)
        return rounded

    def _arguments(self, **more: Any) -> dict[str, Any]:
        """Return what exporter and validator are told, all of it explicit."""
        config = self.config
        given = {key: getattr(config, key) for key in config.explicit - OWN}
        common = {key: getattr(config, key) for key in ("batch", "device", *PRECISION)}
        return {**given, **common, "task": self.model.task, "imgsz": self.imgsz, **more}

    def formats(self, wanted: str) -> list[ExportFormat]:
        """Return the formats to measure: the native one first, then the registered, then others of the documents.

        Args:
            wanted: the only format to measure, by any of its names; empty for all.

        Raises:
            ConfigError: there is no such format, or the model is a file of another one.
        """
        registered = Exporter(overrides=self._arguments()).manager.registry("export_formats")
        known = dict.fromkeys(registered.values())
        known |= dict.fromkeys(record for record in DOCUMENTED if record.argument not in registered)
        records = sorted(known, key=lambda record: record.argument != NATIVE)
        if wanted:
            records = _chosen(records, wanted)
        if self.network is not None:
            return records
        own = [record for record in records if str(self.model.model).endswith(record.suffix)]
        if not own:
            raise ConfigError(
                f"format={wanted!r}: {self.model.model!r} is an exported file, which is measured as it is; "
                f"leave format out, or give the .pt it was made from"
            )
        return own

    def check_data(self) -> None:
        """Look for the dataset before anything is written.

        Raises:
            MissingFileError: it is not there.
            DataError: its description is wrong.
        """
        self._validator(None, self.imgsz).get_dataset()

    def measure(self, record: ExportFormat) -> Row:
        """Return the row of one format; what goes wrong is its reason, but errors of the user's functions are raised.

        The artefact goes to a folder that is removed, so nothing beside the weights is replaced.
        """
        row = Row(record.name)
        try:
            with TemporaryDirectory(prefix="yolocore-benchmark-", ignore_cleanup_errors=True) as folder:
                self._fill(row, record, Path(folder))
        except Exception as error:  # exporters and runtimes raise whatever they like
            if self.raised:
                raise
            LOGGER.debug("benchmark of %s", record.name, exc_info=error)
            row.reason = _reason(error)
        return row

    def _fill(self, row: Row, record: ExportFormat, folder: Path) -> None:
        artefact, file = self._artefact(record, folder)
        row.status, row.size = UNSCORED, _megabytes(file)
        layers = self.model.plugins.registry("modules")
        half, dnn = bool(self.config.half), self.config.dnn and file.suffix == ".onnx"
        backend, _ = open_model(artefact, self.task.model, self.device, half=half, layers=layers, dnn=dnn)
        size = self.imgsz
        if self.network is None and not backend.dynamic and backend.imgsz is not None:
            size = max(backend.imgsz)  # an exported file of fixed size
        row.ms = inference_ms(backend, size, backend.fixed_batch or int(self.config.batch))
        row.score = float(self._validator(folder / "val", size, dnn=dnn)(model=backend)[self.metric])
        row.status = SUCCEEDED

    def _artefact(self, record: ExportFormat, folder: Path) -> tuple[Any, Path]:
        """Return what is to be evaluated, and the file whose size counts."""
        if self.network is None:
            return self.model.model, Path(str(self.model.model))
        stem = Path(self.model.ckpt_path or self.model.source).stem
        self.network.pt_path = str(folder / f"{stem}.pt")
        if record.argument == NATIVE:
            weights = Path(self.model.ckpt_path or "")
            if not weights.is_file():
                weights = write_checkpoint(self.network.pt_path, native_payload(self.network))
            return self.network, weights
        if record.export is None:
            raise ExportError(f"needs a plugin that writes format={record.argument!r}, and none is installed")
        if (self.device.type == "cuda" and not record.gpu) or (self.device.type == "cpu" and not record.cpu):
            raise ExportError(f"such a file does not run on device={self.config.device!r}")
        unknown = [key for key in OPTIONS if key not in (*record.arguments, *PRECISION)]
        arguments = {key: value for key, value in self._arguments().items() if key not in unknown}
        exporter = Exporter(overrides={**arguments, "format": record.argument}, _callbacks=self.callbacks)
        path = exporter(model=self.network)
        return path, Path(path)

    def _validator(self, save_dir: Path | None, size: int, *, dnn: bool = False) -> BaseValidator:
        args = self._arguments(imgsz=size, rect=self.config.rect, plots=False, verbose=False, dnn=dnn)
        if save_dir is not None:
            save_dir.mkdir(exist_ok=True)
        validator: BaseValidator = self.task.validator(save_dir=save_dir, args=args, _callbacks=self.callbacks)
        return validator

    def summary(self) -> str:
        """Return what was measured with what, for the log file."""
        config = self.config
        device = str(self.device)
        if self.device.type == "cuda":
            device += f" ({torch.cuda.get_device_name(self.device)})"
        data = config.data or self.task.validator.default_data
        precision = next((key for key in PRECISION if getattr(config, key)), "float32")
        return (
            f"{self.model.source}, task {self.model.task}, data {data}, imgsz {self.imgsz}, batch {config.batch}, "
            f"{precision}, device {device}, torch {torch.__version__}, Python {platform.python_version()}"
        )


def inference_ms(backend: Backend, size: int, batch: int) -> float:
    """Return the median time of one image in milliseconds: the network alone, neither loading nor suppression.

    Args:
        backend: what runs.
        size: side of the images, pixels.
        batch: images per call.
    """
    layout = torch.channels_last if backend.channels_last else torch.contiguous_format
    noise = torch.rand(batch, backend.channels, size, size, generator=torch.Generator().manual_seed(0))
    images = noise.to(backend.device, memory_format=layout)  # (B, C, S, S)
    for _ in range(WARMUP):
        backend(images)
    clock, seconds = Profile(device=backend.device), list[float]()
    while len(seconds) < FEWEST or (clock.t < SECONDS and len(seconds) < MOST):
        with clock:
            backend(images)
        seconds.append(clock.dt)
    return 1000 * statistics.median(seconds) / batch


def _threshold(verbose: Any) -> float | None:
    """Return the score that every format must reach, or None when ``verbose`` only says whether to talk."""
    if isinstance(verbose, bool):
        return None
    if not isinstance(verbose, float):
        raise ConfigTypeError(
            f"verbose={verbose!r} ({type(verbose).__name__}): accepted are True, False, or a float such as "
            f"verbose=0.3, the score that every format must reach"
        )
    if not 0 <= verbose <= 1:
        raise ConfigError(f"verbose={verbose}: a score is between 0.0 and 1.0; give for example verbose=0.3")
    return verbose


def _compare(rows: Sequence[Row], metric: str, threshold: float, table: Any) -> None:
    """Raise when a format scores below ``threshold``; NaN does."""
    scores = {row.format: row.score for row in rows if row.status == SUCCEEDED and row.score is not None}
    low = [f"{name} {score:.4f}" for name, score in scores.items() if not score >= threshold]
    if low:
        raise BenchmarkError(f"below verbose={threshold}, by {metric}: {', '.join(low)}", table)


def _chosen(records: Sequence[ExportFormat], wanted: str) -> list[ExportFormat]:
    word = str(wanted).lower()
    names = {name.lower(): record for record in records for name in (record.name, record.argument, *record.aliases)}
    names["pt"] = names.get("pt", records[0])
    if word not in names:
        arguments = [record.argument for record in records]
        raise ConfigError(
            f"format={wanted!r} is unknown.{did_you_mean(word, names)} There are {', '.join(arguments)}; "
            f"'-' is PyTorch, other formats come with plugins"
        )
    return [names[word]]


def _copied(network: Any) -> Any:
    memo: dict[int, Any] = {id(getattr(network, "criterion", None)): None}  # a loss is not measured
    return copy.deepcopy(network, memo)


def _watched(callbacks: Callbacks, raised: list[Exception]) -> Callbacks:
    """Return a copy of the user's functions that notes in ``raised`` what they raise."""

    def watch(function: Callable[[Any], object]) -> Callable[[Any], object]:
        def call(component: Any) -> object:
            try:
                return function(component)
            except Exception as error:
                raised.append(error)
                raise

        return call

    users = {id(function) for _, function in callbacks.functions()}
    watched = callbacks.copy()
    watched.cleared = set(callbacks.cleared)
    for event, functions in callbacks.items():
        watched[event] = [watch(function) if id(function) in users else function for function in functions]
    return watched


def _reason(error: Exception) -> str:
    name = "" if isinstance(error, YolocoreError) else f"{type(error).__name__}: "
    return textwrap.shorten(f"{name}{error}", 400, placeholder=" ...")


def _megabytes(path: Path) -> float:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file()) / 1e6
