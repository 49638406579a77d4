"""Every hook of yolocore, one class per subject: the events a run fires, and what a plugin may register.

How to write a plugin::

    # yolocore_bell/__init__.py, named in pyproject.toml:
    #   [project.entry-points."yolocore.callbacks"]
    #   bell = "yolocore_bell:Bell"
    class Bell:
        def on_train_end(self, trainer):
            print("ding:", trainer.best)

A method with the name of a hook is the implementation; no base class, no decorator. Take the argument under
the name the hook gives it, or leave it out. ``@yolocore.hookimpl(trylast=True)``, or ``trylast = True`` on
the class, runs a method after the user's functions. What a handler returns is ignored: control goes through
attributes, such as ``trainer.stop = True``. An exception switches the plugin off and lets the run go on.

A plugin may also carry ``rank_zero_only = True``, ``attach_to = ("trainer",)``,
``requires_yolocore = ">=0.2"``, a pydantic model named ``Arguments`` (validated, it becomes
``self.arguments`` before the first hook), and ``state_dict()`` with ``load_state_dict(state)``.

Counts in the docstrings: E epochs run, B training batches an epoch, V validation batches, S optimizer
steps, N prediction batches. The functions below do nothing when called; they also serve as the default
callbacks, in this order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from yolocore.hooks.markers import hookspec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from yolocore.hooks.records import ExportFormat, ModelRecord, TaskRecord, TrackerRecord, TransformRecord
    from yolocore.hooks.registry import Registry


class TrainerEvents:
    """A training; a step fires optimizer_step, on_params_update and on_before_zero_grad in this order.

    After the last batch of an epoch come on_train_epoch_end, the validator's events, on_model_save and
    on_fit_epoch_end. After the last epoch the best weights are evaluated: the validator's events once more
    with ``context.final`` set, then on_train_end and teardown.
    """

    @staticmethod
    @hookspec
    def on_pretrain_routine_start(trainer: Any) -> None:
        """Fires once, at the end of the trainer's construction, on every rank.

        Valid: ``args``, ``save_dir`` (with ``args.yaml`` in it), ``wdir``, ``last``, ``best``, ``epochs``,
        ``device``, ``plots``, ``callbacks``. There is no data and no model yet.
        """

    @staticmethod
    @hookspec
    def on_pretrain_routine_end(trainer: Any) -> None:
        """Fires once, with everything built and a resumed run loaded, before the first epoch; on every rank.

        Valid from here: ``model``, ``ema``, ``data``, ``train_loader``, ``test_loader``, ``validator``,
        ``optimizer``, ``scheduler``, ``loss_names``.
        """

    @staticmethod
    @hookspec
    def on_train_start(trainer: Any) -> None:
        """Fires once, immediately before the epoch loop, with warm-up length and start epoch fixed."""

    @staticmethod
    @hookspec
    def on_train_epoch_start(trainer: Any) -> None:
        """Fires E times, before the first batch of an epoch is fetched, on every rank.

        Valid: ``epoch`` (zero-based); the learning-rate schedule is advanced. ``metrics`` are of the epoch
        before.
        """

    @staticmethod
    @hookspec
    def on_train_batch_start(trainer: Any) -> None:
        """Fires E·B times, after warm-up was applied, before the batch moves to the device; on every rank.

        Valid: ``batch`` (the dict of the loader, still on the CPU).
        """

    @staticmethod
    @hookspec
    def optimizer_step(trainer: Any) -> None:
        """Fires S times (and for each step that AMP skips), before the parameters change, on every rank.

        Gradients are complete, unscaled and clipped: the last point to inspect or edit them.
        """

    @staticmethod
    @hookspec
    def on_before_zero_grad(trainer: Any) -> None:
        """Fires S times (and for each step AMP skips), after the update, before gradients are cleared.

        Parameters and moving average are new, gradients still those of the step. On every rank.
        """

    @staticmethod
    @hookspec
    def on_train_batch_end(trainer: Any) -> None:
        """Fires E·B times, when a batch is done and its optimizer step, if one was due; on every rank.

        Valid: ``loss``, ``loss_items`` (of this batch), ``tloss`` (running mean of the epoch), ``batch``.
        """

    @staticmethod
    @hookspec
    def on_train_epoch_end(trainer: Any) -> None:
        """Fires E times, after the last batch and before validation, on every rank.

        Valid: ``tloss``, ``lr`` (the rates of the last batch). ``metrics`` are still those of the epoch
        before: log training losses here and metrics in on_fit_epoch_end.
        """

    @staticmethod
    @hookspec
    def on_fit_epoch_end(trainer: Any) -> None:
        """Fires E times, exactly once per epoch and never for the final evaluation, on every rank.

        Valid: ``metrics``, ``fitness``, ``best_fitness``, ``epoch_time``, ``stop``; CSV row and checkpoints
        are written. Setting ``trainer.stop`` ends the training here.
        """

    @staticmethod
    @hookspec
    def on_model_save(trainer: Any) -> None:
        """Fires after each save (E times with ``save=True``), with the files complete; on rank 0 only.

        Valid: ``last``, ``best``; ``context.saved`` says which of last, best and epoch were written.
        ``epoch_time`` is still that of the epoch before.
        """

    @staticmethod
    @hookspec
    def on_train_end(trainer: Any) -> None:
        """Fires once, after the final evaluation and all figures; not after an error; on every rank.

        Valid: ``final_metrics`` (equal to ``metrics``), stripped ``best`` and ``last``; ``epoch`` is the
        last index.
        """

    @staticmethod
    @hookspec
    def on_params_update(trainer: Any) -> None:
        """Fires S times, when parameters and moving average have just changed, on every rank.

        It comes between optimizer_step and on_before_zero_grad, and not at all for a step that AMP skips.
        """

    @staticmethod
    @hookspec
    def teardown(trainer: Any) -> None:
        """Fires exactly once, very last: after success, an error, an interrupt or SIGTERM. On every rank.

        Valid: ``context.error`` and ``context.stop_reason``; anything else only if it was built. Every
        handler runs, also when one before it raises.
        """


class ValidatorEvents:
    """A validation: after each epoch, as final evaluation, or alone.

    Inside a training the validator shares the trainer's plugins and functions. ``context.phase`` is ``val``,
    ``final_eval`` or ``standalone``.
    """

    @staticmethod
    @hookspec
    def on_val_start(validator: Any) -> None:
        """Fires E + 1 times in a training, once alone: the model is in eval mode, the loader ready.

        Valid: ``args``, ``data``, ``names``, ``nc``, ``dataloader``, ``device``, ``save_dir``, ``plots``,
        ``training``.
        """

    @staticmethod
    @hookspec
    def on_val_batch_start(validator: Any) -> None:
        """Fires (E + 1)·V times, before a batch is preprocessed. Valid: ``batch_i``, ``batch``."""

    @staticmethod
    @hookspec
    def on_val_batch_end(validator: Any) -> None:
        """Fires (E + 1)·V times, with metrics updated and the figures of the first three batches written.

        Valid: ``preds`` (post-processed), ``seen``, in a training also ``loss``.
        """

    @staticmethod
    @hookspec
    def on_val_end(validator: Any) -> None:
        """Fires E + 1 times, with final metrics and all files written.

        Valid: ``metrics`` (``results_dict``, ``curves``, ``curves_results``, ``confusion_matrix``),
        ``speed``. Of several ranks, rank 0 has the complete metrics.
        """


class PredictorEvents:
    """One call of predict or track; with ``stream=True`` nothing fires before the first result is wanted."""

    @staticmethod
    @hookspec
    def on_predict_start(predictor: Any) -> None:
        """Fires once per call, with the model warmed up and the source open.

        Valid: ``args``, ``model``, ``dataset``, ``source_type``, ``save_dir``, ``device``.
        """

    @staticmethod
    @hookspec
    def on_predict_batch_start(predictor: Any) -> None:
        """Fires N times, before preprocessing. Valid: ``batch`` (paths, images, logs)."""

    @staticmethod
    @hookspec
    def on_predict_postprocess_end(predictor: Any) -> None:
        """Fires N times, with ``results`` ready and nothing drawn or saved: the place to assign track ids."""

    @staticmethod
    @hookspec
    def on_predict_batch_end(predictor: Any) -> None:
        """Fires N times, with the files written; what ``results`` is set to reaches the caller."""

    @staticmethod
    @hookspec
    def on_predict_end(predictor: Any) -> None:
        """Fires once per call, with the writers closed; when streaming, as the generator ends."""


class ExporterEvents:
    """One export."""

    @staticmethod
    @hookspec
    def on_export_start(exporter: Any) -> None:
        """Fires once, with the arguments validated and nothing converted. Valid: ``args``."""

    @staticmethod
    @hookspec
    def on_export_end(exporter: Any) -> None:
        """Fires once, with the artefact complete; not after a failure.

        Valid: ``file``, ``f`` (all paths), ``model``, ``im``, ``metadata``, ``imgsz``, ``device``.
        """


class FinalEvents:
    """Beyond the documented 25; not a key of the default callbacks."""

    @staticmethod
    @hookspec
    def on_final_eval_end(trainer: Any) -> None:
        """Fires once, when the best weights were evaluated, before on_train_end. Valid: ``final_metrics``."""


class Registration:
    """What a plugin adds. Each hook is called once per manager, when the first name of its kind is looked up.

    ``register.register(name, value)`` refuses a name that is taken and names both owners. The core's own
    tasks, layers and formats come the same way.
    """

    @staticmethod
    @hookspec
    def register_tasks(register: Registry[TaskRecord]) -> None:
        """Register tasks, the words after ``yolo``: ``register.register("count", TaskRecord(...))``."""

    @staticmethod
    @hookspec
    def register_modules(register: Registry[Callable[..., Any]]) -> None:
        """Register layers that a model YAML may name: ``register.register("MyBlock", MyBlock)``."""

    @staticmethod
    @hookspec
    def register_models(register: Registry[ModelRecord]) -> None:
        """Register models that ``YOLO(name)`` finds: an architecture, or a function that provides weights."""

    @staticmethod
    @hookspec
    def register_export_formats(register: Registry[ExportFormat]) -> None:
        """Register export formats under the word that ``format=`` takes."""

    @staticmethod
    @hookspec
    def register_trackers(register: Registry[TrackerRecord]) -> None:
        """Register trackers under the name that ``tracker_type`` in a tracker file takes."""

    @staticmethod
    @hookspec
    def register_transforms(register: Registry[TransformRecord]) -> None:
        """Register augmentations that are added to the training pipeline."""

    @staticmethod
    @hookspec
    def register_query_translators(register: Registry[Callable[[str, str], str | None]]) -> None:
        """Register what turns a question to ``Explorer.ask_ai`` into SQL, such as a client of a language model.

        ``register.register("name", translate)``: ``translate(question, schema)`` returns a ``SELECT`` or a
        ``WHERE`` clause in SQLite's dialect, or ``None`` when it cannot. ``schema`` is a text on the columns and
        the names of the classes. Nothing but reading is let through, whatever the SQL says.
        """

    @staticmethod
    @hookspec
    def register_commands(app: Any) -> None:
        """Add commands to the typer application of ``yolo``. Import what is heavy inside the commands."""


EVENT_CLASSES: tuple[type, ...] = (TrainerEvents, ValidatorEvents, PredictorEvents, ExporterEvents)
SPEC_CLASSES: tuple[type, ...] = (*EVENT_CLASSES, FinalEvents, Registration)


def functions_of(spec: type) -> Iterator[tuple[str, Callable[..., None]]]:
    """Yield name and function of each hook of a spec class, in the order of the source."""
    for name in vars(spec):
        if not name.startswith("_"):
            yield name, getattr(spec, name)
