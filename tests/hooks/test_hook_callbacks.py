"""The user's own functions."""

from __future__ import annotations

import copy
import logging
from functools import partial

import pytest
from hook_fakes import FakeEntryPoint, recorder

from yolocore.errors import ConfigTypeError, PluginError
from yolocore.hooks import Callbacks, get_default_callbacks


def test_functions_run_in_the_order_added_and_a_double_runs_twice(make_manager, component):
    manager = make_manager()
    first = lambda t: t.seen.append(1)  # noqa: E731
    for function in (first, lambda x: x.seen.append(2), first):
        manager.add_callback("on_train_start", function)
    manager.bind(component).on_train_start(trainer=component)
    assert component.seen == [1, 2, 1]


def test_the_lists_can_be_edited_directly(make_manager, component):
    manager = make_manager()
    assert isinstance(manager.callbacks["on_train_end"], list)
    manager.callbacks["on_train_end"].append(lambda t: t.seen.append("a"))
    hooks = manager.bind(component)
    manager.callbacks["on_train_end"] = [lambda t: t.seen.append("b")]
    hooks.on_train_end(trainer=component)
    del manager.callbacks["on_train_end"]
    hooks.on_train_end(trainer=component)
    assert component.seen == ["b"]


def test_any_callable_with_one_argument_is_accepted(make_manager, component):
    class Method:
        def handle(self, anything):
            anything.seen.append("method")

        def __call__(self, anything):
            anything.seen.append("object")

    manager = make_manager()
    for function in (Method().handle, Method(), partial(lambda tag, c: c.seen.append(tag), "partial")):
        manager.add_callback("on_export_end", function)
    manager.add_callback("on_export_end", id)
    manager.bind(component).on_export_end(exporter=component)
    assert component.seen == ["method", "object", "partial"]


@pytest.mark.parametrize("function", [lambda: None, lambda a, b: None, "text", 3])
def test_what_cannot_be_called_with_the_component_is_refused(make_manager, function):
    with pytest.raises(ConfigTypeError, match="one argument, the trainer"):
        make_manager().add_callback("on_train_start", function)


@pytest.mark.parametrize("event", ["on_train_strat", "train_start", "ON_TRAIN_START", ""])
def test_unknown_event_raises(make_manager, event):
    with pytest.raises(ValueError, match="unknown event"):
        make_manager().add_callback(event, lambda t: None)


def test_misspelt_key_in_the_dict_is_found_when_a_component_is_made(make_manager, component):
    manager = make_manager()
    manager.callbacks["on_trian_start"].append(lambda t: None)
    with pytest.raises(PluginError, match="Did you mean 'on_train_start'"):
        manager.bind(component)
    with pytest.raises(PluginError, match="on_trian_start"):
        make_manager(callbacks={"on_trian_start": [print]})


def test_the_final_event_can_be_waited_for(make_manager, component):
    manager = make_manager()
    manager.add_callback("on_final_eval_end", lambda t: t.seen.append(t.context.event))
    manager.bind(component).on_final_eval_end(trainer=component)
    assert component.seen == ["on_final_eval_end"]


def test_exception_of_a_user_function_propagates_and_stops_the_event(make_manager, component):
    def fail(trainer):
        raise KeyError("mine")

    manager = make_manager()
    manager.add_callback("on_train_start", fail)
    manager.add_callback("on_train_start", lambda t: t.seen.append("after"))
    with pytest.raises(KeyError, match="mine"):
        manager.bind(component).on_train_start(trainer=component)
    assert component.seen == []


def test_teardown_runs_every_handler_and_raises_the_first_exception(make_manager, component):
    def fail(trainer):
        raise KeyError("first")

    def fail_too(trainer):
        raise SystemExit(3)

    manager = make_manager(("late", recorder("late", "teardown", trylast=True)))
    for function in (fail, fail_too, lambda t: t.seen.append("after")):
        manager.add_callback("teardown", function)
    with pytest.raises(KeyError, match="first"):
        manager.bind(component).teardown(trainer=component)
    assert component.seen == ["after", "late"]


def test_a_function_added_by_a_handler_runs_from_the_next_time_on(make_manager, component):
    manager = make_manager()

    def add(trainer):
        trainer.seen.append("add")
        manager.callbacks["on_train_batch_end"].append(lambda t: t.seen.append("added"))

    manager.add_callback("on_train_batch_end", add)
    hooks = manager.bind(component)
    hooks.on_train_batch_end(trainer=component)
    assert component.seen == ["add"]


def test_given_mapping_is_copied_and_callbacks_object_shared(make_manager):
    mapping = get_default_callbacks()
    mapping["on_train_end"].append(print)
    manager = make_manager(callbacks=mapping)
    manager.add_callback("on_train_end", repr)
    assert len(mapping["on_train_end"]) == 2
    assert manager.callbacks["on_train_end"][1:] == [print, repr]

    shared = Callbacks()
    manager = make_manager(callbacks=shared)
    shared.add("on_train_end", print)
    assert manager.callbacks is shared


def test_clear_removes_functions_and_plugins_but_not_built_ins(make_manager, component):
    manager = make_manager(
        ("tracker", recorder("tracker", "on_train_end", "on_train_start")),
        builtins=[("csv", recorder("csv", "on_train_end")())],
    )
    hooks = manager.bind(component)
    manager.add_callback("on_train_end", lambda t: t.seen.append("user"))
    hooks.on_train_end(trainer=component)
    assert component.seen == ["csv", "tracker", "user"]

    manager.clear_callback("on_train_end")
    assert manager.callbacks["on_train_end"] == []
    hooks.on_train_end(trainer=component)
    hooks.on_train_start(trainer=component)
    assert component.seen[3:] == ["csv", "tracker"]

    manager.reset_callbacks()
    assert manager.callbacks == get_default_callbacks()
    hooks.on_train_end(trainer=component)
    assert component.seen[5:] == ["csv", "tracker"]
    with pytest.raises(PluginError):
        manager.clear_callback("nothing")


def test_too_late_is_said_once(make_manager, component, caplog):
    manager = make_manager()
    hooks = manager.bind(component)
    manager.add_callback("on_train_start", id)
    assert not caplog.records
    hooks.on_train_start(trainer=component)
    manager.add_callback("on_train_start", id)
    manager.add_callback("on_train_start", id)
    assert [r.levelno for r in caplog.records] == [logging.WARNING]
    assert "on_train_start cannot fire any more" in caplog.text
    manager.add_callback("on_train_epoch_start", id)
    assert len(caplog.records) == 1


def test_too_late_ends_with_the_run(make_manager, component, caplog):
    manager = make_manager()
    hooks = manager.bind(component)
    hooks.on_train_end(trainer=component)
    manager.add_callback("on_fit_epoch_end", id)
    manager.add_callback("teardown", id)
    assert len(caplog.records) == 1
    hooks.teardown(trainer=component)
    manager.add_callback("on_train_start", id)
    assert len(caplog.records) == 1

    hooks.on_predict_start(predictor=component)
    manager.add_callback("on_predict_start", id)
    assert len(caplog.records) == 2
    hooks.on_predict_end(predictor=component)
    manager.add_callback("on_predict_start", id)
    assert len(caplog.records) == 2
    manager.mark_fired("on_train_start")
    manager.add_callback("on_train_start", id)
    assert len(caplog.records) == 3


def test_functions_added_by_users_are_listed(make_manager):
    manager = make_manager(FakeEntryPoint("a", recorder("a", "on_train_end")))
    manager.add_callback("on_train_end", print)
    manager.add_callback("teardown", repr)
    assert list(manager.callbacks.functions()) == [("on_train_end", print), ("teardown", repr)]


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, Callbacks.copy])
def test_copies_are_independent(duplicate):
    callbacks = Callbacks()
    callbacks.add("on_train_end", print)
    other = duplicate(callbacks)
    assert type(other) is Callbacks
    assert other == callbacks
    other.add("on_train_end", repr)
    assert callbacks["on_train_end"][1:] == [print]
