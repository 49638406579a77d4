"""What a plugin's faults do to a run: nothing."""

from __future__ import annotations

import time

import pytest
from hook_fakes import FakeComponent, recorder

from yolocore.errors import PluginError
from yolocore.hooks import EVENTS, HookManager
from yolocore.hooks.events import ARGUMENTS
from yolocore.hooks.isolation import Guard
from yolocore.hooks.plugin import Plugin
from yolocore.hooks.watchdog import Watchdog


def failing(event: str, error: BaseException) -> type:
    def fail(self):
        raise error

    return type("Failing", (), {event: fail})


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("error", [ValueError("boom"), SystemExit(2)])
def test_a_plugin_that_raises_is_off_and_the_rest_runs(event, error, make_manager, caplog):
    component = FakeComponent()
    manager = make_manager(("bad", failing(event, error)), ("good", {"trainer": recorder}["trainer"]("good")))
    manager.add_callback(event, lambda c: c.seen.append("user"))
    hooks = manager.bind(component)
    for _ in range(2):
        getattr(hooks, event)(**{ARGUMENTS[event]: component})
    assert component.seen == ["user", "user"]
    (record,) = caplog.records
    assert "'bad' (dist-bad 1.0)" in record.message
    assert event in record.message
    assert record.exc_info[1] is error
    report = manager.plugins()[0]
    assert (report.state, report.calls, report.errors) == ("off", 1, 1)
    assert type(error).__name__ in report.reason
    assert event in report.reason
    assert "plugin 'bad' (dist-bad 1.0): off, 1 calls" in manager.summary()


def test_a_plugin_that_is_off_gets_no_teardown(make_manager, component):
    plugin = type("P", (), {"on_train_start": lambda self: 1 / 0, "teardown": recorder("P", "teardown").teardown})
    hooks = make_manager(("p", plugin)).bind(component)
    hooks.on_train_start(trainer=component)
    hooks.teardown(trainer=component)
    assert component.seen == []


def test_keyboard_interrupt_passes(make_manager, component):
    manager = make_manager(("bad", failing("on_train_start", KeyboardInterrupt())))
    with pytest.raises(KeyboardInterrupt):
        manager.bind(component).on_train_start(trainer=component)
    assert manager.plugins()[0].state == "active"


def test_raise_policy_lets_everything_pass(make_manager, component):
    manager = make_manager(("bad", failing("on_train_start", ValueError("boom"))), errors="raise")
    hooks = manager.bind(component)
    for _ in range(2):
        with pytest.raises(ValueError, match="boom"):
            hooks.on_train_start(trainer=component)
    assert manager.plugins()[0].errors == 2


def test_raise_policy_still_finishes_teardown(make_manager, component):
    manager = make_manager(
        ("a", failing("teardown", ValueError("boom"))), ("b", recorder("b", "teardown")), errors="raise"
    )
    with pytest.raises(ValueError, match="boom"):
        manager.bind(component).teardown(trainer=component)
    assert component.seen == ["b"]


def test_built_ins_follow_the_rule(make_manager, component, caplog):
    manager = make_manager(builtins=[("csv", failing("on_train_start", OSError("disk full"))())])
    manager.bind(component).on_train_start(trainer=component)
    assert manager.plugins()[0].state == "off"
    assert "built-in 'csv'" in caplog.text


def test_report_counts_calls_and_time(make_manager, component):
    class Slow:
        def on_train_batch_end(self, trainer):
            time.sleep(0.01)

        def on_val_end(self, validator):
            pass

    manager = make_manager(("slow", Slow), builtins=[("csv", recorder("csv", "on_train_batch_end")())])
    hooks = manager.bind(component)
    for _ in range(3):
        hooks.on_train_batch_end(trainer=component)
    csv, slow = manager.plugins()
    assert (csv.name, csv.calls, csv.distribution) == ("csv", 3, "yolocore")
    assert (slow.name, slow.distribution, slow.version, slow.state) == ("slow", "dist-slow", "1.0", "active")
    assert (slow.calls, slow.errors, slow.reason) == (3, 0, "")
    assert slow.hooks == ("on_train_batch_end", "on_val_end")
    assert 30 <= slow.total_ms < 3000
    assert slow.hook_ms == {"on_train_batch_end": slow.total_ms}
    assert "csv" not in manager.summary()


def wait_for(condition, seconds=60.0):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)
    assert condition()


def test_a_hanging_handler_is_named_while_it_hangs(caplog):
    guard = Guard("isolate")
    guard.watchdog = Watchdog(limit=0.1)
    plugin = Plugin("slow", "dist-slow", "1.0")
    guard.call(plugin, "on_train_start", wait_for, lambda: "has been in on_train_start" in caplog.text)
    assert "plugin 'slow' (dist-slow 1.0)" in caplog.text
    time.sleep(0.15)
    assert len(caplog.records) == 1


def test_quick_calls_are_not_named_and_the_thread_ends(caplog):
    watchdog = Watchdog(limit=0.3)  # less than a busy machine may pause between two lines
    plugin = Plugin("quick", "dist", "1.0")
    watchdog.leave(watchdog.enter(plugin, "on_train_start"))
    thread = watchdog._thread
    assert thread.daemon
    for _ in range(5):
        watchdog.leave(watchdog.enter(plugin, "on_train_start"))
    wait_for(lambda: not thread.is_alive())
    assert watchdog._thread is None
    assert not caplog.records
    watchdog.leave(watchdog.enter(plugin, "on_train_start"))
    assert watchdog._thread.is_alive()


def test_nested_calls_are_both_watched(caplog):
    watchdog = Watchdog(limit=0.3)
    outer = watchdog.enter(Plugin("outer", "d", "1"), "on_fit_epoch_end")
    inner = watchdog.enter(Plugin("inner", "d", "1"), "on_val_end")
    watchdog.leave(inner)
    wait_for(lambda: "'outer'" in caplog.text)
    assert "'inner'" not in caplog.text
    watchdog.leave(outer)


def test_limit_is_five_seconds():
    assert Guard("isolate").watchdog.limit == 5.0


def test_no_thread_without_third_party_plugins(make_manager, component):
    manager = make_manager(builtins=[("csv", recorder("csv", "on_train_start")())])
    manager.bind(component).on_train_start(trainer=component)
    assert manager._guard.watchdog._thread is None


def test_state_is_gathered_and_given_back_by_name(make_manager):
    class Tracker:
        def __init__(self):
            self.run = "new"

        def state_dict(self):
            return {"run": self.run, "steps": [1, 2.5, None], "flags": {"a": True}}

        def load_state_dict(self, state):
            self.run = state["run"]

    manager = make_manager(("tracker", Tracker), ("stateless", recorder("stateless", "on_train_end")))
    manager.plugin("tracker").run = "abc"
    states = manager.state_dict()
    assert states == {"tracker": {"run": "abc", "steps": [1, 2.5, None], "flags": {"a": True}}}

    resumed = make_manager(("tracker", Tracker))
    resumed.load_state_dict(states)
    assert resumed.plugin("tracker").run == "abc"

    without = make_manager()
    without.load_state_dict(states)
    assert without.state_dict() == states


@pytest.mark.parametrize(
    "state",
    [object(), None, {"x": object()}, {"x": [{1, 2}]}, {(1,): 2}, {"x": type("Fake", (str,), {})("a")}],
)
def test_a_state_that_no_checkpoint_can_hold_switches_the_plugin_off(make_manager, state, caplog):
    manager = make_manager(("bad", type("Bad", (), {"state_dict": lambda self: state})))
    assert manager.state_dict() == {}
    assert manager.plugins()[0].state == "off"
    assert "TypeError in state_dict" in manager.plugins()[0].reason


def test_a_tensor_may_be_in_a_state(make_manager):
    torch = pytest.importorskip("torch")
    state = {"weights": torch.zeros(2)}
    manager = make_manager(("good", type("Good", (), {"state_dict": lambda self: state})))
    assert manager.state_dict() == {"good": state}


def test_failing_state_methods_are_contained(make_manager):
    def fail(self, state=None):
        raise RuntimeError("no")

    manager = make_manager(("a", type("A", (), {"state_dict": fail})), ("b", type("B", (), {"load_state_dict": fail})))
    manager.load_state_dict({"b": {}})
    assert manager.state_dict() == {"b": {}}
    assert [report.state for report in manager.plugins()] == ["off", "off"]


def test_raise_policy_makes_a_broken_plugin_an_error():
    from hook_fakes import FakeEntryPoint

    broken = FakeEntryPoint("x", raises=ImportError("no module named wandb"))
    with pytest.raises(PluginError, match=r"'x' \(dist-x 1.0\).*no module named wandb"):
        HookManager(kind="trainer", entry_points=[broken], errors="raise")
