"""The steps that make a training ready: each takes what it needs and returns what it made."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from yolocore.config.settings import get_settings
from yolocore.data.paths import resolve_dataset
from yolocore.engine.autobatch import largest_batch
from yolocore.engine.optim import cosine_decay, linear_decay
from yolocore.engine.state import resumed_overrides
from yolocore.engine.weights import WEIGHT_SUFFIXES, find_description
from yolocore.errors import ConfigError
from yolocore.nn.checkpoint import read_checkpoint
from yolocore.utils.torch_utils import select_devices

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from yolocore.config import Config
    from yolocore.config.dataset_info import DatasetInfo
    from yolocore.engine.trainer import BaseTrainer
    from yolocore.nn.checkpoint import Checkpoint
    from yolocore.nn.tasks import BaseModel

LOGGER = logging.getLogger(__name__)
DEFAULT_BATCH = 16
GPU_SHARE = 0.60  # part of the GPU memory that batch=-1 aims at


def training_device(device: Any) -> torch.device:
    """Return the one device of this process.

    Raises:
        ConfigError: several devices are asked for, or the device does not exist.
    """
    chosen = select_devices(device)
    if len(chosen) > 1:
        raise ConfigError(f"device={device!r}: one process trains on one device; give a single one, e.g. device=0")
    return chosen[0]


def training_size(imgsz: int | tuple[int, int], stride: int) -> int:
    """Return the square input size, rounded up to a multiple of ``stride``."""
    size = imgsz if isinstance(imgsz, int) else max(imgsz)
    if not isinstance(imgsz, int):
        LOGGER.warning("imgsz=%s: training uses a square input; taking %d", imgsz, size)
    rounded = -(-size // stride) * stride
    if rounded != size:
        LOGGER.warning("imgsz=%d is no multiple of the model's stride %d; taking %d", size, stride, rounded)
    return rounded


def resumed(path: Path, given: dict[str, Any]) -> tuple[Checkpoint, dict[str, Any], dict[str, Any]]:
    """Return the checkpoint at ``path``, the arguments it merely recorded, and those somebody set.

    Raises:
        ConfigError: the run is finished, or ``given`` would change what is trained.
    """
    checkpoint = read_checkpoint(path)
    if not checkpoint.training:
        raise ConfigError(
            f"resume={str(path)!r}: this run is finished, there is nothing to continue; "
            f"to train further, start a new run with model={str(path)!r}"
        )
    recorded = {k: v for k, v in checkpoint.train_args.items() if k != "save_dir"}
    merged = resumed_overrides(recorded, given, path)
    explicit = {*checkpoint.training["explicit"], *given, "resume"} - {"save_dir"}
    implied = {k: v for k, v in merged.items() if k not in explicit}
    return checkpoint, implied, {k: v for k, v in merged.items() if k in explicit}


def dataset(trainer: BaseTrainer) -> DatasetInfo:
    """Return the parsed dataset description, reduced to one class with ``single_cls``."""
    args = trainer.args
    data = resolve_dataset(args.data or trainer.default_data, task=trainer.task, settings=get_settings())
    if args.single_cls:
        data["names"], data["nc"] = {0: "item"}, 1
    return data


def network(trainer: BaseTrainer) -> BaseModel:
    """Return the network of ``trainer``: architecture from model or checkpoint, weights by ``pretrained``."""
    args, checkpoint = trainer.args, trainer.checkpoint
    verbose = args.verbose and trainer.ranks.is_main
    if checkpoint is not None:
        return trainer.get_model(cfg=checkpoint.yaml, weights=None, verbose=verbose)
    weights: BaseModel | None = trainer.initial_weights
    cfg: Any = args.model or trainer.default_model
    if weights is None and str(cfg).endswith(WEIGHT_SUFFIXES):
        weights = trainer.load_weights(str(cfg))
    if weights is not None:
        cfg = weights.yaml
    if isinstance(args.pretrained, str):
        weights = trainer.load_weights(args.pretrained)
    elif not args.pretrained:
        weights = None
    if isinstance(cfg, str):
        cfg = find_description(cfg, trainer.manager.registry("models"))
    return trainer.get_model(cfg=cfg, weights=weights, verbose=verbose)


def load_resumed(trainer: BaseTrainer, restore: Callable[[BaseTrainer, dict[str, Any]], None]) -> None:
    """Put the state of the checkpoint into ``trainer`` and forget the checkpoint."""
    checkpoint = trainer.checkpoint
    assert checkpoint is not None
    assert checkpoint.training is not None
    trainer.ema.ema.load_state_dict(checkpoint.state_dict)
    restore(trainer, checkpoint.training)
    trainer.budget.started -= checkpoint.training["elapsed"]
    trainer.checkpoint = None
    LOGGER.info("resuming %s at epoch %d of %d", trainer.save_dir, trainer.start_epoch + 1, trainer.epochs)


def decay(args: Config, epochs: int) -> Callable[[float], float]:
    """Return epoch → multiplier of the learning rate."""
    return (cosine_decay if args.cos_lr else linear_decay)(epochs, args.lrf)


def freeze(model: BaseModel, layers: int | list[int | str] | None) -> tuple[str, ...]:
    """Switch the gradients of layers off; return the prefixes of their parameter names.

    Raises:
        ConfigError: a layer index or name prefix matches nothing.
    """
    if layers is None or layers == []:
        return ()
    count = len(model.model)
    chosen = list(range(layers)) if isinstance(layers, int) else list(layers)
    for layer in chosen:
        if isinstance(layer, int) and not 0 <= layer < count:
            raise ConfigError(f"freeze={layers!r}: the model has layers 0 to {count - 1}")
    prefixes = tuple(f"model.{layer}." if isinstance(layer, int) else layer for layer in chosen)
    for prefix in prefixes:
        found = [p for n, p in model.named_parameters() if n.startswith(prefix)]
        if not found and not any(n.startswith(prefix.rstrip(".")) for n, _ in model.named_modules()):
            raise ConfigError(f"freeze={prefix!r}: no parameter has a name that begins so")
        for parameter in found:
            parameter.requires_grad_(False)
    return prefixes


def freeze_norms(model: nn.Module, prefixes: tuple[str, ...]) -> None:
    """Keep the batch norms of frozen layers in eval mode, so that their statistics stay."""
    if not prefixes:
        return
    for name, module in model.named_modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and f"{name}.".startswith(prefixes):  # noqa: SLF001
            module.eval()


def mixed_precision(amp: bool | str, model: nn.Module, device: torch.device) -> tuple[bool, torch.dtype]:
    """Return whether to train in mixed precision, and in which type; off on CPU and where it computes nonsense."""
    dtype = torch.bfloat16 if amp == "bf16" else torch.float16
    if not amp or device.type != "cuda":
        return False, dtype
    training = model.training
    model.eval()
    with torch.inference_mode():
        image = torch.rand(1, 3, 64, 64, device=device)
        exact = _decoded(model(image))
        with torch.autocast("cuda", dtype=dtype):
            mixed = _decoded(model(image)).float()
    model.train(training)
    if torch.isfinite(mixed).all() and torch.allclose(exact, mixed, rtol=0.1, atol=0.5):
        return True, dtype
    LOGGER.warning("amp: mixed precision gives other results than full precision on %s; it is off", device)
    return False, dtype


def _decoded(output: torch.Tensor | tuple[torch.Tensor, ...]) -> torch.Tensor:
    return output[0] if isinstance(output, tuple) else output


def batch_size(trainer: BaseTrainer) -> int:
    """Return the number of images of a batch; ``batch=-1`` or a fraction is measured on the GPU."""
    wanted = trainer.args.batch
    if wanted >= 1:
        return int(wanted)
    if trainer.device.type != "cuda":
        LOGGER.warning("batch=%s: the automatic batch size needs a CUDA device; taking %d", wanted, DEFAULT_BATCH)
        return DEFAULT_BATCH
    share = GPU_SHARE if wanted == -1 else float(wanted)
    return largest_batch(trainer.raw_model, trainer.imgsz, share, trainer.amp, trainer.device)


def evaluate_final(trainer: BaseTrainer) -> tuple[dict[str, float], float]:
    """Evaluate the best weights; return metrics and fitness."""
    metrics = dict(trainer.validator(trainer=trainer))
    return metrics, metrics.pop("fitness")
