"""The training loop. Read :meth:`BaseTrainer._run` first: it is the whole story of a run."""

from __future__ import annotations

import logging
import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch

from yolocore.config.run import run_directory
from yolocore.config.settings import get_settings
from yolocore.data.foreign_loader import for_training
from yolocore.engine import setup
from yolocore.engine.blocks import TrainingBlocks
from yolocore.engine.component import as_numbers
from yolocore.engine.ema import ModelEMA
from yolocore.engine.optim import Schedule, build_optimizer, choose_optimizer, clip_gradients, warmup_length
from yolocore.engine.profiling import exported_speed
from yolocore.engine.ranks import Ranks
from yolocore.engine.report import write_plugin_report
from yolocore.engine.saving import CheckpointFiles, resume_source
from yolocore.engine.state import restore
from yolocore.errors import NonFiniteLossError
from yolocore.utils.torch_utils import init_seeds

if TYPE_CHECKING:
    from collections.abc import Mapping

    from yolocore.config import Config
    from yolocore.config.dataset_info import DatasetInfo
    from yolocore.hooks import HookManager
    from yolocore.nn.checkpoint import Checkpoint
    from yolocore.nn.tasks import BaseModel

LOGGER = logging.getLogger(__name__)


class BaseTrainer(TrainingBlocks):
    """Trains one network; a task fills in the blocks of :class:`~yolocore.engine.blocks.TrainingBlocks`.

    Args:
        cfg: a YAML file or mapping of arguments, below ``overrides``.
        overrides: arguments; see ``yolo help train``.
        _callbacks: event → list of functions of the user.
        hooks: a plugin host to share; by default the trainer makes its own.
        ranks: where this process stands among those of the run.

    Raises:
        ConfigError: an argument is wrong; nothing has been written then.
    """

    def __init__(
        self,
        cfg: str | Path | Mapping[str, Any] | Config | None = None,
        overrides: Mapping[str, Any] | None = None,
        _callbacks: Mapping[str, list[Any]] | None = None,
        *,
        hooks: HookManager | None = None,
        ranks: Ranks = Ranks(),  # noqa: B008 (frozen)
    ) -> None:
        super().__init__(cfg, overrides, _callbacks)
        self.context.phase = "pretrain"
        self.ranks, self.rank, self.world_size = ranks, ranks.rank, ranks.world_size
        self.context.rank, self.context.world_size = ranks.rank, ranks.world_size
        self.context.is_main = ranks.is_main
        self.device = setup.training_device(self.args.device)
        init_seeds(self.args.seed + 1 + self.rank, deterministic=self.args.deterministic)
        self._prepare_directory()
        self.init_progress(resumed=self.resume_path is not None)
        self.attach(hooks)
        self._torn_down = self._mosaic_closed = False
        self.context.epochs = self.epochs
        try:
            self.hooks.on_pretrain_routine_start(trainer=self)
        except BaseException as error:
            self._tear_down(error)
            raise

    def make_args(self, cfg: Any, overrides: Mapping[str, Any] | None) -> Config:
        """Return the arguments: those recorded in the checkpoint when a run is resumed."""
        given = dict(overrides or {})
        self.resume_path = resume_source(given, Path(get_settings()["runs_dir"]))
        self.checkpoint: Checkpoint | None = None
        if self.resume_path is not None:
            self.checkpoint, cfg, given = setup.resumed(self.resume_path, given)
        return super().make_args(cfg, {"task": self.task, **given})

    def _prepare_directory(self) -> None:
        if self.resume_path is not None:
            self.save_dir = self.resume_path.parent.parent
        else:
            self.save_dir = run_directory(self.args, self.task, self.mode, get_settings()["runs_dir"])
        self.wdir = self.save_dir / "weights"
        self.last, self.best = self.wdir / "last.pt", self.wdir / "best.pt"
        self.csv = self.save_dir / "results.csv"
        self.args = self.args.replace(save_dir=str(self.save_dir))
        if self.ranks.is_main:
            self.wdir.mkdir(parents=True, exist_ok=True)
            self.args.to_yaml(self.save_dir / "args.yaml")
        self.files = CheckpointFiles(self.last, self.best, self.wdir, self.args.save_period)

    # the story -------------------------------------------------------------------------------------------------

    def train(self) -> None:
        """Run the whole training; ``self.best`` and ``self.last`` hold the weights afterwards.

        Raises:
            NonFiniteLossError: the loss became NaN or infinite.
            KeyboardInterrupt: SIGINT arrived; a checkpoint was written first.
            SystemExit: SIGTERM arrived; likewise.
        """
        error: BaseException | None = None
        try:
            with self.interrupts:
                self._build()
                self._run()
        except BaseException as exc:
            error = exc
            raise
        finally:
            self._tear_down(error)

    def _run(self) -> None:
        self.context.phase = "train"
        self.train_time_start = time.time()
        self.hooks.on_train_start(trainer=self)
        self.epoch = min(self.start_epoch, self.epochs - 1)
        while not self.stop:
            self._train_epoch()
            self._finish_epoch()
            if not self.stop:
                self.epoch += 1
        self._finish_run()

    def _train_epoch(self) -> None:
        self._begin_epoch()
        self.hooks.on_train_epoch_start(trainer=self)
        for batch in self.train_loader:
            self.batch = batch
            self._warm_up()
            self.context.batch = self.batches_done
            self.hooks.on_train_batch_start(trainer=self)
            self.batch = self.preprocess_batch(self.batch)
            self._forward_backward()
            self.window += 1
            if self.window >= self.accumulate or self._is_last_batch():
                self.optimizer_step()
            self.context.global_step += 1
            self.batches_done += 1
            self.hooks.on_train_batch_end(trainer=self)
            if self.interrupts.received:
                self._save_and_leave()
            if self.budget.is_spent():
                break
        self.batch = {}
        self.lr = self.scheduler.rates()
        self.hooks.on_train_epoch_end(trainer=self)

    def _begin_epoch(self) -> None:
        self.context.epoch, self.context.batches = self.epoch, len(self.train_loader)
        self.epoch_time_start = time.time()
        self.batches_done, resumed = self.start_batch, self.start_batch > 0
        self.start_batch = 0
        if not resumed:
            self.tloss = None
        self.model.train()
        setup.freeze_norms(self.raw_model, self.frozen)
        self.scheduler.set_epoch(self.epoch)
        if self.args.close_mosaic and self.epoch >= self.epochs - self.args.close_mosaic:
            self._close_mosaic()
        self.train_loader.set_epoch(self.epoch)
        if resumed:
            self.train_loader.skip(self.batches_done)

    def _close_mosaic(self) -> None:
        if not self._mosaic_closed and getattr(self.train_loader.dataset, "mixing", False):
            LOGGER.info("mosaic is off for the last %d epochs", self.args.close_mosaic)
            self.train_loader.dataset.close_mosaic()
            self.train_loader.reset()
            self.sample_starts += (self.context.global_step,)
            self._mosaic_closed = True

    def _warm_up(self) -> None:
        iteration = self.batches_done + self.epoch * len(self.train_loader)
        progress = self.scheduler.warm_up(iteration, self.epoch)
        target = self.args.nbs / self.batch_size
        self.accumulate = max(1, round(target if progress is None else 1 + progress * (target - 1)))

    def _forward_backward(self) -> None:
        with torch.autocast(self.device.type, enabled=self.amp, dtype=self.amp_dtype):
            loss, self.loss_items = self.model(self.batch)
            self.loss = loss.sum() * self.world_size
        if not torch.isfinite(self.loss):
            self._fail_non_finite()
        n = self.batches_done
        self.tloss = self.loss_items if self.tloss is None else (self.tloss * n + self.loss_items) / (n + 1)
        self.scaler.scale(self.loss).backward()

    def _fail_non_finite(self) -> None:
        assert self.loss_items is not None
        parts = ", ".join(f"{n}={v:.4g}" for n, v in zip(self.loss_names, self.loss_items.tolist(), strict=True))
        files = ", ".join(self.batch["im_file"])
        raise NonFiniteLossError(
            f"loss is not finite in epoch {self.epoch + 1}, iteration {self.context.global_step} ({parts}); "
            f"images of the batch: {files}. Lower lr0 (now {self.scheduler.rates()['lr/pg0']:.3g}), check these labels, "
            f"or set amp=False; the checkpoints written before are intact"
        )

    def _is_last_batch(self) -> bool:
        return self.epoch == self.epochs - 1 and self.batches_done == len(self.train_loader) - 1

    def optimizer_step(self) -> None:
        """Clip the gathered gradients, update parameters and average, clear the gradients."""
        self.scaler.unscale_(self.optimizer)
        clip_gradients(self.model.parameters())
        self.hooks.optimizer_step(trainer=self)
        scale = self.scaler.get_scale()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        if self.scaler.get_scale() >= scale:
            self.ema.update(self.raw_model)
            self.context.optimizer_steps += 1
            self.hooks.on_params_update(trainer=self)
        self.hooks.on_before_zero_grad(trainer=self)
        self.optimizer.zero_grad(set_to_none=True)
        self.window = 0

    def _finish_epoch(self) -> None:
        last = self.epoch + 1 >= self.epochs or self.stop or self.budget.is_spent()
        metrics: dict[str, float] = {}
        if self.args.val or last or self.stopper.is_due(self.epoch):
            self.context.phase = "val"
            metrics, self.fitness = self.validate()
            self.context.phase = "train"
        if self.args.profile and self.epoch == self.start_epoch and self.ranks.is_main:
            self.profiled = exported_speed(cast("BaseModel", self.ema.ema), self.imgsz)
        self.save_metrics(metrics)
        self._decide_stop(self.fitness if metrics else None)
        if self.args.save and self.ranks.is_main:
            self.save_model()
        self.epoch_time = time.time() - self.epoch_time_start
        self.hooks.on_fit_epoch_end(trainer=self)
        if self.stop and self.context.stop_reason is None:
            self.context.stop_reason = "callback"
        if self.interrupts.received:
            raise self._leave()
        if self.budget.is_limited and not self.stop:
            self._replan()

    def _decide_stop(self, fitness: float | None) -> None:
        requested, reason = self.stop, None
        if self.stopper(self.epoch, fitness):
            reason = "patience"
            LOGGER.info(
                "no improvement for %d epochs: best was epoch %d",
                self.args.patience,
                self.stopper.best_epoch + 1,
            )
        if self.budget.is_spent():
            reason = "time"
        if not self.budget.is_limited and self.epoch + 1 >= self.epochs:
            reason = "epochs"
        if requested:
            reason = "callback"
        self.context.stop_reason = reason
        self.stop = reason is not None

    def _replan(self) -> None:
        self.epochs = self.context.epochs = self.budget.expected_epochs(self.epoch + 1)
        self.scheduler.lf = setup.decay(self.args, self.epochs)

    def _finish_run(self) -> None:
        self.train_loader.reset()
        self.context.phase, self.context.final = "final_eval", True
        self.final_eval()
        self.context.phase, self.context.final = "end", False
        self.hooks.on_train_end(trainer=self)

    def _save_and_leave(self) -> None:
        self.context.stop_reason = "interrupt"
        if self.args.save and self.ranks.is_main:
            self.save_model()
        raise self._leave()

    def _leave(self) -> BaseException:
        self.context.stop_reason = "interrupt"
        LOGGER.warning("interrupted; continue with resume=%s", self.last)
        return self.interrupts.exception()

    def _tear_down(self, error: BaseException | None) -> None:
        if self._torn_down:
            return
        self._torn_down = True
        self.context.error = error
        if error is not None and self.context.stop_reason is None:
            self.context.stop_reason = "error"
        if hasattr(self, "train_loader"):
            self.train_loader.reset()
            self.test_loader.reset()
        self.hooks.teardown(trainer=self)
        write_plugin_report(self)

    # building --------------------------------------------------------------------------------------------------

    def _build(self) -> None:
        self.data = self.get_dataset()
        self.model = self.setup_model().to(self.device)
        self.set_model_attributes()
        self.frozen = setup.freeze(self.raw_model, self.args.freeze)
        self.stride = int(self.raw_model.stride.max())
        self.imgsz = setup.training_size(self.args.imgsz, self.stride)
        self.channels_last = self.args.channels_last is not False
        if self.channels_last:
            self.model.to(memory_format=torch.channels_last)
        self.amp, self.amp_dtype = setup.mixed_precision(self.args.amp, self.model, self.device)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.amp and self.amp_dtype == torch.float16)
        self.batch_size = setup.batch_size(self)
        self._build_loaders()
        self.prepare_loss()
        self._build_optimizer()
        self.ema = ModelEMA(self.raw_model)
        if self.resume_path is not None:
            setup.load_resumed(self, restore)
        else:
            self.sample_starts = (0,)
        if self.args.compile:
            self.model.compile(mode=None if self.args.compile is True else self.args.compile)
        self.hooks.on_pretrain_routine_end(trainer=self)

    def _build_loaders(self) -> None:
        train = self.get_dataloader(self.data["train"], self.batch_size, rank=self.rank, mode="train")
        split = self.data["val"] or self.data["test"]
        batch = self.batch_size * self.val_batch_factor
        test = self.get_dataloader(split, batch, rank=self.rank, mode="val")
        self.train_loader, self.test_loader = for_training(train), for_training(test)
        self.validator = self.get_validator()

    def _build_optimizer(self) -> None:
        args, n = self.args, len(self.train_loader.dataset)
        self.accumulate = max(round(args.nbs / self.batch_size), 1)
        decay = args.weight_decay * self.batch_size * self.accumulate / args.nbs
        iterations = math.ceil(n / max(self.batch_size, args.nbs)) * self.epochs
        name, lr, momentum, bias_lr = args.optimizer, args.lr0, args.momentum, args.warmup_bias_lr
        if name.lower() == "auto":
            choice = choose_optimizer(iterations, self.data["nc"])
            name = choice.name
            lr = args.lr0 if "lr0" in args.explicit else choice.lr
            momentum = args.momentum if "momentum" in args.explicit else choice.momentum
            bias_lr = 0.0
            LOGGER.info(
                "optimizer=auto chose %s(lr=%g, momentum=%g); lr0= and momentum= win over it",
                name,
                lr,
                momentum,
            )
        self.optimizer = self.build_optimizer(self.raw_model, name, lr, momentum, decay, iterations)
        self.scheduler = Schedule(
            self.optimizer,
            setup.decay(args, self.epochs),
            warmup_iterations=warmup_length(args.warmup_epochs, len(self.train_loader), self.epochs),
            bias_lr=bias_lr,
            momentum_start=args.warmup_momentum,
            momentum=momentum,
        )

    @property
    def lf(self) -> Any:
        """Epoch → multiplier of the learning rates."""
        return self.scheduler.lf

    def setup_model(self) -> BaseModel:
        """Return the network that ``model`` and ``pretrained`` name."""
        return setup.network(self)

    # what a subclass may replace -------------------------------------------------------------------------------

    def get_dataset(self) -> DatasetInfo:
        """Return the parsed dataset description of ``data``."""
        return setup.dataset(self)

    def build_optimizer(
        self, model: BaseModel, name: str, lr: float, momentum: float, decay: float, iterations: float
    ) -> torch.optim.Optimizer:
        """Return the optimizer of three groups (weights, norms, biases); ``iterations`` is the planned number."""
        del iterations
        return build_optimizer(model, name, lr, momentum, decay)

    def validate(self) -> tuple[dict[str, float], float]:
        """Evaluate the averaged weights; return metrics with ``val/`` losses, and the fitness."""
        metrics = dict(self.validator(trainer=self))
        fitness = metrics.pop("fitness")
        self.metrics = {**self.logged, **metrics}
        if self.best_fitness is None or fitness >= self.best_fitness:
            self.best_fitness = fitness
        return metrics, fitness

    def save_metrics(self, metrics: dict[str, float]) -> None:
        """Append the row of this epoch to the history behind ``results.csv``."""
        row = {"epoch": self.epoch + 1, "time": self.budget.elapsed(), **self.label_loss_items(self.tloss)}
        expected = [*self.validator.metrics.keys, *self.label_loss_items(prefix="val")]
        row.update({key: metrics.get(key) for key in expected})
        row.update(self.lr)
        row.update({k: v for k, v in {**self.logged, **metrics}.items() if k not in row})
        self.history.append(row)
        self.logged = {}

    def save_model(self) -> None:
        """Write ``last.pt``, and ``best.pt`` and ``epochN.pt`` when due."""
        self.context.saved = self.files.save(self)
        self.hooks.on_model_save(trainer=self)

    def final_eval(self) -> None:
        """Strip the checkpoints and evaluate the best weights; sets ``final_metrics``."""
        if self.args.save and self.ranks.is_main:
            self.files.strip()
            if self.best.exists():
                self.ema.ema.load_state_dict(self.files.best_weights())
        metrics, _ = setup.evaluate_final(self)
        self.final_metrics = self.metrics = metrics
        self.hooks.on_final_eval_end(trainer=self)

    def label_loss_items(self, loss_items: torch.Tensor | None = None, prefix: str = "train") -> Any:
        """Return ``{prefix/name: value}`` rounded to five decimals, or the list of keys without values."""
        keys = [f"{prefix}/{name}" for name in self.loss_names]
        if loss_items is None:
            return keys
        return {k: round(float(v), 5) for k, v in zip(keys, loss_items.tolist(), strict=True)}

    def progress_string(self) -> str:
        """Return the text of the progress line."""
        assert self.tloss is not None
        losses = "  ".join(f"{n} {v:.3f}" for n, v in zip(self.loss_names, self.tloss.tolist(), strict=True))
        return f"epoch {self.epoch + 1}/{self.epochs}  {losses}"

    def log(self, mapping: Mapping[str, Any], step: int | None = None) -> None:
        """Add numbers to the metrics, and to the columns of ``results.csv``, of the current epoch."""
        del step
        numbers = as_numbers(mapping)
        self.metrics.update(numbers)
        if self.history and self.history[-1]["epoch"] == self.epoch + 1:
            self.history[-1].update(numbers)
        else:
            self.logged.update(numbers)
