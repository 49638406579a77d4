"""What plugins register: one frozen record per kind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class TaskRecord:
    """A task: the classes that train, validate and predict it.

    Attributes:
        name: the word users write, such as ``detect``.
        model: network class.
        trainer: trainer class.
        validator: validator class.
        predictor: predictor class.
        suffix: end of the names of its models, such as ``-seg``; empty for detection.
        default_model: model used when none is given, such as ``yolo11n.yaml``.
        default_data: dataset used when none is given.
        heads: names of the head layers whose presence in a model file means this task.
    """

    name: str
    model: type[Any]
    trainer: type[Any]
    validator: type[Any]
    predictor: type[Any]
    suffix: str
    default_model: str
    default_data: str
    heads: tuple[str, ...] = ()

    def __getitem__(self, kind: str) -> type[Any]:
        """Return one of the four classes: ``model.task_map["detect"]["trainer"]``."""
        classes: dict[str, type[Any]] = {
            "model": self.model,
            "trainer": self.trainer,
            "validator": self.validator,
            "predictor": self.predictor,
        }
        return classes[kind]


@dataclass(frozen=True, slots=True)
class ExportFormat:
    """A format that models are exported to.

    Attributes:
        name: how tables call it, such as ``ONNX``.
        argument: the word that ``format=`` takes, such as ``onnx``.
        suffix: end of the artefact's name, such as ``.onnx`` or ``_openvino_model``.
        cpu: whether the artefact runs on a CPU.
        gpu: whether the artefact runs on a GPU.
        arguments: names of the export arguments that it honours.
        export: called as ``export(model, im, path, args, metadata)``; returns the path of the artefact.
            ``None`` for the native format, which needs no export.
        aliases: further words that ``format=`` takes.
        as_trained: whether ``export`` gets the network as it was trained, neither fused nor made to emit what an
            exported file emits.
    """

    name: str
    argument: str
    suffix: str
    cpu: bool
    gpu: bool
    arguments: tuple[str, ...] = ()
    export: Callable[..., Path] | None = None
    aliases: tuple[str, ...] = ()
    as_trained: bool = False


@dataclass(frozen=True, slots=True)
class ModelRecord:
    """A model that ``YOLO(name)`` finds.

    Attributes:
        name: what users write, such as ``birds-n.pt`` or ``birds.yaml``.
        yaml: the architecture: path of a YAML file, or its parsed content.
        weights: returns the path of the weights file, fetching it if need be.
        license: licence of the weights, told to the user.
        segmenter: for a network that outlines what a box shows: called with the device, returns a function of an
            image (H, W, 3) BGR and boxes (N, 4) xyxy in pixels that returns masks (N, H, W). ``yolo_bbox2segment``
            and ``auto_annotate`` use it.
    """

    name: str
    yaml: Path | dict[str, Any] | None = None
    weights: Callable[[], Path] | None = None
    license: str | None = None
    segmenter: Callable[[Any], Callable[..., Any]] | None = None


@dataclass(frozen=True, slots=True)
class TrackerRecord:
    """A tracker.

    Attributes:
        name: value of ``tracker_type`` in a tracker file.
        build: called with the parsed tracker file and the frame rate; returns the tracker.
        config: the tracker file that comes with it.
    """

    name: str
    build: Callable[..., Any]
    config: Path | None = None


@dataclass(frozen=True, slots=True)
class TransformRecord:
    """An augmentation of training samples.

    Attributes:
        name: how the pipeline lists it.
        build: called with the training arguments; returns a callable ``(sample, rng) -> sample``.
        place: where in the pipeline it goes.
    """

    name: str
    build: Callable[..., Any]
    place: Literal["start", "end"] = "end"
