"""Some hundred generated files: none runs anything, each is refused clearly, within bounds; their benign twins load."""

from __future__ import annotations

import json
import os
import pickletools
import re
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING

import pytest
from hostile_corpus import CANARY, OPERATIONS, OUTSIDE, REFUSED, WITH_STORAGES, Case, corpus

from yolocore.errors import CheckpointError
from yolocore.nn.checkpoint import read_checkpoint

if TYPE_CHECKING:
    from pathlib import Path

SECONDS = 20.0  # for one file, on a machine that does other things
MEGABYTES = 400.0  # beyond what the program has anyway

READER = textwrap.dedent(
    """
    import json, pathlib, resource, sys, time
    from yolocore.errors import CheckpointError
    from yolocore.nn.checkpoint import read_checkpoint
    import encodings.idna, encodings.raw_unicode_escape, encodings.unicode_escape, traceback

    def hook(event, args):
        if event in WATCHED:
            seen.append(f"{event} {str(args)[:80]}")

    WATCHED = {"import", "exec", "compile", "os.system", "os.exec", "os.posix_spawn", "os.fork", "subprocess.Popen",
               "socket.connect", "socket.getaddrinfo", "os.remove", "os.mkdir", "ctypes.dlopen", "pty.spawn"}
    files = json.loads(pathlib.Path(sys.argv[1]).read_text())
    for warm in files[:2] + files[-1:]:  # whatever torch and the reader load late
        try:
            read_checkpoint(warm)
        except CheckpointError:
            pass
    seen, found = [], {}
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    sys.addaudithook(hook)
    for file in files:
        started = time.process_time()
        try:
            read_checkpoint(file)
            said = None
        except CheckpointError as error:
            said = str(error)
        except BaseException as error:
            said = f"LEAKED {type(error).__name__}: {error}"
        found[file] = (said, time.process_time() - started)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(json.dumps({"found": found, "seen": seen, "megabytes": peak / 1024}))
    """
)


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> list[Case]:
    return list(corpus(tmp_path_factory.mktemp("corpus")))


@pytest.fixture(scope="module")
def outcome(cases: list[Case], tmp_path_factory: pytest.TempPathFactory) -> tuple[dict, Path]:
    """Read every file in one process, watched by an audit hook."""
    folder = tmp_path_factory.mktemp("reader")
    (folder / "files.json").write_text(json.dumps([str(case.path) for case in cases]))
    command = [sys.executable, "-c", READER, str(folder / "files.json")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500, cwd=folder, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1]), folder


def test_the_corpus_is_complete(cases: list[Case]) -> None:
    hostile = [case for case in cases if case.message is not None]
    assert len(hostile) >= 300
    assert len([case for case in cases if case.message is None]) >= 60
    covered = {*OPERATIONS, *REFUSED, *WITH_STORAGES}
    assert covered == {operation.name for operation in pickletools.opcodes}
    assert len(OUTSIDE) >= 50
    used = {op.name for use in OPERATIONS.values() for op, _, _ in pickletools.genops(use + b".")}
    assert used >= set(OPERATIONS)


def test_each_is_refused_with_its_reason_and_each_twin_loads(cases: list[Case], outcome: tuple[dict, Path]) -> None:
    found = outcome[0]["found"]
    wrong = []
    for path, message in cases:
        said, _ = found[str(path)]
        if message is None:
            fine = said is None
        else:
            fine = said is not None and said.startswith(str(path)) and re.search(message, said[len(str(path)) :], re.S)
        if not fine:
            wrong.append(f"{path.parent.name}/{path.name}: expected {message!r}, got {str(said)[:200]!r}")
    assert not wrong, "\n".join(wrong)


def test_no_code_ran_and_nothing_was_imported(outcome: tuple[dict, Path]) -> None:
    found, folder = outcome
    assert found["seen"] == []
    assert [entry.name for entry in folder.iterdir()] == ["files.json"]
    assert not (folder / CANARY).exists()


def test_time_and_memory_are_bounded(outcome: tuple[dict, Path]) -> None:
    found = outcome[0]
    slow = {file: seconds for file, (_, seconds) in found["found"].items() if seconds > SECONDS}
    assert not slow
    assert found["megabytes"] < MEGABYTES


def test_the_canary_would_sing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The evil operations do run in a pickle that is read without precautions; otherwise the tests above prove little."""
    import pickle

    from hostile_corpus import EVIL

    monkeypatch.chdir(tmp_path)
    pickle.loads(b"\x80\x04" + EVIL + b".")
    assert (tmp_path / CANARY).exists()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_or_a_device_is_not_opened(tmp_path: Path) -> None:
    for name in ("pipe.pt", "pipe.safetensors"):
        os.mkfifo(tmp_path / name)
        with pytest.raises(CheckpointError, match=r"pipe|regular file"):
            read_checkpoint(tmp_path / name)
    with pytest.raises(CheckpointError, match="device or a pipe"):
        read_checkpoint("/dev/zero")
