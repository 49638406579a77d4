"""A plugin built as a wheel and installed: found, loaded and called in a fresh process."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import pytest
from plugin_dist import install_plugin, run

from yolocore.hooks import EVENTS

ENGINE = """
import sys
from yolocore.hooks import Context, EVENTS, HookManager
from yolocore.hooks.events import ARGUMENTS

class Component:
    context = Context()

component = Component()
manager = HookManager(kind="trainer", arguments={"witness": {"label": "hello"}}, builtins=[])
hooks = manager.bind(component)
for event in EVENTS:
    getattr(hooks, event)(**{ARGUMENTS[event]: component})
for report in manager.plugins():
    print(report.name, report.distribution, report.version, report.state, report.calls, report.errors)
print([name for name in ("torch", "cv2", "numpy") if name in sys.modules])
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """A folder with three installed distributions: one good, one that cannot be imported, one misspelt."""
    folder = tmp_path_factory.mktemp("installed")
    install_plugin(folder, "import no_such_sdk\n", name="sdkless", attribute="Plugin")
    misspelt = "class Plugin:\n    def on_trian_end(self, trainer): ...\n"
    install_plugin(folder, misspelt, name="misspelt", attribute="Plugin")
    return install_plugin(folder)


def test_all_25_events_reach_an_installed_plugin(site, tmp_path):
    log = tmp_path / "events.jsonl"
    out = run([sys.executable, "-c", ENGINE], path=site, YOLOCORE_WITNESS=str(log))
    records = [json.loads(line) for line in log.read_text().splitlines()]
    assert [record["event"] for record in records] == list(EVENTS)
    assert [record["context"] for record in records] == list(EVENTS)
    assert {record["label"] for record in records} == {"hello"}
    assert out.splitlines() == [
        "misspelt yolocore-misspelt 1.2.3 broken 0 0",
        "sdkless yolocore-sdkless 1.2.3 broken 0 0",
        "witness yolocore-witness 1.2.3 active 25 0",
        "[]",
    ]


CLI = "import sys; from yolocore.cli.plugins import app; app(standalone_mode=False)"


def cli(site: Path, *words: str, **environment: str) -> str:
    return run([sys.executable, "-c", CLI, *words], path=site, COLUMNS="200", **environment)


def test_list(site):
    rows = [line.split() for line in cli(site, "list").splitlines()]
    assert rows[0] == ["name", "distribution", "version", "state", "why", "hooks"]
    by_name = {row[0]: row for row in rows[1:]}
    assert by_name["misspelt"][1:4] == ["yolocore-misspelt", "1.2.3", "broken"]
    assert by_name["witness"][1:4] == ["yolocore-witness", "1.2.3", "active"]

    records = json.loads(cli(site, "list", "--json"))
    assert [record["name"] for record in records] == ["misspelt", "sdkless", "witness"]
    assert "Did you mean 'on_train_end'" in records[0]["reason"]
    assert "No module named 'no_such_sdk'" in records[1]["reason"]
    assert records[2]["hooks"] == list(EVENTS)


def test_a_setting_that_is_false_blocks_before_import(tmp_path):
    site = install_plugin(tmp_path, "raise SystemExit('imported')\n", name="wandb", attribute="Plugin")
    (record,) = json.loads(cli(site, "list", "--json", YOLOCORE_WANDB="False"))
    assert (record["state"], record["hooks"]) == ("blocked", [])
    assert "wandb is False" in record["reason"]
    (record,) = json.loads(cli(site, "list", "--json"))
    assert (record["state"], "SystemExit: imported" in record["reason"]) == ("broken", True)


def test_info(site):
    text = cli(site, "info", "witness")
    for part in (
        "witness: Writes down every event.",
        "distribution  yolocore-witness 1.2.3",
        "object        yolocore_witness:Witness",
        "state         active",
        "witness.label",
        "'witness'",
        "Written beside each event.",
    ):
        assert part in text


def test_info_of_an_unknown_plugin(site):
    with pytest.raises(AssertionError, match=r"no plugin 'witnes'. Did you mean 'witness'"):
        cli(site, "info", "witnes")


def test_doctor_names_what_is_broken_and_says_so_by_its_status(site):
    script = CLI.replace("app(", "r = app(") + "; sys.exit(r)"
    with pytest.raises(AssertionError) as caught:
        run([sys.executable, "-c", script, "doctor"], path=site)
    text = str(caught.value)
    assert "BROKEN  misspelt (yolocore-misspelt 1.2.3): there is no hook 'on_trian_end'" in text
    assert "ok      witness (yolocore-witness 1.2.3)" in text
    assert "3 plugins, 2 broken" in text


def test_commands_are_quick_and_load_no_torch(site):
    code = CLI + "; print([m for m in ('torch', 'cv2', 'numpy', 'matplotlib') if m in sys.modules])"
    started = time.perf_counter()
    assert run([sys.executable, "-c", code, "list"], path=site).splitlines()[-1] == "[]"
    assert time.perf_counter() - started < 10


def test_two_distributions_with_one_name(tmp_path):
    source = "class Plugin: ...\n"
    install_plugin(tmp_path, source, name="bell", attribute="Plugin")
    site = install_plugin(tmp_path, source, name="bell", attribute="Plugin", distribution="other-bell")
    for record in json.loads(cli(site, "list", "--json")):
        assert record["state"] == "broken"
        assert "other-bell 1.2.3 and yolocore-bell 1.2.3" in record["reason"]
