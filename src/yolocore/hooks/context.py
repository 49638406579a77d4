"""Where in a run a component is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Context:
    """What a component tells its handlers; the engine updates it before each event, they only read it.

    Attributes:
        phase: trainer: ``pretrain``, ``train``, ``val``, ``final_eval``, ``end``; validator: ``val``,
            ``final_eval``, ``standalone``; predictor: ``predict`` or ``track``; exporter: ``export``.
        event: name of the event being fired.
        epoch: index of the epoch, from 0.
        epochs: planned number of epochs.
        batch: index of the batch in the epoch, from 0.
        batches: number of batches of the epoch.
        global_step: training batches seen so far.
        optimizer_steps: optimizer steps done so far, without those that AMP skipped.
        final: whether the final evaluation is running.
        saved: in ``on_model_save``, which of ``last``, ``best`` and ``epoch`` were written.
        rank: index of this process.
        world_size: number of processes.
        is_main: whether this process is rank 0.
        error: in ``teardown``, the exception that ended the run.
        stop_reason: why the run ends: ``epochs``, ``patience``, ``time``, ``callback``, ``interrupt``,
            ``error``.
    """

    phase: str = ""
    event: str = ""
    epoch: int | None = None
    epochs: int | None = None
    batch: int | None = None
    batches: int | None = None
    global_step: int = 0
    optimizer_steps: int = 0
    final: bool = False
    saved: tuple[str, ...] = ()
    rank: int = 0
    world_size: int = 1
    is_main: bool = True
    error: BaseException | None = None
    stop_reason: str | None = None
