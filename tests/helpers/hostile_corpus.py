"""Generates weights files made to run code or to exhaust a machine, and for each kind a benign twin.

Every operation that a pickle can have is in it, in each of the three containers; the corpus is written anew in every
run, nothing of it is kept.
"""

from __future__ import annotations

import io
import json
import struct
import zipfile
from typing import TYPE_CHECKING, NamedTuple

from official_files import legacy_with, zip_with

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CANARY = "canary-was-here"
WEIGHTS = ("archive/data/0", struct.pack("<4f", 1, 2, 3, 4))


class Case(NamedTuple):
    """A file, and a pattern of the error it has to give; None for a file that has to load."""

    path: Path
    message: str | None


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def storage(count: bytes = b"K\x04", key: str = "0", kind: str = "FloatStorage") -> bytes:
    """Return the operations that name a storage."""
    return b"(" + text("storage") + f"ctorch\n{kind}\n".encode() + text(key) + text("cpu") + count + b"tQ"


def tensor(of: bytes = storage(), size: bytes = b"K\x04\x85", stride: bytes = b"K\x01\x85") -> bytes:
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + of + b"K\x00" + size + stride + b"\x89NtR"


EVIL = b"cos\nsystem\n(" + text(f"touch {CANARY}") + b"tR"
GOOD = b"}" + text("weight") + tensor() + b"s"
NO_TENSOR = b"}" + text("weight") + b"Ns"  # what containers without storages can hold
STUB = b"cultralytics.nn.modules.conv\nConv\n"
ORDERED = b"ccollections\nOrderedDict\n"

# operation → operations that use it and leave the stack as it was
OPERATIONS: dict[str, bytes] = {
    "INT": b"I7\n0",
    "BININT": b"J\x07\x00\x00\x000",
    "BININT1": b"K\x070",
    "BININT2": b"M\x07\x000",
    "LONG": b"L7L\n0",
    "LONG1": b"\x8a\x01\x070",
    "LONG4": b"\x8b\x01\x00\x00\x00\x070",
    "STRING": b"S'a'\n0",
    "BINSTRING": b"T\x01\x00\x00\x00a0",
    "SHORT_BINSTRING": b"U\x01a0",
    "BINBYTES": b"B\x01\x00\x00\x00a0",
    "SHORT_BINBYTES": b"C\x01a0",
    "BINBYTES8": b"\x8e" + struct.pack("<Q", 1) + b"a0",
    "NONE": b"N0",
    "NEWTRUE": b"\x880",
    "NEWFALSE": b"\x890",
    "UNICODE": b"Va\n0",
    "SHORT_BINUNICODE": b"\x8c\x01a0",
    "BINUNICODE": b"X\x01\x00\x00\x00a0",
    "BINUNICODE8": b"\x8d" + struct.pack("<Q", 1) + b"a0",
    "FLOAT": b"F1.5\n0",
    "BINFLOAT": b"G" + struct.pack(">d", 1.5) + b"0",
    "EMPTY_LIST": b"]0",
    "APPEND": b"]Na0",
    "APPENDS": b"](NNe0",
    "LIST": b"(NNl0",
    "EMPTY_TUPLE": b")0",
    "TUPLE": b"(Nt0",
    "TUPLE1": b"N\x850",
    "TUPLE2": b"NN\x860",
    "TUPLE3": b"NNN\x870",
    "EMPTY_DICT": b"}0",
    "DICT": b"(K\x01Nd0",
    "SETITEM": b"}K\x01Ns0",
    "SETITEMS": b"}(K\x01Nu0",
    "EMPTY_SET": b"\x8f0",
    "ADDITEMS": b"\x8f(K\x01\x900",
    "FROZENSET": b"(K\x01\x910",
    "POP": b"N0",
    "DUP": b"N200",
    "MARK": b"(t0",
    "POP_MARK": b"(NN1",
    "GET": b"Np1\n0g1\n0",
    "BINGET": b"Nq\x010h\x010",
    "LONG_BINGET": b"Nr\x01\x00\x00\x000j\x01\x00\x00\x000",
    "PUT": b"Np1\n0",
    "BINPUT": b"Nq\x010",
    "LONG_BINPUT": b"Nr\x01\x00\x00\x000",
    "MEMOIZE": b"N\x940",
    "GLOBAL": ORDERED + b"0",
    "STACK_GLOBAL": text("collections") + text("OrderedDict") + b"\x930",
    "REDUCE": ORDERED + b")R0",
    "BUILD": STUB + b")\x81}b0",
    "INST": b"(icollections\nOrderedDict\n0",
    "OBJ": b"(" + ORDERED + b"o0",
    "NEWOBJ": STUB + b")\x810",
    "NEWOBJ_EX": STUB + b")}\x920",
    "PROTO": b"\x80\x04",
    "FRAME": b"\x95" + struct.pack("<Q", 2) + b"N0",
    "STOP": b"",
}
# operations that no weights file has: refused wherever they stand
REFUSED: dict[str, bytes] = {
    "EXT1": b"\x82\x010",
    "EXT2": b"\x83\x01\x000",
    "EXT4": b"\x84\x01\x00\x00\x000",
    "BYTEARRAY8": b"\x96" + struct.pack("<Q", 1) + b"a0",
    "NEXT_BUFFER": b"\x970",
    "READONLY_BUFFER": b"C\x01a\x980",
    "PERSID": b"Phttp://example.org\n0",
}
WITH_STORAGES = {"BINPERSID": storage() + b"0"}

# a global on the list, used in a way that is none of its own
ABUSES: dict[str, tuple[bytes, str]] = {
    "ordered-arguments": (ORDERED + b"(]tR", "not well formed"),
    "ordered-attributes": (ORDERED + b"}" + text("__class__") + b"Nsb", "not well formed"),
    "set-of-text": (b"cbuiltins\nset\n(" + text("abc") + b"tR", "a set is built from"),
    "size-of-text": (b"ctorch\nSize\n(" + text("abc") + b"tR", "size or stride"),
    "size-negative": (b"ctorch\nSize\n((J\xff\xff\xff\xffttR", "size or stride"),
    "parameter-of-none": (b"ctorch._utils\n_rebuild_parameter\n(N\x89NtR", "does not hold a tensor"),
    "tensor-of-none": (tensor(of=b"N"), "does not name a storage"),
    "storage-called": (b"ctorch\nHalfStorage\n(K\x05tR", "not well formed"),
    "storage-of-storage": (storage(kind="_UntypedStorage"), r"torch\._UntypedStorage"),
    "stub-subscript": (STUB + b")\x81N" + b"Ns", "not well formed"),
    "stub-class-state": (STUB + b"}" + text("__init__") + b"Nsb", "not well formed|cannot be changed"),
    "dotted-name": (text("collections") + text("OrderedDict.fromkeys") + b"\x93", r"OrderedDict\.fromkeys"),
    "dunder-name": (text("builtins") + text("set.__init__.__globals__") + b"\x93", "__globals__"),
    "name-of-number": (b"K\x01K\x02\x93", "not well formed"),
    "module-of-list": (b"(X\x06\x00\x00\x00moduleK\x01tQ", "unknown kind of reference|describes"),
}
OUTSIDE = (
    *("os system", "posix system", "nt system", "os popen", "os execv", "subprocess Popen", "subprocess run"),
    *("builtins eval", "builtins exec", "builtins compile", "builtins __import__", "builtins open"),
    *("builtins getattr", "builtins setattr", "builtins globals", "builtins breakpoint", "__builtin__ apply"),
    *("importlib import_module", "runpy run_path", "code interact", "pdb run", "timeit timeit", "pty spawn"),
    *("socket create_connection", "urllib.request urlopen", "webbrowser open", "shutil rmtree", "ctypes CDLL"),
    *("functools partial", "functools reduce", "operator attrgetter", "operator methodcaller", "itertools starmap"),
    *("types FunctionType", "types CodeType", "pickle loads", "marshal loads", "copyreg _reconstructor"),
    *("torch load", "torch.hub load", "torch.jit load", "torch.storage _load_from_bytes", "torch._dynamo reset"),
    *("numpy.core.multiarray _reconstruct", "numpy load", "joblib load", "dill loads", "yaml unsafe_load"),
    *("ultralytics.utils.downloads safe_download", "ultralytics.nn.tasks attempt_load_weights"),
    *("ultralytics.nn.modules.conv os", "models.yolo Model", "pathlib Path", "collections namedtuple"),
)


def corpus(folder: Path) -> Iterator[Case]:
    """Write every file below ``folder``."""
    yield from _in_containers(folder / "operations", _operation_pickles())
    yield from _in_containers(folder / "outside", _outside_pickles())
    yield from _abuses(folder / "inside")
    yield from _bombs(folder / "bombs")
    yield from _lies(folder / "lies")
    yield from _archives(folder / "archives")
    yield from _safetensors(folder / "safetensors")


def _operation_pickles() -> Iterator[tuple[str, bytes, str | None]]:
    for name, use in {**OPERATIONS, **WITH_STORAGES}.items():
        yield f"{name}-benign", use, None
        yield f"{name}-evil", use + EVIL + b"0", r"os\.system"
    for name, use in REFUSED.items():
        yield f"{name}-refused", use, f"{name}|reference|refers to tensors"


def _outside_pickles() -> Iterator[tuple[str, bytes, str | None]]:
    for i, pair in enumerate(OUTSIDE):
        module, name = pair.split()
        call = (
            f"c{module}\n{name}\n(".encode() + text(f"touch {CANARY}") + b"tR",
            text(module) + text(name) + b"\x93" + text(f"touch {CANARY}") + b"\x85R",
            b"(" + text(f"touch {CANARY}") + f"i{module}\n{name}\n".encode(),
            f"(c{module}\n{name}\n".encode() + text(f"touch {CANARY}") + b"o",
        )[i % 4]
        yield f"{module}.{name}", call + b"0", rf"{module}\.{name}"


def _in_containers(folder: Path, pickles: Iterator[tuple[str, bytes, str | None]]) -> Iterator[Case]:
    folder.mkdir(parents=True)
    for name, use, message in pickles:
        yield Case(zip_with(folder / f"{name}-zip.pt", b"\x80\x04" + use + GOOD + b".", WEIGHTS), message)
        if "BINPERSID" in name:
            continue
        plain = b"\x80\x04" + use + NO_TENSOR + b"."
        nothing = message or "holds a dict with the keys"  # these two containers hold no tensor here
        yield Case(legacy_with(folder / f"{name}-legacy.pt", plain), nothing)
        raw = folder / f"{name}-raw.pt"
        raw.write_bytes(plain)
        yield Case(raw, nothing)


def _abuses(folder: Path) -> Iterator[Case]:
    folder.mkdir()
    for name, (use, message) in ABUSES.items():
        yield Case(zip_with(folder / f"{name}.pt", b"\x80\x04" + use + b"0" + GOOD + b".", WEIGHTS), message)


def _bombs(folder: Path) -> Iterator[Case]:
    folder.mkdir()
    huge = struct.pack("<Q", 1 << 60)
    collide = b"}(" + b"".join(b"\x8a\x10" + (i * (2**61 - 1)).to_bytes(16, "little") + b"N" for i in range(60_000))
    pickles = {
        "memo": (b"Nr\xff\xff\xff\x7f0", "slot"),
        "memo-text": (b"Np99999999999\n0", "slot|not a checkpoint"),
        "memo-negative": (b"Np-1\n0", "not well formed|not a checkpoint"),
        "unicode-length": (b"\x8d" + huge, "cut short"),
        "bytes-length": (b"\x8e" + huge, "cut short"),
        "frame-length": (b"\x95" + huge + b"N0", "cut short|not well formed|asks for too much"),
        "long-length": (b"\x8b\xff\xff\xff\x7f", "cut short"),
        "long-bytes": (b"\x8b\x00\x00\x10\x00" + b"\x7f" * (1 << 20) + b"0", "a number of"),
        "long-digits": (b"L" + b"7" * 100_000 + b"L\n0", "not a checkpoint|a number of"),
        "collisions": (collide + b"u0", "a number of"),
        "few-long-numbers": (b"\x8a\x10" + b"\x7f" * 16 + b"0", None),
        "nested-lists": (b"]" * 200_000 + b"a" * 199_999 + b"0", None),
        "nested-tuples": (b"N" + b"\x85" * 200_000 + b"0", None),
        "operations": (b"N0" * 1_100_000, "larger than"),
        "marks": (b"(" * 300_000, None),
        "storage-count": (storage(b"\x8a\x06" + (1 << 46).to_bytes(6, "little")) + b"0", "bytes"),
        "storage-negative": (storage(b"J\xff\xff\xff\xff") + b"0", "describes a storage"),
        "dimensions": (tensor(size=b"(" + b"K\x01" * 40 + b"t", stride=b"(" + b"K\x01" * 40 + b"t") + b"0", "size"),
        "overflow": (tensor(size=b"\x8a\x06" + b"\xff" * 5 + b"\x7f\x85") + b"0", "does not fit"),
        "empty-but-far": (tensor(size=b"K\x00\x85", stride=b"\x8a\x06" + b"\xff" * 5 + b"\x7f\x85") + b"0", None),
    }
    for name, (use, message) in pickles.items():
        yield Case(zip_with(folder / f"{name}.pt", b"\x80\x04" + use + GOOD + b".", WEIGHTS), message)
    nested = b"}" + text("yaml") + b"]" * 5_000 + b"a" * 4_999 + b"s"
    network = b"}" + text("model") + b"cultralytics.nn.tasks\nDetectionModel\n)\x81" + nested + b"bs."
    yield Case(zip_with(folder / "nested-description.pt", b"\x80\x04" + network), "levels")


def _lies(folder: Path) -> Iterator[Case]:
    """Files whose numbers do not agree with their content, and files that end too early."""
    folder.mkdir()
    whole = b"\x80\x04" + GOOD + b"."
    named = {
        "count": (b"\x80\x04}" + text("w") + tensor(storage(b"K\x05")) + b"s.", "has 16 bytes"),
        "type": (b"\x80\x04}" + text("w") + tensor(storage(kind="DoubleStorage")) + b"s.", "has 16 bytes"),
        "key": (b"\x80\x04}" + text("w") + tensor(storage(key="7")) + b"s.", "missing"),
        "key-outside": (b"\x80\x04}" + text("w") + tensor(storage(key="../../etc/passwd")) + b"s.", "missing"),
        "two-types": (
            b"\x80\x04}" + text("w") + tensor() + b"s" + text("v") + tensor(storage(kind="IntStorage")) + b"s.",
            "described in two ways",
        ),
        "size": (b"\x80\x04}" + text("w") + tensor(size=b"K\x05\x85") + b"s.", "does not fit"),
        "two-pickles": (whole + b"N.", "more than one pickle"),
        "no-stop": (whole[:-1], "cut short|well formed"),
    }
    for name, (pickle, message) in named.items():
        yield Case(zip_with(folder / f"{name}.pt", pickle, WEIGHTS), message)
    order = ("archive/byteorder", b"middle")
    yield Case(zip_with(folder / "byteorder.pt", whole, WEIGHTS, order), "byteorder")
    yield Case(zip_with(folder / "byteorder-long.pt", whole, WEIGHTS, ("archive/byteorder", b"l" * 99)), "byteorder")
    complete = zip_with(folder / "benign.pt", whole, WEIGHTS)
    yield Case(complete, None)
    content = complete.read_bytes()
    for share in (1, 3, 30, 60, 90, 99):
        cut = folder / f"cut-{share}.pt"
        cut.write_bytes(content[: max(len(content) * share // 100, 1)])
        yield Case(cut, "damaged|cut short|not a weights file|not a checkpoint")
    flipped = bytearray(content)
    flipped[content.index(WEIGHTS[1]) + 2] ^= 0x40
    (folder / "flipped.pt").write_bytes(flipped)
    yield Case(folder / "flipped.pt", "damaged")
    legacy = b"\x80\x04}" + text("w") + tensor(storage(b"M\xff\xff")) + b"s."
    yield Case(legacy_with(folder / "legacy-count.pt", legacy), "more bytes than the file has")
    legacy = b"\x80\x04}" + text("w") + tensor() + b"s."
    yield Case(legacy_with(folder / "legacy-list.pt", legacy), "does not agree")
    for name, body in (("empty", b""), ("text", b"weights: none\n"), ("html", b"<html>\n"), ("zeros", bytes(1000))):
        (folder / f"{name}.pt").write_bytes(body)
        yield Case(folder / f"{name}.pt", "empty|not a weights file|not a checkpoint|holds")


def _archives(folder: Path) -> Iterator[Case]:
    folder.mkdir()
    whole = b"\x80\x04" + GOOD + b"."
    names = {
        "absolute": "/etc/passwd",
        "parent": "archive/../../x",
        "backslash": "archive\\..\\x",
        "drive": "C:\\x",
        "second-pickle": "other/data.pkl",
        "hidden-pickle": "archive/.data.pkl",
        "same-folded": "archive/DATA/0",
        "terminator": "archive/data/1\0.txt",
    }
    for name, entry in names.items():
        path = folder / f"{name}.pt"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archive/data.pkl", whole)
            archive.writestr(*WEIGHTS)
            info = zipfile.ZipInfo("x")
            info.filename = info.orig_filename = entry
            archive.writestr(info, b"N.")
        yield Case(path, "leaves its folder|expected one data.pkl|two entries")
    link = zipfile.ZipInfo("archive/data/1")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(folder / "link.pt", "w") as archive:
        archive.writestr("archive/data.pkl", whole)
        archive.writestr(link, "/etc/passwd")
    yield Case(folder / "link.pt", "is a link")
    for name, size in (("bomb-pickle", 30_000_000), ("bomb-storage", 100_000_000)):
        with zipfile.ZipFile(folder / f"{name}.pt", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("archive/data.pkl", bytes(size) if name == "bomb-pickle" else whole)
            archive.writestr("archive/data/0", bytes(size) if name == "bomb-storage" else WEIGHTS[1])
        yield Case(folder / f"{name}.pt", "expands more than 200 times")
    yield Case(_overlapping(folder / "overlap.pt"), "share their bytes")
    yield Case(_many_entries(folder / "entries.pt"), "entries, at most")
    path = zip_with(folder / "encrypted.pt", whole, WEIGHTS)
    data = bytearray(path.read_bytes())
    at = data.index(b"PK\x01\x02")
    data[at + 8] |= 1
    path.write_bytes(data)
    yield Case(path, "encrypted")
    path = zip_with(folder / "deep.pt", whole, WEIGHTS, name="a/b/data.pkl")
    yield Case(path, "expected <name>/data.pkl")


def _overlapping(path: Path) -> Path:
    """Write a zip whose directory names the same bytes a thousand times: 100 MB from 100 kB."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", b"N.")
        archive.writestr("archive/data/0", b"\x01" * 100_000)
    data = path.read_bytes()
    end = data.rindex(b"PK\x05\x06")
    start = data.index(b"PK\x01\x02")
    second = data.index(b"PK\x01\x02", start + 4)
    record = data[second:end]
    copies = b"".join(record.replace(b"data/0", b"data/%c" % c) for c in range(0x41, 0x5B))
    count = 2 + 26
    tail = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, count, count, end - start + len(copies), start, 0)
    path.write_bytes(data[:end] + copies + tail)
    return path


def _many_entries(path: Path) -> Path:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", b"N.")
        for i in range(50_001):
            archive.writestr(f"a/{i}", b"")
    path.write_bytes(buffer.getvalue())
    return path


def _safetensors(folder: Path) -> Iterator[Case]:
    folder.mkdir()
    entry = {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}
    tables: dict[str, tuple[object, str | None]] = {
        "benign": ({"w": entry}, None),
        "offsets": ({"w": {**entry, "data_offsets": [0, 1 << 50]}}, "does not fit"),
        "negative": ({"w": {**entry, "data_offsets": [-16, 0]}}, "does not fit|shares bytes"),
        "backwards": ({"w": {**entry, "data_offsets": [16, 0]}}, "does not fit"),
        "shape": ({"w": {**entry, "shape": [1 << 40]}}, "does not fit"),
        "shape-negative": ({"w": {**entry, "shape": [-2, -2]}}, "does not fit"),
        "shape-text": ({"w": {**entry, "shape": ["x"]}}, "damaged"),
        "type": ({"w": {**entry, "dtype": "OBJECT"}}, "has type"),
        "shared": ({"a": entry, "b": entry}, "shares bytes"),
        "list": ([], "damaged"),
        "entry": ({"w": 7}, "damaged"),
        "metadata": ({"w": entry, "__metadata__": {"yaml": "[" * 5_000}}, "no JSON"),
    }
    for name, (table, message) in tables.items():
        header = json.dumps(table).encode()
        path = folder / f"{name}.safetensors"
        path.write_bytes(len(header).to_bytes(8, "little") + header + WEIGHTS[1])
        yield Case(path, message)
    raw = {
        "length": ((1 << 62).to_bytes(8, "little") + b"{}", "cut short"),
        "nested": ((200_000).to_bytes(8, "little") + b"[" * 200_000, "damaged"),
        "short": (b"\x01\x02", "cut short"),
    }
    for name, (content, message) in raw.items():
        (folder / f"{name}.safetensors").write_bytes(content)
        yield Case(folder / f"{name}.safetensors", message)
