"""Discovery, selection, permission, ranks, broken plugins, arguments."""

from __future__ import annotations

import logging

import pytest
from hook_fakes import FakeEntryPoint, recorder
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from yolocore.errors import ConfigError, PluginError
from yolocore.hooks import hookimpl, permitted_by
from yolocore.hooks.discovery import candidates, entry_point_names, rescan

NAMES = ("clearml", "mlflow", "wandb")


def three() -> list[FakeEntryPoint]:
    return [FakeEntryPoint(name, recorder(name, "on_train_end")) for name in NAMES]


def active(manager):
    return [report.name for report in manager.plugins() if report.state == "active"]


@pytest.mark.parametrize(
    ("select", "expected"),
    [
        (None, NAMES),
        ("", NAMES),
        ("wandb", ["wandb"]),
        ("wandb,-clearml", ["wandb"]),
        (" wandb , mlflow ", ["mlflow", "wandb"]),
        ("-clearml", ["mlflow", "wandb"]),
        ("-clearml,-wandb", ["mlflow"]),
        ("wandb,-wandb", []),
        ("none", []),
    ],
)
def test_selection(select, expected, make_manager, monkeypatch):
    builtin = [("csv", recorder("csv", "on_train_end")())]
    manager = make_manager(*three(), select=select, builtins=builtin)
    assert active(manager) == ["csv", *expected]
    monkeypatch.setenv("YOLOCORE_PLUGINS", select or "")
    assert active(make_manager(*three(), builtins=builtin)) == ["csv", *expected]


def test_selection_by_argument_beats_the_environment(make_manager, monkeypatch):
    monkeypatch.setenv("YOLOCORE_PLUGINS", "wandb")
    assert active(make_manager(*three(), select="mlflow")) == ["mlflow"]


@pytest.mark.parametrize("select", ["wandbb", "-wandbb", "wandb,wandbb"])
def test_unknown_name_in_a_selection(select, make_manager, monkeypatch):
    with pytest.raises(ConfigError, match=r"plugins='.*no plugin 'wandbb'.*Did you mean 'wandb'.*clearml, mlflow"):
        make_manager(*three(), select=select)
    monkeypatch.setenv("YOLOCORE_PLUGINS", select)
    with pytest.raises(ConfigError, match="YOLOCORE_PLUGINS"):
        make_manager(*three())


def test_not_selected_and_not_permitted_are_not_imported(make_manager):
    points = three()
    manager = make_manager(
        *points, select="-clearml", permitted=permitted_by({"wandb": False, "mlflow": True, "hub": False})
    )
    assert active(manager) == ["mlflow"]
    assert [point.loads for point in points] == [0, 1, 0]
    clearml, _, wandb = manager.plugins()
    assert (clearml.state, clearml.reason) == ("blocked", "not selected by plugins='-clearml'")
    assert wandb.state == "blocked"
    assert "settings: wandb is False" in wandb.reason
    assert manager.plugin("wandb") is None


def test_platform_has_the_switch_of_hub():
    permitted = permitted_by({"hub": False})
    assert not permitted("platform")[0]
    assert not permitted("hub")[0]
    assert permitted("anything")[0]


def test_rank_zero_only(make_manager):
    point = FakeEntryPoint("tracker", recorder("tracker", "on_train_end", rank_zero_only=True))
    builtin = [("csv", recorder("csv", "on_train_end", rank_zero_only=True)())]
    assert active(make_manager(point, builtins=builtin)) == ["csv", "tracker"]
    manager = make_manager(point, builtins=builtin, rank=1)
    assert active(manager) == []
    assert {report.reason for report in manager.plugins()} == {"runs on rank 0 only; this is rank 1"}


def test_attach_to(make_manager):
    point = FakeEntryPoint("tracker", recorder("tracker", "on_train_end", attach_to=("trainer",)))
    assert active(make_manager(point)) == ["tracker"]
    assert active(make_manager(point, kind="model")) == ["tracker"]
    (report,) = make_manager(point, kind="predictor").plugins()
    assert (report.state, report.reason) == ("blocked", "attaches to trainer; this is a predictor")


class Misspelt:
    def on_trian_end(self, trainer):
        pass


class DecoratedMisspelt:
    @hookimpl
    def train_end(self, trainer):
        pass


class WrongArgument:
    def on_train_end(self, model):
        pass


class WrongDefaultArgument:
    def on_train_end(self, trainer, verbose=False):
        pass


class Star:
    def on_train_end(self, *args):
        pass


class NotAFunction:
    on_train_end = "text"


class Coroutine:
    async def on_train_end(self, trainer):
        pass


class Generator:
    def on_train_end(self, trainer):
        yield


class Wrapper:
    @hookimpl(wrapper=True)
    def on_train_end(self, trainer):
        return (yield)


MISTAKES = [
    (Misspelt, r"no hook 'on_trian_end'\. Did you mean 'on_train_end'"),
    (DecoratedMisspelt, r"no hook 'train_end'\. Did you mean 'on_train_end'"),
    (WrongArgument, "on_train_end takes an argument 'model'; a hook gives only 'trainer'"),
    (WrongDefaultArgument, "takes an argument 'verbose'"),
    (Star, r"takes \*args; name the argument 'trainer'"),
    (NotAFunction, "no function or method"),
    (Coroutine, "coroutine"),
    (Generator, "generator"),
    (Wrapper, "hook wrapper"),
]


@pytest.mark.parametrize(("plugin", "message"), MISTAKES)
def test_mistakes_are_listed_and_raised_by_check_pending(plugin, message, make_manager, component, caplog):
    manager = make_manager(("bad", plugin), ("good", recorder("good", "on_train_end")))
    bad, good = manager.plugins()
    assert (bad.state, good.state) == ("broken", "active")
    assert "plugin 'bad' (dist-bad 1.0) is broken" in caplog.text
    manager.bind(component).on_train_end(trainer=component)
    assert component.seen == ["good"]
    with pytest.raises(PluginError, match=r"plugin 'bad' \(dist-bad 1.0\): .*" + message):
        manager.check_pending()


@pytest.mark.parametrize(("plugin", "message"), MISTAKES)
def test_mistakes_in_a_plugin_registered_by_hand_are_errors_at_once(plugin, message, make_manager):
    manager = make_manager()
    with pytest.raises(PluginError, match=r"plugin 'mine' .*" + message):
        manager.register(plugin(), "mine")
    assert manager.plugins() == []


def test_a_class_registered_by_hand_lacks_parentheses(make_manager):
    with pytest.raises(PluginError, match="did you forget the parentheses"):
        make_manager().register(recorder("x", "on_train_end"), "x")


def test_check_pending_is_silent_without_mistakes(make_manager):
    make_manager(*three(), FakeEntryPoint("broken", raises=ImportError("x"))).check_pending()


class Untouchable:
    """Like a lazily imported SDK: looking at it would import it."""

    def __getattr__(self, name):
        raise AssertionError(f"{name} was looked up")


def test_functions_that_are_no_hooks_are_left_alone(make_manager):
    class Fine:
        onward = 1
        on_something = 3

        def helper(self, x):
            pass

        lazy = Untouchable()

        @property
        def on_broken_property(self):
            raise AssertionError("properties are not run")

        @hookimpl(optionalhook=True)
        def on_future_event(self, trainer):
            pass

    assert active(make_manager(("fine", Fine))) == ["fine"]


@pytest.mark.parametrize("error", [ImportError("No module named 'wandb'"), SystemExit(1), SyntaxError("bad")])
def test_a_plugin_that_cannot_be_imported_is_listed(error, make_manager, caplog):
    manager = make_manager(FakeEntryPoint("bad", raises=error), *three())
    assert active(manager) == list(NAMES)
    report = manager.plugins()[0]
    assert report.state == "broken"
    assert f"fake_module:Plugin cannot be loaded: {type(error).__name__}: {error}" in report.reason
    assert len(caplog.records) == 1


def test_a_constructor_that_raises_is_listed(make_manager):
    def fail(self):
        raise RuntimeError("no licence")

    assert "no licence" in make_manager(("bad", type("Bad", (), {"__init__": fail}))).plugins()[0].reason


def test_the_model_facade_does_not_repeat_what_components_say(make_manager, caplog):
    make_manager(FakeEntryPoint("bad", raises=ImportError("x")), kind="model")
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_one_name_from_two_distributions(make_manager):
    plugin = recorder("wandb", "on_train_end")
    points = [FakeEntryPoint("wandb", plugin, distribution=name) for name in ("yolocore-wandb", "my-wandb")]
    manager = make_manager(*points, FakeEntryPoint("mlflow", plugin))
    assert active(manager) == ["mlflow"]
    for report in manager.plugins()[1:]:
        assert report.state == "broken"
        assert "my-wandb 1.0 and yolocore-wandb 1.0" in report.reason
    assert [point.loads for point in points] == [0, 0]


def test_the_name_of_a_built_in_is_taken(make_manager):
    builtin = recorder("csv", "on_train_end")()
    manager = make_manager(("csv", recorder("x", "on_train_end")), builtins=[("csv", builtin)])
    assert [(r.distribution, r.state) for r in manager.plugins()] == [
        ("yolocore", "active"),
        ("dist-csv", "broken"),
    ]


@pytest.mark.parametrize(("required", "state"), [(">=0.0.1", "active"), (">=99,<100", "broken"), ("new", "broken")])
def test_core_version_required_by_a_plugin(required, state, make_manager):
    (report,) = make_manager(("x", recorder("x", "on_train_end", requires_yolocore=required))).plugins()
    assert report.state == state
    if state == "broken":
        assert required in report.reason


def test_a_newer_core_is_named_before_the_hooks_it_would_have(make_manager):
    plugin = type("New", (), {"on_galaxy_end": lambda self: None, "requires_yolocore": ">=99"})
    assert "needs yolocore >=99" in make_manager(("new", plugin)).plugins()[0].reason


def test_damaged_metadata_does_not_stop_the_scan():
    point = FakeEntryPoint("x")
    broken = type("NoDist", (), {"name": "y", "value": "m:o", "dist": None})()
    found = candidates([broken, point])
    assert [(c.name, c.origin) for c in found] == [("x", "dist-x 1.0"), ("y", "unknown unknown")]


def test_installed_metadata_is_read_once(monkeypatch):
    import importlib_metadata

    calls = []
    monkeypatch.setattr(importlib_metadata, "entry_points", lambda **k: calls.append(k) or [FakeEntryPoint("x")])
    rescan()
    try:
        assert entry_point_names() == entry_point_names() == ("x",)
        assert calls == [{"group": "yolocore.callbacks"}]
    finally:
        rescan()


class Tracked(recorder("tracked", "on_train_end")):
    class Arguments(BaseModel):
        project: str = Field("yolocore", description="Where runs go.")
        every: int = Field(1, ge=1)
        api_key: SecretStr | None = None
        token: int = 0


def test_arguments_are_validated_and_left_on_the_plugin(make_manager):
    manager = make_manager(("wandb", Tracked), arguments={"wandb": {"project": "x", "every": "3"}})
    arguments = manager.plugin("wandb").arguments
    assert (arguments.project, arguments.every) == ("x", 3)
    assert make_manager(("wandb", Tracked)).plugin("wandb").arguments.project == "yolocore"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"project": 3}, r"wandb\.project: .*string.*given: 3"),
        ({"every": 0}, r"wandb\.every: .*greater than or equal to 1.*given: 0"),
        ({"projet": "x"}, r"wandb\.projet: .*Did you mean 'project'.*wandb\.every"),
    ],
)
def test_a_wrong_argument_names_its_key(given, message, make_manager):
    with pytest.raises(ConfigError, match=message):
        make_manager(("wandb", Tracked), arguments={"wandb": given})


def test_secrets_are_not_repeated(make_manager):
    with pytest.raises(ConfigError, match=r"wandb\.token") as caught:
        make_manager(("wandb", Tracked), arguments={"wandb": {"token": "hunter2"}})
    assert "hunter2" not in str(caught.value)


def test_arguments_for_nobody(make_manager):
    with pytest.raises(ConfigError, match=r"wandbb\.project: no plugin 'wandbb' is installed. Did you mean 'wandb'"):
        make_manager(("wandb", Tracked), arguments={"wandbb": {"project": "x"}})
    with pytest.raises(ConfigError, match=r"plain\.x: the plugin 'plain' takes no arguments"):
        make_manager(("plain", recorder("plain", "on_train_end")), arguments={"plain": {"x": 1}})
    blocked = make_manager(("wandb", Tracked), arguments={"wandb": {"every": 0}}, permitted=lambda _: (False, "no"))
    assert blocked.plugins()[0].state == "blocked"


def test_an_argument_that_is_needed_but_not_given(make_manager):
    class Needy:
        class Arguments(BaseModel):
            server: str

    (report,) = make_manager(("needy", Needy)).plugins()
    assert report.state == "broken"
    assert "needy.server: Field required" in report.reason
    assert active(make_manager(("needy", Needy), arguments={"needy": {"server": "x"}})) == ["needy"]


def test_a_model_may_take_any_argument_and_aliases(make_manager):
    class Free:
        class Arguments(BaseModel):
            model_config = ConfigDict(extra="allow")
            mode: str = Field("x", alias="kind")

    arguments = {"free": {"kind": "y", "other": 1}}
    assert make_manager(("free", Free), arguments=arguments).plugin("free").arguments.mode == "y"


def test_arguments_that_are_no_model(make_manager):
    plugin = recorder("x", "on_train_end", Arguments=dict)
    assert "pydantic.BaseModel" in make_manager(("x", plugin)).plugins()[0].reason
