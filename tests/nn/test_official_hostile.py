"""Files made to run code or to exhaust memory: each is refused with a clear error and nothing happens."""

from __future__ import annotations

import struct
import subprocess
import sys
import textwrap
import tracemalloc
import zipfile
from typing import TYPE_CHECKING

import pytest
from official_files import legacy_with, zip_with

from yolocore.errors import CheckpointError
from yolocore.nn.checkpoint import read_checkpoint
from yolocore.nn.unpickle import CONSTRUCTORS, STUBS

if TYPE_CHECKING:
    from pathlib import Path

SENTINEL = "sentinel-was-here"


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def call(module: str, name: str, *arguments: bytes) -> bytes:
    """Return the operations that call ``module.name`` with arguments."""
    return f"c{module}\n{name}\n".encode() + b"(" + b"".join(arguments) + b"tR"


TOUCH = text(f"touch {SENTINEL}")
PYTHON = text(f"open('{SENTINEL}', 'w')")
STORAGE = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK"


def tensor(size: bytes, stride: bytes, offset: bytes = b"K\x00", count: bytes = b"\x04") -> bytes:
    """Return the operations that rebuild a tensor over storage 0."""
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + STORAGE + count + b"tQ" + offset + size + stride + b"\x89NtR"


# name → (operations, what the message has to say)
PICKLES: dict[str, tuple[bytes, str]] = {
    "os.system": (call("os", "system", TOUCH), r"os\.system"),
    "posix.system": (call("posix", "system", TOUCH), r"posix\.system"),
    "nt.system": (call("nt", "system", TOUCH), r"nt\.system"),
    "subprocess.Popen": (call("subprocess", "Popen", TOUCH), r"subprocess\.Popen"),
    "subprocess.check_output": (call("subprocess", "check_output", TOUCH), r"subprocess\.check_output"),
    "builtins.eval": (call("builtins", "eval", PYTHON), r"builtins\.eval"),
    "builtins.exec": (call("builtins", "exec", PYTHON), r"builtins\.exec"),
    "__builtin__.eval": (call("__builtin__", "eval", PYTHON), r"__builtin__\.eval"),
    "builtins.__import__": (call("builtins", "__import__", text("this")), r"builtins\.__import__"),
    "builtins.open": (call("builtins", "open", text(SENTINEL), text("w")), r"builtins\.open"),
    "builtins.getattr": (call("builtins", "getattr", b"cos\nsystem\n", text("x")), r"getattr|os\.system"),
    "builtins.getattr only": (call("builtins", "getattr", b"N", text("__class__")), r"builtins\.getattr"),
    "builtins.compile": (call("builtins", "compile", PYTHON, text(""), text("exec")), r"builtins\.compile"),
    "builtins.map": (call("builtins", "map", b"N", b"]"), r"builtins\.map"),
    "functools.partial": (
        call("functools", "partial", b"cos\nsystem\n", TOUCH),
        r"functools\.partial|os\.system",
    ),
    "operator.attrgetter": (call("operator", "attrgetter", text("system")), r"operator\.attrgetter"),
    "operator.methodcaller": (call("operator", "methodcaller", text("x")), r"operator\.methodcaller"),
    "runpy.run_path": (call("runpy", "run_path", text("x.py")), r"runpy\.run_path"),
    "shutil.rmtree": (call("shutil", "rmtree", text("x")), r"shutil\.rmtree"),
    "webbrowser.open": (call("webbrowser", "open", text("x")), r"webbrowser\.open"),
    "socket.socket": (call("socket", "socket"), r"socket\.socket"),
    "importlib.import_module": (
        call("importlib", "import_module", text("this")),
        r"importlib\.import_module",
    ),
    "pickle.loads": (call("pickle", "loads", text("x")), r"pickle\.loads"),
    "torch.load": (call("torch", "load", text("x")), r"torch\.load"),
    "torch.storage._load_from_bytes": (
        call("torch.storage", "_load_from_bytes", text("x")),
        "_load_from_bytes",
    ),
    "torch.hub.load": (call("torch.hub", "load", text("x")), r"torch\.hub\.load"),
    "numpy scalar": (call("numpy.core.multiarray", "scalar", b"N"), r"numpy\.core\.multiarray\.scalar"),
    "types.FunctionType": (call("types", "FunctionType", b"N"), r"types\.FunctionType"),
    "types.CodeType": (call("types", "CodeType", b"N"), r"types\.CodeType"),
    "a path through a stub": (
        call("ultralytics.nn.tasks", "os.system", TOUCH),
        r"ultralytics\.nn\.tasks\.os\.system",
    ),
    "an attribute of a real name": (
        call("collections", "OrderedDict.fromkeys", b"]"),
        r"OrderedDict\.fromkeys",
    ),
    "a helper of the real package": (call("ultralytics.nn.tasks", "attempt_load", text("x")), "attempt_load"),
    "old style instance": (b"(" + TOUCH + b"ios\nsystem\n", r"os\.system"),
    "object operation": (b"(cos\nsystem\n" + TOUCH + b"o", r"os\.system"),
    "new object": (b"cos\n_wrap_close\n)\x81", r"os\._wrap_close"),
    "stack global": (b"\x80\x04" + text("os") + text("system") + b"\x93" + TOUCH + b"\x85R", r"os\.system"),
    "nested in a list": (b"(lp0\n0](" + call("os", "system", TOUCH) + b"e", r"os\.system"),
    "behind a stub's state": (
        b"cultralytics.nn.tasks\nDetectionModel\n)\x81}" + text("x") + call("os", "system", TOUCH) + b"sb",
        r"os\.system",
    ),
    "extension registry": (b"\x82\x01", "EXT1"),
    "out-of-band buffer": (b"\x80\x05\x97", "NEXT_BUFFER"),
    "a huge byte array": (b"\x80\x05\x96" + struct.pack("<Q", 1 << 40), "BYTEARRAY8|cut short"),
    "a huge string": (b"X\xff\xff\xff\x7f", "cut short|not"),
    "a huge memo slot": (b"Nr\xff\xff\xff\x7f", "slot"),
    "state for a constructor": (
        b"ccollections\nOrderedDict\nN}" + text("__call__") + b"Ns\x86b",
        "not well formed",
    ),
    "state for a stub class": (
        b"cultralytics.nn.tasks\nDetectionModel\nN}" + text("x") + b"Ns\x86b",
        "not well formed",
    ),
    "a call of a storage type": (call("torch", "FloatStorage", b"K\x01"), "not well formed"),
    "a stub appended to": (b"cultralytics.nn.tasks\nDetectionModel\n)\x81(Ne", "not well formed"),
    "a set of many": (b"cbuiltins\nset\n]q\x00(" + b"K\x01" * 100 + b"e\x85R", "more than"),
    "a tensor beyond its storage": (tensor(b"K\x09\x85", b"K\x01\x85"), "does not fit"),
    "a tensor by offset": (tensor(b"K\x02\x85", b"K\x01\x85", b"K\x03"), "does not fit"),
    "a tensor by stride": (tensor(b"K\x02\x85", b"M\xff\xff\x85"), "does not fit"),
    "a negative stride": (tensor(b"K\x02\x85", b"J\xff\xff\xff\xff\x85"), "size or stride"),
    "an expanded tensor": (tensor(b"J\xff\xff\xff\x7f\x85", b"K\x00\x85"), "does not fit"),
    "a size that is text": (tensor(text("x") + b"\x85", b"K\x01\x85"), "size or stride"),
    "a storage with another count": (tensor(b"K\x02\x85", b"K\x01\x85", count=b"\xff"), "bytes"),
    "a reference of another kind": (b"(X\x04\x00\x00\x00evilK\x01tQ", "reference"),
    "a storage outside the archive": (
        b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\n" + text("../../x") + text("cpu") + b"K\x04tQ",
        "missing",
    ),
    "two pickles": (b"N.cos\nsystem\n(" + TOUCH + b"tR", "more than one|os"),
}
CONTENT = ("archive/data/0", struct.pack("<4f", 1, 2, 3, 4))


@pytest.fixture(autouse=True)
def nothing_happens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    before = set(sys.modules)
    yield
    assert not (tmp_path / SENTINEL).exists()
    assert not {"this", "webbrowser", "runpy"} & (set(sys.modules) - before)


@pytest.mark.parametrize("case", PICKLES)
def test_hostile_pickle_in_a_zip(case, tmp_path):
    operations, message = PICKLES[case]
    path = zip_with(tmp_path / "evil.pt", b"\x80\x02" + operations + b".", CONTENT)
    with pytest.raises(CheckpointError, match=rf"(?s)evil\.pt: .*({message})"):
        read_checkpoint(path)


@pytest.mark.parametrize("case", [c for c, (_, message) in PICKLES.items() if "." in message and "|" not in message])
def test_hostile_pickle_in_the_older_containers(case, tmp_path):
    pickle = b"\x80\x02" + PICKLES[case][0] + b"."
    for path in (legacy_with(tmp_path / "legacy.pt", pickle), tmp_path / "raw.pt", tmp_path / "text.pt"):
        if path.name != "legacy.pt":
            path.write_bytes(pickle if path.name == "raw.pt" else pickle[2:])
        with pytest.raises(CheckpointError, match=rf"(?s){path.name}: .*{PICKLES[case][1]}"):
            read_checkpoint(path)


def test_the_refusal_names_module_and_name_and_says_nothing_ran(tmp_path):
    path = zip_with(tmp_path / "evil.pt", call("os", "system", TOUCH) + b".")
    with pytest.raises(CheckpointError, match=r"refused: the file asks for 'os\.system'.*Nothing was imported or run"):
        read_checkpoint(path)


ENTRIES = {
    "absolute": (("/etc/x", b""), "leaves its folder"),
    "parent": (("archive/../../x", b""), "leaves its folder"),
    "backslash parent": (("archive\\..\\x", b""), "leaves its folder"),
    "drive": (("C:/x", b""), "leaves its folder"),
    "second pickle": (("other/data.pkl", b"N."), "expected one data.pkl"),
    "pickle of another name": (("archive/code.pkl", b"N."), "expected one data.pkl"),
    "case fold": (("ARCHIVE/DATA.PKL", b"N."), "expected one data.pkl|two entries"),
    "case fold data": (("archive/DATA/0", b""), "two entries"),
}


@pytest.mark.parametrize("case", ENTRIES)
def test_zip_tricks(case, tmp_path):
    entry, message = ENTRIES[case]
    path = zip_with(tmp_path / "trick.pt", b"N.", CONTENT, entry)
    with pytest.raises(CheckpointError, match=message):
        read_checkpoint(path)


def test_zip_with_a_link_a_bomb_or_no_pickle(tmp_path):
    link = zipfile.ZipInfo("archive/data/1")
    link.external_attr = 0o120777 << 16
    path = tmp_path / "link.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", "N.")
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(CheckpointError, match="is a link"):
        read_checkpoint(path)
    with zipfile.ZipFile(tmp_path / "bomb.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(3_000_000))
    with pytest.raises(CheckpointError, match="expands more than 200 times"):
        read_checkpoint(tmp_path / "bomb.pt")
    with zipfile.ZipFile(tmp_path / "none.pt", "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(CheckpointError, match=r"expected one data\.pkl"):
        read_checkpoint(tmp_path / "none.pt")


def test_shared_lists_do_not_expand(tmp_path):
    """Thirty lists that each name the one before twice would be 2³⁰ values when written out."""
    laughs = b"]q\x00"
    for i in range(30):
        laughs += b"0](h" + bytes([i]) + b"h" + bytes([i]) + b"eq" + bytes([i + 1])
    network = b"cultralytics.nn.tasks\nDetectionModel\n)\x81}" + text("yaml") + laughs + b"sb"
    path = zip_with(tmp_path / "laughs.pt", b"\x80\x02}" + text("model") + network + b"s.")
    with pytest.raises(CheckpointError, match="parts"):
        read_checkpoint(path)


def test_an_endless_module_tree_is_refused(tmp_path):
    stub = b"cultralytics.nn.tasks\nDetectionModel\n)\x81q\x01}" + text("_modules") + b"}" + text("a") + b"h\x01ssb"
    path = zip_with(tmp_path / "loop.pt", b"\x80\x02}" + text("model") + stub + b"s.")
    with pytest.raises(CheckpointError, match="levels"):
        read_checkpoint(path)


def test_many_names_for_one_storage_do_not_multiply_memory(tmp_path):
    one = tensor(b"K\x04\x85", b"K\x01\x85") + b"q\x01"
    names = b"".join(text(f"t{i}") + b"h\x01" for i in range(20_000))
    path = zip_with(tmp_path / "many.pt", b"\x80\x02}" + text("t") + one + b"s(" + names + b"u.", CONTENT)
    tracemalloc.start()
    with pytest.raises(CheckpointError, match="larger than the storages"):
        read_checkpoint(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 50_000_000


def test_reading_imports_nothing_and_opens_no_socket(tmp_path):
    """An audit hook in a fresh process sees every import, process and socket while all files are read."""
    for i, (operations, _) in enumerate(PICKLES.values()):
        zip_with(tmp_path / f"{i}.pt", b"\x80\x02" + operations + b".", CONTENT)
    program = textwrap.dedent(
        """
        import sys, pathlib
        from yolocore.nn.checkpoint import read_checkpoint
        from yolocore.errors import CheckpointError
        import encodings.idna, email.utils, traceback
        def hook(event, args):
            if event in ("import", "os.system", "subprocess.Popen", "socket.connect", "exec", "compile"):
                seen.append((event, str(args)[:80]))
        seen = []
        files = sorted(pathlib.Path(sys.argv[1]).glob("*.pt"))
        try:
            read_checkpoint(files[0])
        except CheckpointError:
            pass
        sys.addaudithook(hook)
        refused = 0
        for file in files:
            try:
                read_checkpoint(file)
            except CheckpointError:
                refused += 1
        assert refused == len(files), refused
        assert not seen, seen
        """
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_few_names_build_anything():
    assert len(CONSTRUCTORS) <= 20
    assert not {"os", "builtins", "functools", "operator", "torch"} & set(STUBS)
