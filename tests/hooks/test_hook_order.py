"""Who is called when: built-ins, plugins, the user's functions, trylast plugins."""

from __future__ import annotations

import logging
import timeit
import types

import pytest
from hook_fakes import FakeComponent, recorder

from yolocore.errors import ConfigError, PluginError
from yolocore.hooks import EVENTS, FINAL_EVENT, HookManager, hookimpl
from yolocore.hooks.events import ARGUMENTS


def test_order_of_all_kinds(make_manager, component):
    class Decorated:
        @hookimpl(trylast=True)
        def on_train_end(self, trainer):
            trainer.seen.append("m-decorated-last")

    manager = make_manager(
        ("z", recorder("z", "on_train_end")),
        ("m", Decorated),
        ("b-last", recorder("b-last", "on_train_end", trylast=True)),
        ("a", recorder("a", "on_train_end")),
        ("y-first", recorder("y-first", "on_train_end", tryfirst=True)),
        builtins=[
            ("csv", recorder("csv", "on_train_end", trylast=True)()),
            ("plots", recorder("plots", "on_train_end")()),
        ],
    )
    manager.register(recorder("by-hand", "on_train_end")(), "by-hand")
    manager.add_callback("on_train_end", lambda t: t.seen.append("user"))
    manager.bind(component).on_train_end(trainer=component)
    assert component.seen == [
        *("plots", "y-first", "a", "z", "by-hand", "user", "csv", "b-last", "m-decorated-last"),
    ]


def test_every_event_reaches_method_function_and_user(make_manager):
    manager = make_manager(("all", recorder_of_all()), ("module", module_of_all()))
    for event in (*EVENTS, FINAL_EVENT):
        manager.add_callback(event, lambda c: c.seen.append(("user", c.context.event)))
    for event in (*EVENTS, FINAL_EVENT):
        component = FakeComponent()
        getattr(manager.bind(component), event)(**{ARGUMENTS[event]: component})
        assert component.seen == [("class", event), ("module", event), ("user", event)]
        assert component.context.event == event


def handlers(label):
    namespace = {}
    for event in (*EVENTS, FINAL_EVENT):
        argument = ARGUMENTS[event]
        exec(f"def {event}({argument}): {argument}.seen.append(({label!r}, {event!r}))", namespace)
    return {event: namespace[event] for event in (*EVENTS, FINAL_EVENT)}


def recorder_of_all():
    return type("All", (), {name: staticmethod(function) for name, function in handlers("class").items()})


def module_of_all():
    module = types.ModuleType("module_plugin")
    for name, function in handlers("module").items():
        function.__module__ = "module_plugin"
        setattr(module, name, function)
    return module


def test_argument_forms(make_manager, component):
    class Forms:
        def on_train_start(self):
            component.seen.append("none")

        def on_train_end(self, *, trainer):
            trainer.seen.append("keyword")

        @classmethod
        def teardown(cls, trainer):
            trainer.seen.append(cls.__name__)

        @hookimpl(specname="on_model_save")
        def saved(self, trainer):
            trainer.seen.append("specname")

    hooks = make_manager(("forms", Forms)).bind(component)
    hooks.on_train_start(trainer=component)
    hooks.on_train_end(trainer=component)
    hooks.teardown(trainer=component)
    hooks.on_model_save(trainer=component)
    assert component.seen == ["none", "keyword", "Forms", "specname"]


def test_a_class_is_made_once_per_manager(make_manager):
    plugin = recorder("x", "on_train_end")
    first, second = make_manager(("x", plugin)), make_manager(("x", plugin))
    assert isinstance(first.plugin("x"), plugin)
    assert first.plugin("x") is not second.plugin("x")
    instance = plugin()
    assert make_manager(("x", instance)).plugin("x") is instance


def test_a_second_component_shares_plugins_and_functions(make_manager, component):
    manager = make_manager(("x", recorder("x", "on_val_end")))
    manager.add_callback("on_val_end", lambda v: v.seen.append("user"))
    validator = FakeComponent()
    manager.bind(component)
    manager.bind(validator).on_val_end(validator=validator)
    assert validator.seen == ["x", "user"]
    assert component.context.event == ""


@pytest.mark.parametrize("given", [{}, {"validator": 1}, {"trainer": 1, "x": 2}])
def test_wrong_call_is_a_type_error(make_manager, component, given):
    with pytest.raises(TypeError, match="with trainer="):
        make_manager().bind(component).on_train_start(**given)


def test_misspelt_event_in_the_engine_is_an_attribute_error(make_manager, component):
    with pytest.raises(AttributeError, match="Did you mean 'on_train_start'"):
        make_manager().bind(component).on_trian_start(trainer=component)


def test_register_and_unregister(make_manager, component):
    manager = make_manager()
    plugin = recorder("mine", "on_train_end")()
    manager.register(plugin, "mine")
    hooks = manager.bind(component)
    hooks.on_train_end(trainer=component)
    with pytest.raises(PluginError, match="registered already"):
        manager.register(recorder("other", "on_train_end")(), "mine")
    assert manager.unregister("mine") is plugin
    hooks.on_train_end(trainer=component)
    assert component.seen == ["mine"]
    with pytest.raises(PluginError, match="no plugin 'mine'"):
        manager.unregister("mine")


def test_unknown_kind_and_policy():
    with pytest.raises(ConfigError, match="Did you mean 'trainer'"):
        HookManager(kind="trainr", entry_points=())
    with pytest.raises(ConfigError, match="'isolate' and 'raise'"):
        HookManager(kind="trainer", errors="ignore", entry_points=())  # type: ignore[arg-type]


def test_trace_names_plugins_with_versions(make_manager, component, caplog, monkeypatch):
    monkeypatch.setenv("YOLOCORE_TRACE_HOOKS", "1")
    caplog.set_level(logging.INFO)
    manager = make_manager(
        ("late", recorder("late", "on_train_end", trylast=True)), ("early", recorder("early", "on_train_end"))
    )
    manager.add_callback("on_train_end", print_seen)
    hooks = manager.bind(component)
    hooks.on_train_end(trainer=component)
    hooks.on_train_start(trainer=component)
    assert caplog.messages == [
        f"on_train_end -> early 1.0, {__name__}.print_seen, late 1.0",
        "on_train_start -> nobody",
    ]


def print_seen(trainer):
    assert trainer.seen == ["early"]


def test_firing_with_nothing_attached_takes_less_than_three_microseconds(make_manager, component):
    hooks = make_manager().bind(component)
    times = timeit.repeat(lambda: hooks.on_train_batch_end(trainer=component), number=1000, repeat=15)
    assert min(times) / 1000 < 3e-6
