"""The guide to plugins: its snippets run, its tables name what there is, its links lead somewhere."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from plugin_dist import run

import yolocore
from yolocore.cli.plugins import app
from yolocore.hooks.events import ARGUMENTS, REGISTRATION_HOOKS
from yolocore.testing import PluginConformance, install_fake

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "plugins"
PAGES = [GUIDE / f"{name}.md" for name in ("index", "writing", "testing", "publishing")]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BELL = """
class Plugin:
    rank_zero_only = True

    from pydantic import BaseModel as _Base

    class Arguments(_Base):
        volume: int = 1

    def on_train_end(self, trainer):
        import os
        assert os.environ.get("BELL_MODE", "offline") in ("offline", "online")
        print("ding:", trainer.best)
"""


def blocks(page: str, language: str) -> list[str]:
    text = (GUIDE / page).read_text(encoding="utf-8")
    return [content for kind, content in BLOCK.findall(text) if kind == language]


def test_the_snippets_about_writing_run_one_after_the_other(tmp_path: Path) -> None:
    script = tmp_path / "page.py"
    script.write_text("\n".join(blocks("writing.md", "python")))
    out = run([sys.executable, str(script)], cwd=tmp_path)
    ding, first, second, *_ = out.splitlines()
    assert ding.startswith("ding: ")
    assert ding.endswith("best.pt")
    assert (first, second) == ("1 3", "2 6")


@pytest.mark.slow
def test_the_files_about_testing_pass(tmp_path: Path) -> None:
    install_fake(tmp_path / "site", "bell", BELL)
    for content in blocks("testing.md", "python"):
        name = re.match(r"# file: (\S+)\n", content).group(1)
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error", "-k", "not info"]
    files = [f"tests/test_{name}.py" for name in ("bell", "records", "server")]
    out = run([*words, *files], path=tmp_path / "site", cwd=tmp_path)
    assert "16 passed, 1 deselected" in out


def test_the_tables_are_valid_toml() -> None:
    for page in ("writing.md", "publishing.md"):
        for content in blocks(page, "toml"):
            names = [*tomllib.loads(content)["project"]["entry-points"]["yolocore.callbacks"]]
            assert names == ["bell"]


def test_every_command_of_the_guide_exists() -> None:
    from typer.main import get_command

    known = set(get_command(app).commands)
    found = set()
    for page in PAGES:
        found |= set(re.findall(r"yolo plugins (\w+)", page.read_text(encoding="utf-8")))
    assert found == known, found ^ known


def test_every_check_is_in_the_table() -> None:
    text = (GUIDE / "testing.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \|", text.split("## What is checked")[1].split("##")[0], re.MULTILINE)
    assert [f"test_{row}" for row in rows] == [n for n in vars(PluginConformance) if n.startswith("test_")]


def test_every_hook_that_is_named_exists() -> None:
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    assert set(re.findall(r"`(on_\w+)`", text)) <= set(ARGUMENTS)
    assert set(re.findall(r"`(register_\w+)`", text)) == set(REGISTRATION_HOOKS)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).is_file(), target


def test_every_public_name_of_the_kit_resolves_and_importing_it_loads_nothing() -> None:
    code = "import sys, yolocore.testing as t; print(len(dir(t)), [m for m in ('torch', 'pytest') if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.split(maxsplit=1) == [str(len(yolocore.testing.__all__)), "[]\n"]
    for name in yolocore.testing.__all__:
        assert getattr(yolocore.testing, name) is not None
