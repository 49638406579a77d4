"""What every plugin has to stand, as a class of tests to subclass.

(PYTEST_DONT_REWRITE: the assertions bring their own messages.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import pytest

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from yolocore.testing.lab import PluginLab

CLOSED_PORT = "http://127.0.0.1:9"  # nobody listens at the discard port
EXIT_LIMIT = 10.0
SLACK = 1.0  # seconds: a plugin that gives up after exactly its limit is right


class PluginConformance:
    """Checks an installed plugin: ``class TestBell(PluginConformance): name = "bell"``.

    The trainings are real but tiny (12 pictures, 32 px, one epoch, CPU) and run in processes of their own, with an
    empty home directory, the environment of :meth:`environment`, and Python's connections to other machines
    refused. What several checks need is run once per class.

    Attributes:
        name: name of the plugin: that of its entry point.
        plugin: where the entry point has to lead, ``module:attribute``; empty: wherever it leads.
        sdk_modules: modules that may be imported in hooks only. What the distribution requires counts anyway.
        arguments: arguments of the plugin for the trainings, without the name: ``{"project": "test"}``.
        alters_training: the plugin changes the weights on purpose.
        plots: the training of the first checks draws figures, for plugins that send them.
        start_limit: seconds that its hooks may take before the first batch, when its server is down.
        end_limit: seconds that its hooks may take after the last epoch, when its server is down.
        timeout: seconds after which a process of the kit is cut.
        fresh_processes: do not fork from a process that has torch loaded, for an SDK that has to come first; slower.
    """

    name: ClassVar[str] = ""
    plugin: ClassVar[str] = ""
    sdk_modules: ClassVar[tuple[str, ...]] = ()
    arguments: ClassVar[Mapping[str, Any]] = {}
    alters_training: ClassVar[bool] = False
    plots: ClassVar[bool] = True
    start_limit: ClassVar[float] = 10.0
    end_limit: ClassVar[float] = 10.0
    timeout: ClassVar[float] = 180.0
    fresh_processes: ClassVar[bool] = False

    def environment(self, tmp_path: Path) -> dict[str, str]:
        """Return variables under which the plugin works without an account: an offline mode, a folder.

        Args:
            tmp_path: an existing folder for whatever it needs.
        """
        del tmp_path
        return {}

    def server_down(self) -> dict[str, str]:
        """Return variables under which the plugin tries to reach a server and finds none.

        They are added to those of :meth:`environment`. By default, every HTTP client is sent to a closed port.
        """
        names = ("http_proxy", "https_proxy", "all_proxy")
        proxies = {spelling: CLOSED_PORT for name in names for spelling in (name, name.upper())}
        return {**proxies, "no_proxy": "", "NO_PROXY": ""}

    def full_disk(self, folder: Path) -> dict[str, str]:
        """Return variables that make the plugin write into ``folder``, where no file can be made.

        What the plugin writes elsewhere fails, too, unless another process or native code writes it: for those,
        point the SDK's folders here.
        """
        del folder
        return {}

    # the checks ------------------------------------------------------------------------------------------------

    def test_is_discovered_under_its_name(self, plugin_lab: PluginLab) -> None:
        """Users, settings and arguments address a plugin by the name of its entry point."""
        assert self.name, f"{type(self).__name__}.name is empty; set it to the name of the entry point"
        facts = plugin_lab.facts("discovered")
        installed = ", ".join(facts.get("installed", [])) or "none"
        assert facts["values"], f"no plugin {self.name!r} is installed (installed: {installed}); is it pip-installed?"
        assert len(facts["values"]) == 1, f"two distributions provide {self.name!r}; uninstall one of them"
        assert facts["state"] == "active", f"{facts['distribution']} is {facts['state']}: {facts['reason']}"
        assert facts["hooks"], f"{facts['distribution']} implements no hook, so nothing will ever call it"
        if self.plugin:
            assert facts["values"] == [self.plugin], f"the entry point is {facts['values'][0]}, not {self.plugin}"

    def test_importing_it_does_nothing(self, plugin_lab: PluginLab) -> None:
        """Plugins are imported whenever ``yolo`` starts: that has to be quick, silent and without consequences."""
        facts = self._ready(plugin_lab).facts("imported")
        brought = ", ".join(facts["brought"])
        assert not brought, f"importing {plugin_lab.module} imports {brought}; import it inside the first hook"
        effects = "\n  ".join(facts["effects"])
        assert not effects, f"importing {plugin_lab.module} has effects; move them into the first hook:\n  {effects}"

    def test_blocked_by_settings_it_is_never_imported(self, plugin_lab: PluginLab) -> None:
        """Who switches a plugin off does not want any of its code to run."""
        facts = self._ready(plugin_lab).facts("blocked")
        wrong = {kind: state for kind, state in facts["states"].items() if state != "blocked"}
        assert not wrong, f"switched off in the settings, {self.name!r} is not blocked everywhere: {wrong}"
        imported = ", ".join(facts["imported"])
        assert not imported, f"switched off in the settings, it is imported all the same: {imported}; by whom?"

    def test_its_arguments_are_in_info(self, plugin_lab: PluginLab) -> None:
        """``yolo plugins info`` is the only documentation that is always at hand; and it must show no secret."""
        facts = self._ready(plugin_lab).facts("discovered")
        for key, kind, _, description in facts["arguments"]:
            assert description, f"the argument {key} ({kind}) has no description: Field(..., description='...')"
        exposed = ", ".join(facts["exposed"])
        assert not exposed, f"{exposed}: a secret has no default; read it from the tool's own environment variable"
        ended = plugin_lab.info()
        assert ended.status == 0, ended.describe(60)
        missing = [key for key, *_ in facts["arguments"] if key not in ended.log]
        assert not missing, f"'yolo plugins info {self.name}' does not show {', '.join(missing)}"

    def test_train_val_predict_and_export_pass_with_it(self, plugin_lab: PluginLab) -> None:
        """A hook that raises is contained and its plugin switched off, which nobody wants to see in an ordinary run."""
        facts = self._ready(plugin_lab).facts("modes")
        for kind, report in facts["reports"].items():
            no_wish = report["state"] == "blocked" and report["reason"].startswith("attaches to")
            assert no_wish or report["state"] == "active", f"in a {kind}, it is {report['state']}: {report['reason']}"
        assert facts["epochs"] == 1, f"the training of one epoch had {facts['epochs']}"
        self._expect_no_threads(facts)

    def test_it_does_not_change_the_training(self, plugin_lab: PluginLab) -> None:
        """Whoever adds an observer to a training wants the same weights as before."""
        if self.alters_training:
            pytest.skip("the plugin changes the weights on purpose")
        self._expect_same_weights(self._ready(plugin_lab), "modes", "control")

    def test_teardown_comes_once_after_success(self, plugin_lab: PluginLab) -> None:
        """``teardown`` is where a plugin lets go of what it holds: it has to come, and only once."""
        self._expect_one_teardown(self._ready(plugin_lab).facts("modes"), "a training that succeeds")

    def test_teardown_comes_once_after_an_exception(self, plugin_lab: PluginLab) -> None:
        """In a training that breaks off, ``on_train_end`` never comes: ``teardown`` has to cope without it."""
        facts = self._ready(plugin_lab).facts("failing")
        assert facts["raised"] == "PlannedError", f"the training's exception became {facts['raised'] or 'none at all'}"
        assert not facts["finished"], "on_train_end fired although the training failed"
        self._expect_one_teardown(facts, "a training that fails")
        self._expect_no_fault(facts["report"], "in a training that fails")
        self._expect_no_threads(facts)

    def test_two_trainings_share_nothing(self, plugin_lab: PluginLab) -> None:
        """A notebook trains twice in one process, a search many times: no run may see another's state."""
        facts = self._ready(plugin_lab).facts("pair")
        advice = "keep it in attributes that __init__ makes"
        assert not facts["same"], "both trainings got the same object; let the entry point name a class"
        assert not facts["shared"], f"both plugin objects hold the same {', '.join(facts['shared'])}; {advice}"
        assert not facts["package"], f"a training changed {', '.join(facts['package'])}; {advice}"
        assert not facts["moved"], "a training changed the state of the plugin object of another one"

    def test_it_does_nothing_on_other_ranks(self, plugin_lab: PluginLab) -> None:
        """With several GPUs every process loads the plugin, and a run recorded four times is recorded wrongly."""
        facts = self._ready(plugin_lab).facts("other_rank")
        effects = "\n  ".join([*facts["effects"], *(f"starts the thread {name}" for name in facts["threads"])])
        advice = "set rank_zero_only = True on the class, or look at context.is_main"
        assert not effects, f"it acts on rank 1; {advice}:\n  {effects}"
        assert facts["report"]["state"] in {"blocked", "active"}, f"on rank 1, it {facts['report']['reason']}"

    def test_its_state_survives_a_resume(self, plugin_lab: PluginLab) -> None:
        """A resumed training goes on in the same remote run only if the checkpoint brings back what names it."""
        facts = self._ready(plugin_lab).facts("resumed")
        assert len(facts["methods"]) != 1, f"it has {facts['methods'][0]} only; write both, or neither"
        self._expect_no_fault(facts["before"], "in a training to be resumed")
        self._expect_no_fault(facts["after"], "in a resumed training")
        if facts["methods"] and facts["before"]["state"] == "active":
            assert facts["equal"], f"saved {facts['saved']}, but after loading it, state_dict() gives {facts['loaded']}"

    def test_it_survives_its_server_being_down(self, plugin_lab: PluginLab) -> None:
        """Services go down at night; a training of three days must not even notice."""
        lab = self._ready(plugin_lab)
        facts = lab.facts("server_down")
        start, end = facts["start"], facts["end"]
        assert start <= self.start_limit + SLACK, f"without its server, it holds the start up for {start:.1f} s"
        assert end <= self.end_limit + SLACK, f"without its server, it holds the end up for {end:.1f} s"
        self._expect_same_weights(lab, "server_down", "modes")

    def test_it_survives_a_full_disk(self, plugin_lab: PluginLab) -> None:
        """A log that cannot be written is no reason to lose a training."""
        lab = self._ready(plugin_lab)
        lab.facts("full_disk")
        self._expect_same_weights(lab, "full_disk", "modes")

    def test_it_survives_sigterm(self, plugin_lab: PluginLab) -> None:
        """Clusters end jobs with SIGTERM and a few seconds of grace: checkpoint, teardown, gone."""
        lab = self._ready(plugin_lab)
        facts = lab.facts("terminated")
        assert facts["ended"] == "SystemExit", (
            f"SIGTERM should end the training; it had: {facts['ended'] or 'no effect'}"
        )
        assert facts["checkpoint"], "SIGTERM left no checkpoint"
        self._expect_one_teardown(facts, "SIGTERM")
        self._expect_no_fault(facts["report"], "after SIGTERM")
        assert facts["seconds"] <= EXIT_LIMIT + SLACK, (
            f"after SIGTERM, the training took {facts['seconds']:.1f} s to end"
        )
        ended = lab.end_of("terminated")
        assert ended.status == facts["exit"], f"after SIGTERM, {ended.describe(self.timeout)}"

    # what they have in common ----------------------------------------------------------------------------------

    def _ready(self, lab: PluginLab) -> PluginLab:
        """Return the lab; without a plugin that can be loaded, skip: the first check says why."""
        if lab.facts("discovered").get("state") != "active":
            pytest.skip(f"the plugin {self.name!r} cannot be loaded")
        return lab

    def _expect_same_weights(self, lab: PluginLab, part: str, other: str) -> None:
        if not self.alters_training:
            same = lab.facts(part)["digest"] == lab.facts(other)["digest"]
            where = {"control": "without the plugin", "modes": "where nothing was wrong"}[other]
            assert same, f"the weights differ from those of a run {where}; does it draw random numbers?"

    @staticmethod
    def _expect_one_teardown(facts: dict[str, Any], after: str) -> None:
        assert facts["teardowns"] == 1, f"teardown fired {facts['teardowns']} times after {after}"

    @staticmethod
    def _expect_no_fault(report: dict[str, Any], where: str) -> None:
        assert not report["errors"], f"{where}, it is switched off: {report['reason']}"

    @staticmethod
    def _expect_no_threads(facts: dict[str, Any]) -> None:
        threads = ", ".join(facts["threads"])
        assert not threads, (
            f"threads keep the process from ending: {threads}; end them in teardown, or make them daemons"
        )
