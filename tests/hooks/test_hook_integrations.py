"""The documented ``add_integration_callbacks(instance)``."""

from __future__ import annotations

from hook_fakes import FakeComponent, FakeEntryPoint, recorder

from yolocore.hooks import EVENTS, add_integration_callbacks, get_default_callbacks


class OldTrainer(FakeComponent):
    """A stranger's trainer that only has lists of functions."""

    def __init__(self):
        super().__init__()
        self.callbacks = get_default_callbacks()

    def run_callbacks(self, event):
        for function in self.callbacks[event]:
            function(self)


class OldPredictor(OldTrainer):
    pass


POINTS = [
    FakeEntryPoint("clearml", recorder("clearml", "on_train_end", attach_to=("trainer",))),
    FakeEntryPoint("hub", recorder("hub", "on_train_end")),
    FakeEntryPoint("wandb", recorder("wandb", "on_train_end")),
]


def test_functions_are_added_once_and_run():
    trainer = OldTrainer()
    assert add_integration_callbacks(trainer, entry_points=POINTS) is None
    add_integration_callbacks(trainer, entry_points=POINTS)
    assert [function.name for function in trainer.callbacks["on_train_end"][1:]] == [
        "hub",
        "clearml",
        "wandb",
    ]
    assert all(len(trainer.callbacks[event]) == 1 for event in EVENTS if event != "on_train_end")
    trainer.run_callbacks("on_train_end")
    assert trainer.seen == ["hub", "clearml", "wandb"]


def test_settings_and_kind_are_honoured():
    predictor = OldPredictor()
    add_integration_callbacks(predictor, entry_points=POINTS, permitted=lambda name: (name != "wandb", "no"))
    assert [function.name for function in predictor.callbacks["on_train_end"][1:]] == ["hub"]


def test_a_component_that_has_a_manager_is_left_alone(make_manager):
    trainer = OldTrainer()
    trainer.manager = make_manager()
    add_integration_callbacks(trainer, entry_points=POINTS)
    assert trainer.callbacks == get_default_callbacks()


def test_documented_path():
    from yolocore.utils.callbacks.base import add_integration_callbacks as documented

    trainer = OldTrainer()
    documented(trainer)
    assert list(trainer.callbacks) == list(EVENTS)
