"""``yolo plugins replay``: what it prints, and its exit status."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from plugin_dist import unpacked_plugin

from yolocore.cli.program import run

ACME = '''
"""Writes what it is told into a file."""
from pathlib import Path

from pydantic import BaseModel


class Acme:
    trylast = True

    class Arguments(BaseModel):
        file: str = ""
        fail: bool = False

    def on_fit_epoch_end(self, trainer):
        if self.arguments.fail:
            raise RuntimeError("the service is down")
        with Path(self.arguments.file).open("a") as file:
            print(trainer.epoch + 1, trainer.metrics["metrics/mAP50(B)"], file=file)
'''


@pytest.fixture(autouse=True)
def acme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed plugin ``acme``."""
    monkeypatch.syspath_prepend(str(unpacked_plugin(tmp_path, "acme", ACME, "Acme")))
    monkeypatch.setenv("COLUMNS", "400")


def test_it_feeds_the_plugin(done: SimpleNamespace, tmp_path: Path, capsys) -> None:
    file = tmp_path / "told.txt"
    assert run(["plugins", "replay", str(done.run), "--to", "acme", f"acme.file={file}"]) == 0
    fits = done.watcher.of("on_fit_epoch_end")
    assert file.read_text().split() == [
        text for fit in fits for text in (str(fit["epoch"] + 1), str(fit["metrics"]["metrics/mAP50(B)"]))
    ]
    out = capsys.readouterr().out
    assert f"2 epochs, of {done.run}" in out
    assert re.search(r"acme \(acme 1\.0\): ok, 2 calls", out)
    assert "4 figures were overwritten" in out


def test_a_plugin_that_fails_is_named(done: SimpleNamespace, capsys) -> None:
    assert run(["plugins", "replay", str(done.run), "--to", "acme", "acme.fail=True"]) == 1
    assert "FAILED: raised RuntimeError in on_fit_epoch_end: the service is down" in capsys.readouterr().out


def test_usage_errors_exit_with_2(done: SimpleNamespace, tmp_path: Path, capsys) -> None:
    unfinished = Path(shutil.copytree(done.run, tmp_path / "unfinished"))
    record = unfinished / "events.jsonl"
    record.write_text("\n".join(record.read_text().splitlines()[:9]))
    wrong = [
        ([str(done.run), "--to", "acne"], r"no plugin 'acne'.*Did you mean 'acme'"),
        ([str(tmp_path), "--to", "acme"], r"no event record events\.jsonl in it"),
        ([str(unfinished), "--to", "acme"], r"1 of 2 epochs are complete.*--partial"),
        ([str(done.run), "--to", "acme", "epochs=3"], r"acme\.key=value"),
        ([str(done.run), "--to", "acme", "acme.fil=x"], r"no such argument.*Did you mean 'file'"),
        ([str(done.run)], r"--to"),
    ]
    for words, message in wrong:
        assert run(["plugins", "replay", *words]) == 2, words
        assert re.search(message, capsys.readouterr().err.replace("\n", " ")), words
    assert run(["plugins", "replay", str(unfinished), "--to", "acme", "--partial", f"acme.file={tmp_path / 'x'}"]) == 0
