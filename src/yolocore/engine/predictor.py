"""The prediction loop: read :meth:`BasePredictor._run` first; a task fills in the blocks below it."""

from __future__ import annotations

import logging
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, ClassVar

import cv2
import numpy as np
import torch

from yolocore.config.run import run_directory
from yolocore.config.settings import get_settings
from yolocore.data.augment.letterbox import Fit, fit
from yolocore.data.augment.sample import BORDER
from yolocore.data.remote import Web
from yolocore.data.sources import LiveSource, load_source
from yolocore.engine.component import Component
from yolocore.engine.layers import draw_maps, embeddings, feature_maps
from yolocore.engine.loading import inference_device, open_model
from yolocore.engine.results import Results
from yolocore.engine.tally import Tally
from yolocore.engine.tracking import Tracking
from yolocore.engine.tta import augmented, may_augment
from yolocore.engine.writer import ResultWriter, playback_rate
from yolocore.errors import ConfigError, UnsupportedError
from yolocore.hooks import Context
from yolocore.utils.image_files import show_image
from yolocore.utils.ops import Profile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import nn

    from yolocore.config import Config
    from yolocore.data.sources import Source, SourceType
    from yolocore.hooks import Callbacks, HookManager
    from yolocore.nn.backends import Backend
    from yolocore.trackers import Tracker

LOGGER = logging.getLogger(__name__)
STAGES = ("preprocess", "inference", "postprocess")
QUIT_KEYS = frozenset({ord("q"), 27})  # 27: Esc


class BasePredictor(Component):
    """Runs a model on a source. One object serves one call at a time; the model may be shared by many.

    Args:
        cfg: arguments: mapping, YAML path or Config; see ``yolo help predict``.
        overrides: arguments that win over ``cfg``.
        _callbacks: event to list of functions of the user.
        hooks: the plugin host of a parent component, to share its callbacks.

    Attributes:
        model: backend in use.
        device: where it runs.
        imgsz: (height, width) images are fitted into.
        dataset: the source being read; an iterator over ``(paths, images, logs)``.
        source_type: its kind.
        batch: ``(paths, images, kind, logs)`` of the current batch: paths, BGR uint8 arrays, ``None`` for
            stills, ``"video"``, ``"stream"`` or ``"screen"``, log lines.
        results: of the current batch, vectors (C,) with ``embed``; after a call that does not stream, of the whole call.
        seen: images done in this call.
        tally: what was seen and found so far in this call, in words as a string.
        speed: mean milliseconds an image per stage.
        plotted_img: the annotated image last drawn.
        txt_path: the label file last written.
        data_path: the image, or the video of the frame, whose result is being handled; ``None`` before the first.
        vid_writer: path of a source to the open writer of its annotated video.
        trackers: in track mode the tracker of every stream, of files the only one; kept for the next call where
            ``keeps_trackers`` is set (at first the argument ``persist``).
        resources: an ``ExitStack`` that is closed when the call ends, however it ends; handlers may add to it.
        transforms: what a picture to be classified goes through before the network; ``None`` for other tasks.

    Raises:
        ConfigError: an argument is wrong or not available.
    """

    kind: ClassVar[str] = "predictor"
    mode: str = "predict"
    task: ClassVar[str]
    model_class: ClassVar[Callable[..., nn.Module]]

    device: torch.device
    dataset: Source
    source_type: SourceType

    def __init__(
        self,
        cfg: str | Path | Mapping[str, Any] | Config | None = None,
        overrides: Mapping[str, Any] | None = None,
        _callbacks: Callbacks | Mapping[str, list[Any]] | None = None,
        *,
        hooks: HookManager | None = None,
    ) -> None:
        if (overrides or {}).get("mode") == "track":
            self.mode = "track"
        super().__init__(cfg, {"task": self.task, **(overrides or {})}, _callbacks, hooks=hooks)
        if hooks is None:
            self.attach()
        self.model: Any = None
        self.transforms: Callable[[NDArray[np.uint8]], torch.Tensor] | None = None
        self.imgsz: tuple[int, int] = (640, 640)
        self.trackers: list[Tracker] = []
        self.keeps_trackers = bool(self.args.persist)
        self.tracking: Tracking | None = None
        self._ready = self._augments = False
        self._begin()

    def _begin(self) -> None:
        """Forget everything an earlier call left."""
        self.context = Context(phase=self.mode)
        self.batch: tuple[list[str], list[NDArray[np.uint8]], str | None, list[str]] = ([], [], None, [])
        self.results: list[Any] = []
        self.seen = 0
        self.speed: dict[str, float] = dict.fromkeys(STAGES, 0.0)
        self.plotted_img: NDArray[np.uint8] | None = None
        self.txt_path: Path | None = None
        self.data_path: str | None = None
        self.writer = ResultWriter(lambda: self.save_dir)
        self.tally = Tally()
        self.resources = ExitStack()
        self._save_dir: Path | None = None
        self._can_show = True
        self._has_quit = False  # the user, by a key in a window

    def __call__(self, source: Any = None, model: Any = None, stream: bool = False) -> Any:
        """Return the results as a list, or with ``stream`` a generator that holds one batch at a time.

        Args:
            source: see :func:`yolocore.data.sources.load_source`; by default the argument ``source``.
            model: path, ``YOLO``, network or backend; by default the one of the last call, then the argument.
            stream: nothing happens, and no event fires, before the first result is asked for.
        """
        if stream or self.args.stream:
            return self._run(source, model, keep=False)
        return list(self._run(source, model, keep=True))

    def _run(self, source: Any, model: Any, *, keep: bool) -> Iterator[Any]:
        self._begin()
        self.setup_model(model)
        self.setup_source(source)
        self.tracking = Tracking(self) if self.mode == "track" else None
        clock = {stage: Profile(device=self.device) for stage in STAGES}
        kept: list[Any] = []
        complete = False
        try:
            self.resources.callback(self.writer.close)
            if self.tracking is not None:
                self.resources.callback(self.tracking.close)
            self.hooks.on_predict_start(predictor=self)
            for index, (paths, images, logs) in enumerate(self.dataset):
                self.context.batch = index
                self._predict(paths, images, logs, clock)
                if keep:
                    kept += self.results
                else:
                    yield from list(self.results)
                if self._has_quit:
                    break
            complete = True
        except GeneratorExit:  # a stream that is closed early ends like one that is used up
            complete = True
            raise
        finally:
            self.resources.close()
            if complete:
                self._finish(clock, kept if keep else self.results)
            elif self._save_dir is not None:
                LOGGER.info("stopped early after %s; files so far are in %s", self.tally, self._save_dir)
        yield from kept

    def _predict(self, paths: list[str], images: Any, logs: list[str], clock: Mapping[str, Profile]) -> None:
        """Run one batch from images to written files."""
        originals = as_pictures(images) if isinstance(images, torch.Tensor) else images
        self.batch = (paths, originals, self.dataset.kind, logs)
        self.hooks.on_predict_batch_start(predictor=self)
        with clock["preprocess"]:
            im = self.preprocess(images if isinstance(images, torch.Tensor) else self.batch[1])
        with clock["inference"]:
            preds = self._embed(im) if self.args.embed else self.inference(im)
        with clock["postprocess"]:
            self.results = preds if self.args.embed else self.postprocess(preds, im, self.batch[1])
        speed = {stage: watch.dt * 1e3 / len(im) for stage, watch in clock.items()}
        for result in self.results:
            if isinstance(result, Results):  # not with ``embed``
                result.speed.update(speed)
        if self.args.visualize:
            self._draw_features(im)
        if self.tracking is not None:
            self.results = self.tracking.assign(self.results, im.shape[2:])
        self.hooks.on_predict_postprocess_end(predictor=self)
        self.results = list(self.results)
        for i, result in enumerate(self.results):
            if isinstance(result, Results):  # a handler may have put anything in its place
                self.write_results(i, result, im)
        self.seen += len(paths)
        self.tally.add(paths, self.batch[2], self.results)
        self.hooks.on_predict_batch_end(predictor=self)
        self.results = list(self.results)

    def _finish(self, clock: Mapping[str, Profile], results: list[Any]) -> None:
        self.speed = {stage: watch.t * 1e3 / max(self.seen, 1) for stage, watch in clock.items()}
        self.results = results
        saved = "" if self._save_dir is None else f"saved to {self._save_dir}"
        if self.args.verbose and self.seen:
            times = ", ".join(f"{ms:.1f} ms {stage}" for stage, ms in self.speed.items())
            LOGGER.info("%s%s (an image: %s)", self.tally, f", {saved}" * bool(saved), times)
        elif saved:
            LOGGER.info("results %s", saved)
        self.hooks.on_predict_end(predictor=self)

    # preparation -----------------------------------------------------------------------------------------

    def setup_model(self, model: Any = None) -> None:
        """Make ``model`` ready, unless it is ``None`` or the backend of the last call.

        Raises:
            ConfigError: no model is given, ``classes`` are not among its classes, or it is not for ``dnn``.
        """
        wanted = next((m for m in (model, self.model, self.args.model) if m is not None), None)
        if wanted is None:
            raise ConfigError("model: nothing to predict with; pass model=, e.g. model='best.pt'")
        if self._ready and wanted is self.model:
            return
        args, layers = self.args, self.manager.registry("modules")
        device = inference_device(args.device, dnn=args.dnn)
        half = bool(args.half)
        self.model, recorded = open_model(wanted, self.model_class, device, half=half, layers=layers, dnn=args.dnn)
        self.device = self.model.device
        self.imgsz = self._input_size(self.model, recorded)
        self._check_classes(self.model)
        self._augments = may_augment(self.task, wanted=bool(args.augment), end2end=self.model.end2end)
        self._ready = True
        self.warm_up()

    def warm_up(self) -> None:
        """Let a GPU choose its kernels before the first image; on a CPU there is nothing to choose."""
        if self.device.type == "cuda" and not self.model.is_warm:
            self.model.warmup((1, self.model.channels, *self.imgsz))

    def _input_size(self, backend: Backend, recorded: Any) -> tuple[int, int]:
        """Return (height, width), multiples of the stride: argument, else what is recorded with the model."""
        asked = recorded if recorded is not None and "imgsz" not in self.args.explicit else self.args.imgsz
        h, w = (asked, asked) if isinstance(asked, int) else asked
        size = (-(-h // backend.stride) * backend.stride, -(-w // backend.stride) * backend.stride)
        if size != (h, w):
            LOGGER.warning("imgsz=%s is no multiple of the stride %d; using %s", asked, backend.stride, size)
        return size

    def _check_classes(self, backend: Backend) -> None:
        classes, nc = self.classes or [], len(backend.names)
        if nc and classes and not 0 <= min(classes) <= max(classes) < nc:
            raise ConfigError(f"classes={classes}: the model knows the classes 0 to {nc - 1}")

    @property
    def classes(self) -> list[int] | None:
        """The classes to keep, or ``None`` for all."""
        given = self.args.classes
        return [given] if isinstance(given, int) else given

    def setup_source(self, source: Any) -> None:
        """Open ``source`` as ``self.dataset``."""
        args = self.args
        self.dataset = load_source(
            args.source if source is None else source,
            batch=max(int(args.batch), 1),
            vid_stride=args.vid_stride,
            max_pixels=get_settings()["max_pixels"],
            strict=args.strict,
            stream_buffer=args.stream_buffer,
            web=Web(private=private_sources()),
        )
        self.source_type = self.dataset.source_type
        self.context.batches = len(self.dataset)

    @property
    def save_dir(self) -> Path:
        """Folder of this call; made when it is first asked for."""
        if self._save_dir is None:
            self._save_dir = run_directory(self.args, self.task, self.mode, get_settings()["runs_dir"])
        return self._save_dir

    @property
    def vid_writer(self) -> Mapping[str, cv2.VideoWriter]:
        """Path of a source → the open writer of its annotated video."""
        return self.writer.videos

    # what a task may replace -----------------------------------------------------------------------------

    def pre_transform(self, im: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
        """Letterbox BGR images into one (B, H, W, 3) uint8 RGB array.

        Images of one shape are padded to the stride only, if the network takes any size; others to ``imgsz``.
        """
        same = len({image.shape for image in im}) == 1
        free = self.model.kind == "pytorch" and (self.args.rect or "rect" not in self.args.explicit)
        places = [fit(x.shape[:2], self.imgsz, auto=same and free, stride=self.model.stride) for x in im]
        out = np.empty((len(im), *places[0].output, 3), np.uint8)
        for canvas, image, place in zip(out, im, places, strict=True):
            paste_rgb(canvas, image, place)
        return out

    def preprocess(self, im: Sequence[NDArray[np.uint8]] | torch.Tensor) -> torch.Tensor:
        """Return (B, 3, H, W) RGB in [0, 1] on the device, in the memory format the backend wants.

        Args:
            im: BGR uint8 images, or a tensor that is only moved.
        """
        dtype = torch.float16 if self.model.fp16 else torch.float32
        layout = torch.channels_last if self.model.channels_last else torch.contiguous_format
        if isinstance(im, torch.Tensor):
            self._check_tensor(im)
            return im.to(self.device, dtype, memory_format=layout)
        canvas = torch.from_numpy(self.pre_transform(im)).to(self.device)  # (B, H, W, 3) uint8
        return canvas.permute(0, 3, 1, 2).to(dtype, memory_format=layout).div_(255)  # (B, 3, H, W)

    def _check_tensor(self, im: torch.Tensor) -> None:
        h, w = im.shape[2:]
        if h % self.model.stride or w % self.model.stride:
            raise ConfigError(
                f"source: the tensor is {h}x{w} (height x width); both must be multiples of "
                f"{self.model.stride}. Arrays and PIL images are resized, tensors are taken as they are"
            )

    def inference(self, im: torch.Tensor) -> Any:
        """Return the output of the network for (B, 3, H, W); with ``augment``, see :func:`augmented`."""
        if not self._augments:
            return self.model(im)
        with torch.inference_mode():
            return augmented(self.model, im, self.model.stride, free=self.model.dynamic)

    def _embed(self, im: torch.Tensor) -> list[torch.Tensor]:
        count = len(self.batch[0])
        return embeddings(self.model, im, self.args.embed)[:count]

    def _draw_features(self, im: torch.Tensor) -> None:
        """Write the feature maps of every layer to ``<run>/<stem>/``."""
        for name, maps in feature_maps(self.model, im).items():
            for i, path in enumerate(self.batch[0]):
                self.writer.features(path, self._frame(i), name, draw_maps(maps[i]))

    def postprocess(self, preds: Any, img: torch.Tensor, orig_imgs: Sequence[NDArray[np.uint8]]) -> list[Results]:
        """Turn the output of the network into one ``Results`` per image.

        Args:
            preds: what :meth:`inference` returned.
            img: the batch the network saw.
            orig_imgs: the images as they came.
        """
        raise NotImplementedError(f"{type(self).__name__} does not say how its output becomes results")

    # what is done with a result --------------------------------------------------------------------------

    def write_results(self, i: int, result: Results, im: torch.Tensor) -> None:
        """Write, show and log image ``i`` of the batch as the arguments ask for."""
        args, frame = self.args, self._frame(i)
        self.data_path = result.path
        if args.save_txt:
            self.txt_path = self.writer.labels(result, frame, args.save_conf)
        if args.save_crop:
            self.writer.crops(result, frame)
        if args.save or args.save_frames or (args.show and self._can_show):
            self.plotted_img = result.plot(
                conf=args.show_conf,
                labels=args.show_labels,
                boxes=args.show_boxes,
                line_width=args.line_width,
            )
            self.save_predicted_images(result.path, self.plotted_img, frame)
            self.show(result.path)
        if self._save_dir is not None:
            result.save_dir = str(self._save_dir)
        logs = self.batch[3]
        if args.verbose and i < len(logs):
            h, w = im.shape[2:]
            logs[i] += f"{h}x{w} {result.verbose()}{result.speed['inference']:.1f}ms"
            LOGGER.info(logs[i], extra={"image": self.seen + i + 1, "frame": frame})

    def _frame(self, i: int) -> int:
        numbers = self.dataset.frames_of_batch
        return numbers[i] if i < len(numbers) else 0

    def save_predicted_images(self, path: str, drawn: NDArray[np.uint8], frame: int = 0) -> None:
        """Write an annotated image, or frame number ``frame`` of the video ``path``, if asked for."""
        if not frame:
            if self.args.save:
                self.writer.image(path, drawn)
            return
        if self.args.save_frames:
            self.writer.frame(path, frame, drawn)
        if self.args.save:
            fps = playback_rate(self._rate(path), self.args.vid_stride)
            self.writer.video(path, drawn, fps, together=self.batch[2] == "stream")

    def _rate(self, path: str) -> float:
        """Return the frames per second of the video or stream ``path``, 0 if unknown."""
        if isinstance(self.dataset, LiveSource):
            return self.dataset.fps[self.dataset.sources.index(path)]
        return float(getattr(self.dataset, "fps", 0.0))

    def show(self, path: str) -> None:
        """Show the annotated image in a window, with ``show``; without a display, one error is logged.

        A still waits for a key. The keys q and Esc end the call after the current batch.
        """
        if not (self.args.show and self._can_show) or self.plotted_img is None:
            return
        try:
            key = show_image(path, self.plotted_img, wait_ms=1 if self.batch[2] else 0)
        except UnsupportedError as error:
            self._can_show = False
            LOGGER.error("show: %s", error)
        else:
            self._has_quit |= key in QUIT_KEYS


def private_sources() -> bool:
    """Return whether the user, not a file of the project, allows sources in private networks."""
    allowed, where = get_settings().lookup("private_sources")
    return bool(allowed) and where in {"user", "environment"}


def paste_rgb(canvas: NDArray[np.uint8], im_bgr: NDArray[np.uint8], place: Fit) -> None:
    """Resize a BGR image to its ``place`` in the (H, W, 3) ``canvas``, as RGB; the rest becomes gray."""
    h, w = place.shape
    top, left = place.top, place.left
    canvas[:top], canvas[top + h :] = BORDER, BORDER
    canvas[:, :left], canvas[:, left + w :] = BORDER, BORDER
    fits = im_bgr.shape[:2] == place.shape
    scaled = im_bgr if fits else cv2.resize(im_bgr, (w, h), interpolation=cv2.INTER_LINEAR)
    cv2.cvtColor(scaled, cv2.COLOR_BGR2RGB, dst=canvas[top : top + h, left : left + w])


def as_pictures(x: torch.Tensor) -> list[NDArray[np.uint8]]:
    """Return the images of a (B, 3, H, W) RGB tensor in [0, 1] as (H, W, 3) uint8 BGR arrays."""
    pixels = (x.detach().float().clamp(0, 1) * 255).round().to(torch.uint8)
    return [np.ascontiguousarray(p[..., ::-1]) for p in pixels.permute(0, 2, 3, 1).cpu().numpy()]
