"""The model facade: one object that trains, validates, predicts and exports, whatever the task."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import nn

from yolocore.config import make_config
from yolocore.config.settings import get_settings
from yolocore.engine import tuner
from yolocore.engine.benchmark import EPS, benchmark
from yolocore.engine.exporter import Exporter
from yolocore.engine.loading import inference_device
from yolocore.engine.weights import WEIGHT_SUFFIXES, find_description, find_weights
from yolocore.errors import ConfigError, MissingFileError, UnsupportedError, did_you_mean
from yolocore.hooks import HookManager, permitted_by
from yolocore.nn.backends import EXPORT_SUFFIXES, load_backend, read_header
from yolocore.nn.checkpoint import build_model, native_payload, read_checkpoint, write_checkpoint
from yolocore.nn.parse import BuiltinModules, head_task
from yolocore.trackers.builtin import BuiltinTrackers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from yolocore.engine.predictor import BasePredictor
    from yolocore.engine.results import Results
    from yolocore.engine.trainer import BaseTrainer
    from yolocore.engine.validator import BaseValidator
    from yolocore.hooks import Callbacks
    from yolocore.hooks.records import TaskRecord
    from yolocore.nn.backends import Backend
    from yolocore.nn.tasks import BaseModel
    from yolocore.trackers import Tracker

LOGGER = logging.getLogger(__name__)
REMEMBERED = ("imgsz", "data", "single_cls")  # arguments of a checkpoint that later calls inherit
DECIDED = MappingProxyType(  # arguments with a default of the method, which wins over ``overrides``
    {"val": ("conf", "iou", "rect"), "track": ("conf", "batch"), "export": ("batch", "data")}
)


class Model:
    """A network with everything that can be done to it.

    Args:
        model: ``*.yaml`` (random weights), ``*.pt`` or ``*.safetensors`` (weights), an exported file, or another Model.
        task: forces the task; by default it is read from the file.
        verbose: log the layers.

    Raises:
        MissingFileError: the file is in none of the places searched.
        ConfigError: the task is unknown.
    """

    def __init__(
        self, model: str | Path | Model = "yolo11n.pt", task: str | None = None, verbose: bool = False
    ) -> None:
        source: str = model.source if isinstance(model, Model) else str(model).strip()
        self.source: str = source if Path(source).suffix or Path(source).is_dir() else f"{source}.pt"
        self.plugins = self._host()
        self.task_map: Mapping[str, TaskRecord] = self.plugins.registry("tasks")
        self.trainer: BaseTrainer | None = None
        self.predictor: BasePredictor | None = None
        self._tracked: BasePredictor | None = None  # by the last call of track with a tracker file
        self.metrics: Any = None
        self.ckpt: dict[str, Any] = {}
        self.ckpt_path: str | None = None
        self.cfg: str | None = None
        self.model: BaseModel | str
        self.task: str
        self.overrides: dict[str, Any] = {}
        self._has_weights = False
        self._backend: Any = None
        if task is not None:
            self._record(task)
        suffix = Path(self.source).suffix
        if suffix in {".yaml", ".yml"}:
            self._new(self.source, task, verbose)
        elif suffix in WEIGHT_SUFFIXES:
            self._load(self.source, task)
        else:
            self._open_exported(self.source, task)
        self.overrides.update(model=self.source, task=self.task)

    @classmethod
    def tasks_and_layers(cls) -> tuple[Mapping[str, TaskRecord], Mapping[str, Any]]:
        """Return every installed task, and every layer that a model file may name."""
        plugins = cls._host()
        return plugins.registry("tasks"), plugins.registry("modules")

    @classmethod
    def _host(cls) -> HookManager:
        return HookManager(
            kind="model",
            builtins=[("layers", BuiltinModules()), ("trackers", BuiltinTrackers()), *cls.builtin_plugins()],
            permitted=permitted_by(get_settings()),
        )

    @classmethod
    def builtin_plugins(cls) -> Sequence[tuple[str, object]]:
        """Return the plugins that register what this package brings along; a subclass adds its tasks."""
        return ()

    # where the network comes from ------------------------------------------------------------------------------

    def _new(self, cfg: str, task: str | None, verbose: bool) -> None:
        description = find_description(cfg, self.plugins.registry("models"))
        self.cfg = cfg
        self.task = task or self._guess_task(description, cfg)
        self._check_head(description)
        network = self._record().model(description, verbose=verbose, registry=self.plugins.registry("modules"))
        self._adopt(network)

    def _adopt(self, network: BaseModel) -> None:
        """Take ``network`` as the model, with the default gains for its loss."""
        network.args = make_config("train", {"task": self.task}, tasks=self.task_map)
        self.model = network

    def _load(self, path: str, task: str | None) -> None:
        file = find_weights(path, self.plugins.registry("models"))
        checkpoint = read_checkpoint(file)
        self.task = task or checkpoint.task or "detect"
        if task is not None:
            self._check_head(checkpoint.yaml)
        layers = self.plugins.registry("modules")
        self._adopt(build_model(checkpoint, self._record().model, registry=layers))
        self.ckpt, self.ckpt_path, self._has_weights = checkpoint.metadata, str(file), True
        self.overrides = {k: checkpoint.train_args[k] for k in REMEMBERED if checkpoint.train_args.get(k) is not None}
        self.source = str(file)

    def _open_exported(self, path: str, task: str | None) -> None:
        if not Path(path).exists():
            raise MissingFileError(f"model={path!r}: no such file; an exported model is opened by its path")
        if not path.endswith(EXPORT_SUFFIXES):
            raise ConfigError(
                f"model={path!r}: unknown kind of file; use .yaml (new network), .pt or .safetensors (weights) or an "
                f"exported file ending in one of {', '.join(EXPORT_SUFFIXES)}"
            )
        self.model = path
        self.task = task or self._described().task
        self._record()

    def _guess_task(self, description: Mapping[str, Any], name: str) -> str:
        task = head_task(description, self.plugins.registry("modules"))
        if task is not None:
            return task
        for record in self.task_map.values():
            if record.suffix and Path(name).stem.endswith(record.suffix):
                return record.name
        LOGGER.warning("%s: its head tells no task; taking 'detect'", name)
        return "detect"

    def _check_head(self, description: Mapping[str, Any] | None) -> None:
        """Refuse a head that does another task than the one that was asked for; a task without a head takes any."""
        layers = self.plugins.registry("modules")
        told = head_task(description or {}, layers)
        if told not in {None, self.task} and self.task in {getattr(layer, "task", None) for layer in layers.values()}:
            raise ConfigError(
                f"task={self.task!r}: {self.source} is a network for task={told!r}; leave task out, or name a model "
                f"for {self.task!r}"
            )

    def _record(self, task: str | None = None) -> TaskRecord:
        name = task or self.task
        if name not in self.task_map:
            names = sorted(self.task_map)
            raise ConfigError(f"task={name!r} is unknown; installed: {', '.join(names)}.{did_you_mean(name, names)}")
        return self.task_map[name]

    # modes -----------------------------------------------------------------------------------------------------

    def train(self, trainer: type[BaseTrainer] | None = None, **kwargs: Any) -> Any:
        """Train and return the metrics of the best weights, which ``self.model`` then holds.

        Args:
            trainer: a trainer class to use instead of the task's.
            **kwargs: arguments; see ``yolo help train``.
        """
        network = self._trainable("train")
        overrides = {**self.overrides, **kwargs}
        if kwargs.get("resume") is True and self.ckpt_path:
            overrides["resume"] = self.ckpt_path
        if overrides.get("resume"):
            overrides = {k: v for k, v in overrides.items() if k in kwargs or k in {"resume", "model"}}
        self.trainer = (trainer or self._record().trainer)(overrides=overrides, _callbacks=self.callbacks)
        if self._has_weights and not self.trainer.resume:
            self.trainer.initial_weights = network
        self.trainer.train()
        if not self.trainer.ranks.is_main:
            return None
        self.model = cast("BaseModel", self.trainer.ema.ema)
        self._has_weights, self._backend = True, None
        if self.trainer.best.exists():
            self.ckpt_path = str(self.trainer.best)
        self.overrides.update({k: v for k, v in vars(self.trainer.args).items() if k in REMEMBERED})
        self.metrics = self.trainer.validator.metrics
        return self.metrics

    def val(self, validator: type[BaseValidator] | None = None, **kwargs: Any) -> Any:
        """Evaluate on a dataset split and return the metrics object."""
        args = {"rect": True, **self._remembered("val"), **kwargs}
        engine = (validator or self._record().validator)(args=args, _callbacks=self.callbacks)
        engine(model=self._inference_source(args))
        self.metrics = engine.metrics
        return self.metrics

    def predict(
        self,
        source: Any = None,
        stream: bool = False,
        predictor: type[BasePredictor] | None = None,
        **kwargs: Any,
    ) -> list[Results] | Iterator[Results]:
        """Run on images; return a list of results, or a generator with ``stream=True``."""
        engine = self._predictor(predictor, kwargs)
        return engine(source=source, stream=stream)

    def embed(self, source: Any = None, stream: bool = False, **kwargs: Any) -> Any:
        """Return one vector (C,) per image, a list or with ``stream`` a generator, for search and comparison.

        Args:
            source: as for :meth:`predict`.
            stream: return a generator.
            **kwargs: arguments of :meth:`predict`; ``embed=[2, 4]`` names the layers whose averaged outputs are
                joined, by default the one before the head.

        Raises:
            UnsupportedError: the model is an exported file.
        """
        network = self._trainable("embed")
        return self.predict(source, stream, **{"embed": [len(network.model) - 2], **kwargs})

    def _predictor(self, predictor: type[BasePredictor] | None, kwargs: Mapping[str, Any]) -> BasePredictor:
        overrides = {**self._remembered(kwargs.get("mode", "predict")), **kwargs}
        engine = (predictor or self._record().predictor)(overrides=overrides, _callbacks=self.callbacks)
        args = engine.args
        engine.model = self.backend(args.device, half=bool(args.half), dnn=args.dnn)
        self.predictor = engine
        return engine

    def track(
        self,
        source: Any = None,
        stream: bool = False,
        persist: bool = False,
        predictor: type[BasePredictor] | None = None,
        tracker: str | Path | Tracker | Sequence[Tracker] = "botsort.yaml",
        **kwargs: Any,
    ) -> list[Results] | Iterator[Results]:
        """Follow objects through a video or a sequence of images; like :meth:`predict`, but boxes carry ids.

        Args:
            source: as for :meth:`predict`.
            stream: return a generator.
            persist: go on with the identities of the previous call on this object; otherwise every call, and every
                video of a list, begins at id 1.
            predictor: a predictor class to use instead of the task's.
            tracker: a tracker file, or trackers of your own, one per stream: they are never reset here.
            **kwargs: arguments; see ``yolo help track``.

        Raises:
            ConfigError: ``tracker`` is neither, or an argument is wrong.
        """
        mine = own_trackers(tracker)
        name = {} if mine is not None else {"tracker": str(tracker)}
        engine = self._predictor(predictor, {**kwargs, **name, "persist": persist, "mode": "track"})
        last, self._tracked = self._tracked, engine if mine is None else None
        if mine is not None:
            engine.trackers, engine.keeps_trackers = mine, True
        elif persist and last is not None and last.args.tracker == engine.args.tracker:
            engine.trackers = last.trackers
        return engine(source=source, stream=stream)

    def __call__(self, source: Any = None, stream: bool = False, **kwargs: Any) -> list[Results] | Iterator[Results]:
        """Do the same as :meth:`predict`."""
        return self.predict(source, stream, **kwargs)

    def export(self, **kwargs: Any) -> str:
        """Write the network in another format and return the path of the artefact."""
        network = self._trainable("export")
        network.pt_path = self.ckpt_path  # type: ignore[assignment]  # the artefact lies beside these weights
        exporter = Exporter(overrides={**self._remembered("export"), **kwargs}, _callbacks=self.callbacks)
        return str(exporter(model=network))

    def benchmark(
        self,
        data: Any = None,
        format: str = "",  # noqa: A002 - documented name
        verbose: bool | float = False,
        eps: float = EPS,
        **kwargs: Any,
    ) -> Any:
        """Write the network in every format, take the time of each and evaluate it; this object stays as it is.

        The artefacts go to a temporary folder, nothing beside the weights is replaced. An exported file is measured
        as it is. The table is appended to ``benchmarks.log`` in the working directory.

        Args:
            data: the dataset; by default the one recorded with the weights, then the small one of the task.
            format: the only format to measure, ``"-"`` for PyTorch; empty for all.
            verbose: log a line a format; a float is the score that every format must reach.
            eps: ms added to the time of an image: FPS = 1000 / (ms + eps).
            **kwargs: arguments; see ``yolo help benchmark``. ``imgsz`` is 160, ``batch`` 1 and ``device`` ``"cpu"``
                unless told otherwise.

        Returns:
            A pandas DataFrame, without pandas a table with ``rows``, ``columns``, ``to_csv`` and ``str``. Columns:
            ``Format``, ``Status❔`` (✅, ❎ exported but not evaluated, ❌ not exported), ``Size (MB)``, the key of the
            metric, ``Inference time (ms/im)`` (median, the network alone), ``FPS``. ``reasons``, of a DataFrame
            ``attrs["reasons"]``, says why a format has no ✅.

        Raises:
            ConfigError: an argument is wrong; nothing has been exported then.
            MissingFileError: the dataset is not there; likewise.
            BenchmarkError: a format scores below ``verbose``.
        """
        return benchmark(self, data=data, wanted=format, verbose=verbose, eps=eps, arguments=kwargs)

    def tune(
        self,
        use_ray: bool = False,
        iterations: int = tuner.ITERATIONS,
        space: Mapping[str, Any] | None = None,
        trainer: type[BaseTrainer] | None = None,
        **kwargs: Any,
    ) -> Any:
        """Search for better hyper-parameters with short trainings, each in a process of its own.

        Args:
            use_ray: search with Ray Tune, several trainings at once; takes ``grace_period``, ``gpu_per_trial`` and
                ``max_samples`` instead of ``iterations``. Needs the plugin ``yolocore-raytune``.
            iterations: number of trainings; a continued search keeps its own unless another than 10 is given.
            space: argument to (low, high); the documented space by default.
            trainer: a trainer class to use instead of the task's.
            **kwargs: arguments of every training; ``resume=`` True or a directory continues a search.

        Returns:
            The best hyper-parameters, argument to value; with Ray its ``ResultGrid``.

        Raises:
            ConfigError: an argument or a range is wrong; nothing has been written then.
            PluginError: the Ray plugin is missing or blocked.
            SearchError: every training failed.
        """
        self._trainable("tune")
        if use_ray:
            return tuner.ray_plugin(self.plugins).search(self, space=space, trainer=trainer, **kwargs)
        return tuner.tune(self, iterations=iterations, space=space, trainer=trainer, arguments=kwargs)

    def _remembered(self, mode: str) -> dict[str, Any]:
        """Return the ``overrides`` that hold in a mode: its method decides some arguments itself."""
        decided = {"mode", *DECIDED.get(mode, ())}
        return {k: v for k, v in self.overrides.items() if k not in decided}

    # the network -----------------------------------------------------------------------------------------------

    def _trainable(self, action: str) -> BaseModel:
        if isinstance(self.model, str):
            raise UnsupportedError(
                f"{action}: {self.model!r} is an exported model, good for predict and val only; "
                f"{action} needs a trainable one (.pt or .yaml)"
            )
        return self.model

    def backend(self, device: Any = None, half: bool = False, dnn: bool = False) -> Backend:
        """Return the network made ready for inference: fused, in eval mode, on ``device``; kept for the next call.

        Args:
            device: where to run.
            half: compute in float16 where the device can.
            dnn: run an ``.onnx`` file with OpenCV's DNN module.
        """
        key = (str(device), half, dnn)
        if self._backend is None or self._backend[0] != key:
            where = inference_device(device, dnn=dnn)
            self._backend = (key, load_backend(self.model, device=where, half=half, dnn=dnn))
        return self._backend[1]

    def _described(self) -> Any:
        """Return what knows task and names; of an ``.onnx`` file they are read without its runtime."""
        if not isinstance(self.model, str):
            return self.model
        return read_header(self.model).info if self.model.endswith(".onnx") else self.backend()

    def _inference_source(self, args: Mapping[str, Any]) -> Any:
        return self.backend(args.get("device"), half=bool(args.get("half")), dnn=bool(args.get("dnn")))

    def info(self, detailed: bool = False, verbose: bool = True, imgsz: int = 640) -> tuple[int, int, int, float]:
        """Return layers, parameters, gradients and GFLOPs (at ``imgsz`` pixels square)."""
        return self._trainable("info").info(detailed=detailed, verbose=verbose, imgsz=imgsz)

    def fuse(self) -> Model:
        """Fold the batch norms into the convolutions, in place."""
        self._trainable("fuse").fuse()
        self._backend = None
        return self

    def load(self, weights: str | Path | nn.Module) -> Model:
        """Copy every tensor of ``weights`` whose name and shape match."""
        network = self._trainable("load")
        if isinstance(weights, nn.Module):
            network.load(weights)
        else:
            network.load(read_checkpoint(find_weights(str(weights))).state_dict)
        self._has_weights, self._backend = True, None
        return self

    def save(self, filename: str | Path = "saved_model.pt") -> None:
        """Write the network as a native checkpoint."""
        write_checkpoint(Path(filename), native_payload(self._trainable("save"), dict(self.overrides)))

    def reset_weights(self) -> Model:
        """Draw new random weights and make every parameter trainable."""
        network = self._trainable("reset_weights")
        fresh = type(network)(network.yaml, nc=network.nc, verbose=False, registry=self.plugins.registry("modules"))
        network.load_state_dict(fresh.state_dict())
        for name, parameter in network.named_parameters():
            parameter.requires_grad_(".dfl" not in name)
        self._has_weights, self._backend = False, None
        return self

    @property
    def names(self) -> dict[int, str]:
        """Class names by index."""
        return dict(self._described().names)

    @property
    def transforms(self) -> Callable[..., torch.Tensor] | None:
        """What the last prediction did to a picture before classifying it; None for other tasks."""
        return None if self.predictor is None else self.predictor.transforms

    @property
    def device(self) -> torch.device | None:
        """Device of the parameters; None for an exported model."""
        return None if isinstance(self.model, str) else next(self.model.parameters()).device

    @property
    def model_name(self) -> str:
        """The name given to the constructor."""
        return Path(self.source).name

    # torch semantics -------------------------------------------------------------------------------------------

    def to(self, *args: Any, **kwargs: Any) -> Model:
        """Move or cast the network like ``torch.nn.Module.to``."""
        self._trainable("to").to(*args, **kwargs)
        self._backend = None
        return self

    def cpu(self) -> Model:
        """Move the network to the CPU."""
        return self.to("cpu")

    def cuda(self, device: int | None = None) -> Model:
        """Move the network to a CUDA device."""
        return self.to("cuda" if device is None else f"cuda:{device}")

    def half(self) -> Model:
        """Cast the network to float16."""
        return self.to(torch.float16)

    def float(self) -> Model:
        """Cast the network to float32."""
        return self.to(torch.float32)

    def eval(self) -> Model:
        """Put the network into eval mode."""
        self._trainable("eval").eval()
        return self

    def parameters(self) -> Iterator[nn.Parameter]:
        """Iterate over the parameters."""
        return self._trainable("parameters").parameters()

    def named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Iterate over names and parameters."""
        return self._trainable("named_parameters").named_parameters()

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Return the tensors by name."""
        return self._trainable("state_dict").state_dict()

    # callbacks -------------------------------------------------------------------------------------------------

    @property
    def callbacks(self) -> Callbacks:
        """The user's functions, event name to list; handed to every component this model creates."""
        return self.plugins.callbacks

    def add_callback(self, event: str, func: Callable[..., object]) -> None:
        """Call ``func(component)`` at every ``event`` of the modes run from now on."""
        self.plugins.add_callback(event, func)

    def clear_callback(self, event: str) -> None:
        """Remove every function of ``event``."""
        self.plugins.clear_callback(event)

    def reset_callbacks(self) -> None:
        """Remove every function of every event."""
        self.plugins.reset_callbacks()


def own_trackers(tracker: str | Path | Tracker | Sequence[Tracker]) -> list[Tracker] | None:
    """Return the trackers a user brings, ``None`` where a file is named.

    Raises:
        ConfigError: it is neither.
    """
    if isinstance(tracker, str | Path):
        return None
    mine: list[Tracker] = [*tracker] if isinstance(tracker, Sequence) else [tracker]
    if not all(hasattr(each, "update") for each in mine):
        raise ConfigError(f"tracker={tracker!r}: expected a tracker file, a tracker, or a list of trackers")
    return mine
