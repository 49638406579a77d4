"""The conformance kit: a good plugin passes every check, a bad one fails the check that is made for its fault."""

from __future__ import annotations

import inspect
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from yolocore.hooks.discovery import rescan
from yolocore.testing import PluginConformance, fixtures, install_fake, lab, process  # noqa: F401 (pytester forgets)

pytest_plugins = ["pytester"]

CHECKS = sorted(name for name in vars(PluginConformance) if name.startswith("test_"))
SUITE = """
from yolocore.testing import PluginConformance

class TestBell(PluginConformance):
    name = "bell"
    plugin = "yolocore_bell:Plugin"
    sdk_modules = ("bell_sdk",)
    plots = False
    start_limit = 3.0
"""
GOOD = """
import json
import os
import signal
import time
import urllib.request

from pydantic import BaseModel, Field


class Good:
    rank_zero_only = True

    class Arguments(BaseModel):
        file: str = Field("bell.jsonl", description="Name of the file.")

    def __init__(self):
        self.lines = 0

    def on_train_start(self, trainer):
        import bell_sdk
        try:
            urllib.request.urlopen("http://bell.example/", timeout=0.5)
        except OSError:
            pass

    def on_fit_epoch_end(self, trainer):
        with open(trainer.save_dir / self.arguments.file, "a") as stream:
            stream.write(json.dumps(trainer.metrics))
        self.lines += 1

    def state_dict(self):
        return {"lines": self.lines}

    def load_state_dict(self, state):
        self.lines = state["lines"]


class Plugin(Good):
"""


class Fault(NamedTuple):
    """The body of a bad plugin, the check that it fails and the words of the failure."""

    check: str
    words: str
    body: str


FAULTS = {
    "no hook": Fault("is_discovered_under_its_name", "implements no hook", "    pass\n\nclass Plugin:\n    pass"),
    "an SDK at the top": Fault("importing_it_does_nothing", "imports bell_sdk", "    import bell_sdk"),
    "a file is read": Fault("importing_it_does_nothing", "reads /", "    open(__file__).close()"),
    "a file is written": Fault(
        "importing_it_does_nothing", "writes /", "    open(os.path.expanduser('~/bell'), 'w').close()"
    ),
    "a variable is set": Fault(
        "importing_it_does_nothing",
        "changes environment variable BELL from None to '1'",
        "    os.environ['BELL'] = '1'",
    ),
    "a socket is made": Fault(
        "importing_it_does_nothing", "socket.__new__", "    import socket\n    socket.socket().close()"
    ),
    "a process is started": Fault(
        "importing_it_does_nothing", "subprocess.Popen", "    import subprocess\n    subprocess.run('true')"
    ),
    "an argument that nobody described": Fault(
        "its_arguments_are_in_info",
        "bell.file (str) has no description",
        "    class Arguments(BaseModel):\n        file: str = 'bell.jsonl'",
    ),
    "a key in the open": Fault(
        "its_arguments_are_in_info",
        "api_key: a secret has no default",
        "    class Arguments(Good.Arguments):\n        api_key: str = Field('0815', description='Key.')",
    ),
    "it raises": Fault(
        "train_val_predict_and_export_pass_with_it",
        "in a predictor, it is off: raised ZeroDivisionError",
        "    def on_predict_end(self, predictor):\n        1 / 0",
    ),
    "it changes weights": Fault(
        "it_does_not_change_the_training",
        "differ from those of a run without the plugin",
        "    def optimizer_step(self, trainer):\n        for p in trainer.model.parameters():\n            p.data.mul_(0.9)",
    ),
    "it tears down itself": Fault(
        "teardown_comes_once_after_success",
        "teardown fired 2 times",
        "    def on_train_end(self, trainer):\n        trainer.hooks.teardown(trainer=trainer)",
    ),
    "its teardown relies on success": Fault(
        "teardown_comes_once_after_an_exception",
        "raised KeyError in teardown",
        "    def teardown(self, trainer):\n"
        "        if isinstance(trainer.context.error, Exception) and trainer.epoch == 0:\n            {}['fitness']",
    ),
    "a list of the class": Fault(
        "two_trainings_share_nothing",
        "changed yolocore_bell.Plugin.rows",
        "    rows = []\n    def on_train_end(self, trainer):\n        self.rows.append(1)",
    ),
    "a global variable": Fault(
        "two_trainings_share_nothing",
        "changed yolocore_bell.RUN",
        "    def on_train_end(self, trainer):\n        global RUN\n        RUN = object()\n\nRUN = None",
    ),
    "an object instead of a class": Fault(
        "two_trainings_share_nothing", "got the same object", "    pass\n\nPlugin = Plugin()"
    ),
    "it records on every rank": Fault("it_does_nothing_on_other_ranks", "writes /", "    rank_zero_only = False"),
    "it forgets": Fault(
        "its_state_survives_a_resume",
        "saved {'lines': 0}, but after loading it, state_dict() gives {'lines': 7}",
        "    def load_state_dict(self, state):\n        self.lines = 7",
    ),
    "half a state": Fault("its_state_survives_a_resume", "it has state_dict only", "    load_state_dict = None"),
    "it waits for its server": Fault(
        "it_survives_its_server_being_down",
        "holds the start up for",
        "    def on_pretrain_routine_start(self, trainer):\n        time.sleep(5 * ('http_proxy' in os.environ))",
    ),
    "it takes the disk too seriously": Fault(
        "it_survives_a_full_disk",
        "ended with status 3",
        "    def on_fit_epoch_end(self, trainer):\n"
        "        try:\n            super().on_fit_epoch_end(trainer)\n        except OSError:\n            os._exit(3)",
    ),
    "it ignores SIGTERM": Fault(
        "it_survives_sigterm",
        "it had: no effect",
        "    def on_train_start(self, trainer):\n        signal.signal(signal.SIGTERM, signal.SIG_IGN)",
    ),
}

FIRST = {fault.check: fault for fault in reversed(FAULTS.values())}  # one of each check
OTHERS = {name: fault for name, fault in FAULTS.items() if fault not in FIRST.values()}


@pytest.fixture
def kit(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A pytester with a folder that plugins are installed into, and an SDK."""
    site = pytester.path / "site"
    site.mkdir()
    site.joinpath("bell_sdk.py").write_text("")
    monkeypatch.syspath_prepend(site)
    pytester.makepyfile(SUITE)
    yield pytester
    rescan()


def outcomes(kit: pytest.Pytester, *options: str) -> dict[str, tuple[str, str]]:
    """Run the suite and return check → outcome and message."""
    rescan()
    recorder = kit.inline_run("-p", "yolocore.testing", "-p", "no:cacheprovider", "-p", "no:terminal", *options)
    reports = [r for r in recorder.getreports("pytest_runtest_logreport") if r.when == "call" or not r.passed]
    return {r.nodeid.rsplit("::test_", 1)[1]: (r.outcome, str(r.longrepr)) for r in reports}


def failures(kit: pytest.Pytester, fault: Fault, *options: str) -> tuple[dict[str, str], int]:
    """Run the suite with a bad plugin; return failed check → message, and how many checks ran."""
    install_fake(kit.path / "site", "bell", GOOD + fault.body)
    found = outcomes(kit, *options)
    assert {outcome for outcome, _ in found.values()} <= {"failed", "passed"}
    return {check: message for check, (outcome, message) in found.items() if outcome == "failed"}, len(found)


@pytest.mark.slow
@pytest.mark.parametrize("fault", FIRST.values(), ids=FIRST.keys())
def test_a_bad_plugin_fails_exactly_one_check(kit: pytest.Pytester, fault: Fault) -> None:
    failed, count = failures(kit, fault)
    assert list(failed) == [fault.check], "\n".join(failed.values())
    assert fault.words in failed[fault.check]
    assert count == len(CHECKS)


@pytest.mark.parametrize("fault", OTHERS.values(), ids=OTHERS.keys())
def test_other_faults_fail_the_same_checks(kit: pytest.Pytester, fault: Fault) -> None:
    failed, _ = failures(kit, fault, "-k", fault.check)
    assert fault.words in failed[fault.check]


@pytest.mark.slow
def test_a_good_plugin_passes_every_check(kit: pytest.Pytester) -> None:
    install_fake(kit.path / "site", "bell", f"{GOOD}    pass")
    found = outcomes(kit)
    assert {outcome for outcome, _ in found.values()} == {"passed"}, found
    assert sorted(f"test_{check}" for check in found) == CHECKS


def test_every_check_has_a_bad_plugin_and_a_reason() -> None:
    covered = {fault.check for fault in FAULTS.values()} | {"blocked_by_settings_it_is_never_imported"}
    assert sorted(f"test_{check}" for check in covered) == CHECKS
    for check in CHECKS:
        assert len(inspect.getdoc(getattr(PluginConformance, check))) > 40, check


def test_a_second_name_lets_a_blocked_plugin_in(kit: pytest.Pytester) -> None:
    both = {"bell": "yolocore_bell:Plugin", "belle": "yolocore_bell:Plugin"}
    install_fake(kit.path / "site", "bell", f"{GOOD}    pass", entry_points=both)
    outcome, message = outcomes(kit, "-k", "blocked")["blocked_by_settings_it_is_never_imported"]
    assert outcome == "failed"
    assert "it is imported all the same: yolocore_bell" in message


@pytest.mark.parametrize(
    ("install", "words"),
    [
        (None, "no plugin 'bell' is installed"),
        ("belle", "no plugin 'bell' is installed (installed: belle)"),
    ],
)
def test_a_plugin_that_is_not_there(kit: pytest.Pytester, install: str | None, words: str) -> None:
    if install:
        install_fake(kit.path / "site", install, f"{GOOD}    pass")
    found = outcomes(kit)
    assert found.pop("is_discovered_under_its_name")[0] == "failed"
    assert {outcome for outcome, _ in found.values()} == {"skipped"}
    assert words in outcomes(kit)["is_discovered_under_its_name"][1]


def test_a_process_that_hangs_is_cut(tmp_path: Path) -> None:
    script = "import time; print('here', flush=True); time.sleep(60)"
    for limit in (1.0, 25.0):  # on a busy machine Python may take longer to start
        ended = process.run_python(["-c", script], environment={}, folder=tmp_path, limit=limit)
        assert ended.status is None
        if ended.log:
            break
    assert limit <= ended.seconds < limit + 9
    assert ended.describe(1.0) == "the process was cut after 1 s; it printed:\nhere"
    ended = process.run_python(["-c", "import os; os.kill(os.getpid(), 9)"], environment={}, folder=tmp_path, limit=60)
    assert "was killed by SIGKILL" in ended.describe(60)


@pytest.mark.skipif(not process.CAN_FORK, reason="children are forked on Linux only")
def test_a_forked_process_that_hangs_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    request = tmp_path / "request.json"
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    (tmp_path / "slow_plugin.py").write_text("import time\ntime.sleep(60)\n")
    values = {"name": "slow", "module": "slow_plugin", "parts": ("imported",), "folder": str(tmp_path)}
    answers = tmp_path / "answers"
    request.write_text(lab.Request(**values, answers=str(answers)).to_json())
    environment = {"HOME": str(tmp_path)}
    for limit in (1.0, 25.0):  # on a busy machine the child may take longer to begin
        ended = process.nursery().run([str(request)], environment=environment, folder=tmp_path, limit=limit)
        assert ended.status is None
        if answers.is_file():
            break
    assert '"state": "begun"' in answers.read_text()
    request.write_text(request.read_text().replace("slow_plugin", "no_such_module"))
    ended = process.nursery().run([str(request)], environment=environment, folder=tmp_path, limit=60.0)
    assert ended.status == 0
    assert "No module named 'no_such_module'" in answers.read_text()
