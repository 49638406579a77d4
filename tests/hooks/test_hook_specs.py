"""The names of the events, their arguments and the default callbacks, as documented."""

from __future__ import annotations

import inspect
import subprocess
import sys
from collections import defaultdict

import pytest

from yolocore.errors import PluginError
from yolocore.hooks import EVENTS, FINAL_EVENT, Context, get_default_callbacks
from yolocore.hooks.events import ARGUMENTS, REGISTRATION_HOOKS
from yolocore.hooks.specs import SPEC_CLASSES, functions_of

DOCUMENTED = [
    "on_pretrain_routine_start",
    "on_pretrain_routine_end",
    "on_train_start",
    "on_train_epoch_start",
    "on_train_batch_start",
    "optimizer_step",
    "on_before_zero_grad",
    "on_train_batch_end",
    "on_train_epoch_end",
    "on_fit_epoch_end",
    "on_model_save",
    "on_train_end",
    "on_params_update",
    "teardown",
    "on_val_start",
    "on_val_batch_start",
    "on_val_batch_end",
    "on_val_end",
    "on_predict_start",
    "on_predict_batch_start",
    "on_predict_postprocess_end",
    "on_predict_batch_end",
    "on_predict_end",
    "on_export_start",
    "on_export_end",
]


def documented_argument(event: str) -> str:
    for word, argument in (("_val_", "validator"), ("_predict_", "predictor"), ("_export_", "exporter")):
        if word in event:
            return argument
    return "trainer"


def test_the_25_events_in_documented_order():
    assert list(EVENTS) == DOCUMENTED
    assert FINAL_EVENT == "on_final_eval_end"
    assert FINAL_EVENT not in EVENTS


def test_registration_hooks():
    assert REGISTRATION_HOOKS == (
        "register_tasks",
        "register_modules",
        "register_models",
        "register_export_formats",
        "register_trackers",
        "register_transforms",
        "register_query_translators",
        "register_commands",
    )


@pytest.mark.parametrize("event", DOCUMENTED)
def test_default_callback_is_the_documented_no_op(event):
    (function,) = get_default_callbacks()[event]
    assert function.__name__ == event
    assert list(inspect.signature(function).parameters) == [documented_argument(event)] == [ARGUMENTS[event]]
    assert function(object()) is None


def test_default_callbacks_are_independent_defaultdicts():
    first, second = get_default_callbacks(), get_default_callbacks()
    assert type(first) is defaultdict
    assert list(first) == DOCUMENTED
    first["on_train_end"].append(print)
    assert len(second["on_train_end"]) == 1
    assert second["no_such_event"] == []


def test_every_hook_is_explained():
    for spec in SPEC_CLASSES:
        assert inspect.getdoc(spec)
        for name, function in functions_of(spec):
            assert len(inspect.getdoc(function) or "") > 40, name


def test_context_has_the_documented_fields():
    fields = "phase event epoch epochs batch batches global_step optimizer_steps final saved rank world_size"
    assert list(Context.__slots__) == [*fields.split(), "is_main", "error", "stop_reason"]
    assert Context(phase="train").is_main


def test_documented_module_has_the_functions_and_the_dict():
    from yolocore.utils.callbacks import base

    assert list(base.default_callbacks) == DOCUMENTED
    for event in DOCUMENTED:
        assert base.default_callbacks[event] == [getattr(base, event)]
    with pytest.raises(AttributeError, match="no_such_name"):
        base.no_such_name  # noqa: B018
    from yolocore.utils.callbacks import add_integration_callbacks
    from yolocore.utils.callbacks import get_default_callbacks as again

    assert again is get_default_callbacks
    assert callable(add_integration_callbacks)


def test_hooks_are_free_of_torch_and_heavy_modules():
    heavy = ("torch", "cv2", "numpy", "pydantic", "matplotlib", "yolocore.config", "packaging")
    code = f"import sys, yolocore.hooks; print([m for m in {heavy!r} if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_unknown_event_is_a_value_error_with_suggestion():
    from yolocore.hooks.events import check_event

    with pytest.raises(ValueError, match=r"on_trian_end.*Did you mean.*on_train_end") as caught:
        check_event("on_trian_end")
    assert isinstance(caught.value, PluginError)
