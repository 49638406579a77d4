"""What plugins add: tasks, layers, formats, trackers, transforms, commands."""

from __future__ import annotations

import pytest
import typer
from hook_fakes import FakeEntryPoint

from yolocore.errors import ConfigError, PluginError
from yolocore.hooks import ExportFormat, ModelRecord, Registry, TaskRecord, TrackerRecord, TransformRecord
from yolocore.hooks.references import reference, references, resolve

RECORDS = {
    "tasks": TaskRecord("count", int, int, int, int, "-count", "c.yaml", "c8.yaml"),
    "modules": int,
    "models": ModelRecord("birds.pt"),
    "export_formats": ExportFormat("ONNX", "onnx", ".onnx", True, True),
    "trackers": TrackerRecord("byte", int),
    "transforms": TransformRecord("rain", int),
}


def registering(kind: str, *names: str, value=None) -> type:
    def hook(self, register):
        for name in names:
            register.register(name, RECORDS[kind] if value is None else value)

    return type("Registering", (), {f"register_{kind}": hook})


@pytest.mark.parametrize("kind", RECORDS)
def test_built_ins_and_plugins_fill_a_registry(kind, make_manager):
    manager = make_manager(
        ("extra", registering(kind, "b")), builtins=[("core", registering(kind, "a")())], kind="model"
    )
    registry = manager.registry(kind)
    assert dict(registry) == {"a": RECORDS[kind], "b": RECORDS[kind]}
    assert registry.owner("a").startswith("built-in 'core' (yolocore")
    assert registry.owner("b") == "plugin 'extra' (dist-extra 1.0)"
    assert manager.registry(kind) is registry


@pytest.mark.parametrize("kind", RECORDS)
def test_a_name_is_given_once(kind, make_manager, caplog):
    points = [("first", registering(kind, "a")), ("second", registering(kind, "new", "a"))]
    manager = make_manager(*points)
    assert list(manager.registry(kind)) == ["a"]
    first, second = manager.plugins()
    assert (first.state, second.state) == ("active", "off")
    for text in (
        "plugin 'first' (dist-first 1.0)",
        "plugin 'second' (dist-second 1.0)",
        "'a' is registered twice",
    ):
        assert text in second.reason
    with pytest.raises(PluginError, match="registered twice"):
        make_manager(*points, errors="raise").registry(kind)


def test_built_ins_that_collide_are_an_error(make_manager):
    builtins = [("one", registering("modules", "a")()), ("two", registering("modules", "a")())]
    with pytest.raises(PluginError, match=r"layer 'a' is registered twice.*'one'.*'two'"):
        make_manager(builtins=builtins).registry("modules")


@pytest.mark.parametrize("kind", RECORDS)
def test_a_value_of_the_wrong_type_is_refused(kind, make_manager):
    manager = make_manager(("bad", registering(kind, "a", value="text")))
    assert not manager.registry(kind)
    assert "it has to be" in manager.plugins()[0].reason


def test_looking_up_an_unknown_name(make_manager):
    registry = make_manager(("p", registering("modules", "Conv", "C2f"))).registry("modules")
    with pytest.raises(PluginError, match=r"unknown layer 'Konv'. Did you mean 'Conv'\? Known: C2f, Conv.") as caught:
        registry["Konv"]
    assert isinstance(caught.value, KeyError)
    assert "Konv" not in registry
    assert registry.get("Konv") is None
    assert len(registry) == 2
    with pytest.raises(PluginError, match="none is registered"):
        make_manager().registry("tasks")["detect"]


def test_aliases():
    registry = Registry("export_formats")
    registry.register("engine", RECORDS["export_formats"], aliases=("tensorrt", "trt"))
    assert registry["trt"] is registry["engine"]
    with pytest.raises(PluginError, match="'trt' is registered twice"):
        registry.register("trt", RECORDS["export_formats"])


def test_unknown_registry(make_manager):
    with pytest.raises(ConfigError, match="tasks"):
        make_manager().registry("layers")


def test_a_plugin_registered_later_is_asked_too(make_manager):
    manager = make_manager()
    assert not manager.registry("modules")
    manager.register(registering("modules", "New")(), "new")
    assert list(manager.registry("modules")) == ["New"]
    manager.unregister("new")
    assert not manager.registry("modules")


def commands_of(*names: str, group: str = "") -> type:
    def register_commands(self, app):
        for name in names:
            app.command(name)(lambda: None)
        if group:
            app.add_typer(typer.Typer(), name=group)

    return type("Commands", (), {"register_commands": register_commands})


def names_of(app):
    return [entry.name or entry.callback.__name__ for entry in (*app.registered_commands, *app.registered_groups)]


def test_commands(make_manager):
    app = typer.Typer()

    @app.command()
    def train():
        pass

    manager = make_manager(
        ("a", commands_of("label", group="hub")),
        ("b", commands_of("extra", "train")),
        ("c", commands_of(group="label")),
        ("d", commands_of("fine")),
        kind="cli",
    )
    manager.register_commands(app)
    assert names_of(app) == ["train", "label", "fine", "hub"]
    a, b, c, d = manager.plugins()
    assert [report.state for report in (a, b, c, d)] == ["active", "off", "off", "active"]
    assert "command 'train' is registered twice: by yolocore and by plugin 'b' (dist-b 1.0)" in b.reason
    assert "by plugin 'a' (dist-a 1.0) and by plugin 'c' (dist-c 1.0)" in c.reason


def at_top_level(trainer):
    return trainer


def test_functions_travel_to_other_processes_by_name(make_manager):
    manager = make_manager(FakeEntryPoint("x", registering("modules", "a")))
    manager.add_callback("on_train_end", at_top_level)
    names = references(manager.callbacks)
    assert names == {"on_train_end": [f"{__name__}:at_top_level"]}
    assert resolve(reference(at_top_level)) is at_top_level


def test_functions_that_cannot_travel_are_named():
    def closure(trainer):
        pass

    bound = [].append
    for function in (lambda t: None, closure, bound, FakeEntryPoint("x").load):
        with pytest.raises(PluginError, match=r"re-imported.*top level of a module"):
            reference(function)
    with pytest.raises(PluginError, match="no_such"):
        resolve("no_such_module:f")
    imposter = lambda t: None  # noqa: E731
    imposter.__qualname__ = "at_top_level"
    with pytest.raises(PluginError, match="not the function that was added"):
        reference(imposter)
