"""Reads the pickle inside a weights file without importing a class or calling a foreign function.

A pickle is a program. Here it can reach 16 names, all of them objects of this module that build plain
containers and tensors with checked bounds, and a list of class names that become inert stubs. Any other name
ends the reading with an error before anything is built.
"""

from __future__ import annotations

import io
import math
import pickle  # the restricted subclass below is the one use of it in this package
import pickletools
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Protocol, Self

import torch

from yolocore.errors import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_PICKLE_BYTES = 64 << 20
MAX_OPERATIONS = 2_000_000
MAX_DIMENSIONS = 16
MAX_BITS = 1024
MAX_LONG_NUMBERS = 1000  # that need more than 64 bits
MAX_ITEMS = 16  # of a set: copying long arguments again and again would let a small file fill the memory

_FORBIDDEN_OPERATIONS = frozenset({"EXT1", "EXT2", "EXT4", "NEXT_BUFFER", "READONLY_BUFFER", "BYTEARRAY8"})
_GLOBAL_OPERATIONS = frozenset({"GLOBAL", "INST"})
_MEMO_OPERATIONS = frozenset({"PUT", "BINPUT", "LONG_BINPUT"})

NETWORKS: Mapping[str, str] = {
    "DetectionModel": "detect",
    "SegmentationModel": "segment",
    "ClassificationModel": "classify",
    "PoseModel": "pose",
    "OBBModel": "obb",
}
_BLOCKS = frozenset(
    [
        "A2C2f",
        "AAttn",
        "ABlock",
        "AConv",
        "Attention",
        "Bottleneck",
        "C2PSA",
        "C2f",
        "C2fCIB",
        "C3",
        "C3k",
        "C3k2",
        "CIB",
        "DFL",
        "ELAN1",
        "PSA",
        "PSABlock",
        "Proto",
        "RepBottleneck",
        "RepCSP",
        "RepNCSPELAN4",
        "RepVGGDW",
        "SCDown",
        "SPPELAN",
        "SPPF",
    ]
)
_CONVS = frozenset(["Concat", "Conv", "DWConv", "RepConv"])
_HEADS = frozenset(("Classify", "Detect", "OBB", "OBB26", "Pose", "Pose26", "Segment", "Segment26", "v10Detect"))
_ACTIVATIONS = frozenset(  # a model file may name any of these
    (
        *("CELU", "ELU", "GELU", "Hardswish", "LeakyReLU", "Mish", "PReLU"),
        *("ReLU", "ReLU6", "SELU", "SiLU", "Sigmoid", "Softplus", "Tanh"),
    )
)
STUBS: Mapping[str, frozenset[str]] = {
    "ultralytics.nn.tasks": frozenset(NETWORKS),
    "ultralytics.nn.modules": _BLOCKS | _CONVS | _HEADS,
    "ultralytics.nn.modules.block": _BLOCKS,
    "ultralytics.nn.modules.conv": _CONVS,
    "ultralytics.nn.modules.head": _HEADS,
    "ultralytics.utils": frozenset({"IterableSimpleNamespace"}),
    "ultralytics.yolo.utils": frozenset({"IterableSimpleNamespace"}),
    "torch.nn.modules.activation": _ACTIVATIONS,
    "torch.nn.modules.batchnorm": frozenset({"BatchNorm2d"}),
    "torch.nn.modules.container": frozenset({"ModuleList", "Sequential"}),
    "torch.nn.modules.conv": frozenset({"Conv2d", "ConvTranspose2d"}),
    "torch.nn.modules.dropout": frozenset({"Dropout"}),
    "torch.nn.modules.linear": frozenset({"Identity", "Linear"}),
    "torch.nn.modules.pooling": frozenset({"AdaptiveAvgPool2d", "MaxPool2d"}),
    "torch.nn.modules.upsampling": frozenset({"Upsample"}),
    "torchvision.transforms.functional": frozenset({"InterpolationMode"}),
    "torchvision.transforms.transforms": frozenset({"CenterCrop", "Compose", "Normalize", "Resize", "ToTensor"}),
    "pathlib": frozenset({"PosixPath", "PurePosixPath"}),
}
_OTHER_ARCHITECTURES = ("models.yolo", "models.common", "models.experimental")


class InertType(type):
    """Class of the stub classes: a pickle can neither give them attributes nor make them do anything."""

    def __setattr__(cls, name: str, value: object) -> None:
        raise TypeError(f"the stub {cls.__qualname__} cannot be changed")


class Stub(metaclass=InertType):
    """Stands for an object of a foreign class: remembers its arguments and state, has no behaviour."""

    __slots__ = ("arguments", "state")
    arguments: tuple[Any, ...]
    state: Any

    def __new__(cls, *arguments: Any) -> Self:
        """Make the stub; ``arguments`` are kept as they are."""
        stub = object.__new__(cls)
        stub.arguments, stub.state = arguments, None
        return stub

    def __setstate__(self, state: Any) -> None:
        self.state = state

    @property
    def kind(self) -> str:
        """Name of the class the stub stands for, without its module."""
        return type(self).__name__

    @property
    def source(self) -> str:
        """Module of the class the stub stands for."""
        return type(self).__module__


class StorageType:
    """Marks the element type of a storage, e.g. what ``torch.HalfStorage`` means in the pickle."""

    __slots__ = ("dtype",)
    dtype: torch.dtype

    def __init__(self, dtype: torch.dtype) -> None:
        object.__setattr__(self, "dtype", dtype)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError("a storage type cannot be changed")


class StorageSource(Protocol):
    """Where the unpickler gets the numbers of a storage from."""

    def __call__(self, key: str, dtype: torch.dtype, count: int) -> torch.Tensor:
        """Return the ``count`` elements of storage ``key`` as a one-dimensional tensor."""


# The constructors are objects without a __dict__: a pickle could give attributes to a function or class.
class _OrderedDict:
    __slots__ = ()

    def __call__(self) -> OrderedDict[Any, Any]:
        return OrderedDict()


class _Set:
    __slots__ = ()

    def __call__(self, items: Any = ()) -> set[Any]:
        if not isinstance(items, (list, tuple)) or len(items) > MAX_ITEMS:
            raise CheckpointError(f"a set is built from more than {MAX_ITEMS} items or from {type(items).__name__}")
        return set(items)


class _Size:
    __slots__ = ()

    def __call__(self, items: Any = ()) -> tuple[int, ...]:
        return _dimensions(items)


class _Tensor:
    __slots__ = ()

    def __call__(self, storage: Any, offset: Any, size: Any, stride: Any, *_rest: Any) -> torch.Tensor:
        if not isinstance(storage, torch.Tensor) or storage.ndim != 1:
            raise CheckpointError("a tensor does not name a storage")
        size, stride = _dimensions(size), _dimensions(stride)
        if len(size) != len(stride) or not _is_count(offset):
            raise CheckpointError(f"a tensor has size {size}, stride {stride}, offset {offset!r}")
        elements = math.prod(size)
        last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True)) if elements else 0
        if elements > storage.numel() or last >= max(storage.numel(), 1):
            raise CheckpointError(f"a tensor of size {size} does not fit its storage of {storage.numel()} elements")
        return torch.as_strided(storage, size, stride, offset)


class _Parameter:
    __slots__ = ()

    def __call__(self, data: Any, *_rest: Any) -> torch.Tensor:
        if not isinstance(data, torch.Tensor):
            raise CheckpointError("a parameter does not hold a tensor")
        return data


CONSTRUCTORS: Mapping[str, Any] = {
    "collections.OrderedDict": _OrderedDict(),
    "__builtin__.set": _Set(),
    "builtins.set": _Set(),
    "torch.Size": _Size(),
    "torch._utils._rebuild_tensor_v2": _Tensor(),
    "torch._utils._rebuild_parameter": _Parameter(),
    "torch.FloatStorage": StorageType(torch.float32),
    "torch.HalfStorage": StorageType(torch.float16),
    "torch.DoubleStorage": StorageType(torch.float64),
    "torch.BFloat16Storage": StorageType(torch.bfloat16),
    "torch.LongStorage": StorageType(torch.int64),
    "torch.IntStorage": StorageType(torch.int32),
    "torch.ShortStorage": StorageType(torch.int16),
    "torch.CharStorage": StorageType(torch.int8),
    "torch.ByteStorage": StorageType(torch.uint8),
    "torch.BoolStorage": StorageType(torch.bool),
}


def read_pickle(stream: io.BytesIO, storages: StorageSource | None = None) -> Any:
    """Read the one pickle that starts at the position of ``stream``, and leave ``stream`` behind it.

    Args:
        stream: The bytes.
        storages: Delivers tensor storages; None when the container can hold none.

    Returns:
        Plain containers, tensors and ``Stub`` objects.

    Raises:
        CheckpointError: The pickle is damaged, beyond a limit, or names anything outside the list.
    """
    start = stream.tell()
    end = _scan(stream)
    body = io.BytesIO(stream.getbuffer()[start:end])
    try:
        tree = _Unpickler(body, storages).load()
    except CheckpointError:
        raise
    except (pickle.UnpicklingError, EOFError, AttributeError, TypeError, ValueError, LookupError) as error:
        raise CheckpointError(f"the pickle inside is not well formed ({error})") from error
    except (MemoryError, RecursionError, OverflowError, RuntimeError) as error:
        raise CheckpointError(f"the pickle inside asks for too much ({type(error).__name__}: {error})") from error
    stream.seek(end)
    return tree


class _Unpickler(pickle.Unpickler):
    def __init__(self, stream: io.BytesIO, storages: StorageSource | None) -> None:
        super().__init__(stream, encoding="utf-8")
        self._storages = storages
        self._stubs: dict[str, InertType] = {}

    def find_class(self, module: str, name: str) -> Any:  # documented extension point: nothing is imported here
        constructor = CONSTRUCTORS.get(f"{module}.{name}")
        if constructor is not None:
            return constructor
        if name not in STUBS.get(module, ()):
            raise refusal(module, name)
        key = f"{module}.{name}"
        if key not in self._stubs:
            self._stubs[key] = InertType(name, (Stub,), {"__slots__": (), "__module__": module})
        return self._stubs[key]

    def persistent_load(self, pid: Any) -> Any:
        if isinstance(pid, tuple) and len(pid) >= 2 and pid[0] == "module" and isinstance(pid[1], InertType):
            return pid[1]  # streams of old releases carry the source text of a class beside it; it is ignored
        if self._storages is None:
            raise CheckpointError("the file refers to tensors that it cannot hold")
        if not isinstance(pid, tuple) or len(pid) not in (5, 6) or pid[0] != "storage":
            raise CheckpointError(f"the file has an unknown kind of reference {str(pid)[:80]!r}")
        _, kind, key, _location, count = pid[:5]
        if not isinstance(kind, StorageType) or not isinstance(key, str) or not _is_count(count):
            raise CheckpointError(f"the file describes a storage as {str(pid)[:80]!r}")
        storage = self._storages(key, kind.dtype, count)
        view = pid[5] if len(pid) == 6 else None
        if view is None:
            return storage
        if not isinstance(view, tuple) or len(view) != 3 or not all(_is_count(n) for n in view[1:]):
            raise CheckpointError(f"the file describes a part of a storage as {str(view)[:80]!r}")
        return storage[view[1] : view[1] + view[2]]


def refusal(module: str, name: str) -> CheckpointError:
    """Return the error for a name outside the list."""
    if module in _OTHER_ARCHITECTURES:
        return CheckpointError(
            f"the file holds a '{module}.{name}' object: this is a YOLOv5-style checkpoint, an architecture"
            " yolocore does not build. Use weights of a supported one, e.g. yolov8 or yolo11"
        )
    return CheckpointError(
        f"refused: the file asks for '{module}.{name}', which is not needed to store a network. Nothing was"
        " imported or run. If you trust its origin, save its state_dict() with the program that made it"
    )


def _scan(stream: io.BytesIO) -> int:
    """Check operations, names and limits of the next pickle without executing it; return where it ends."""
    start, count, highest, long = stream.tell(), 0, -1, 0
    try:
        for count, (operation, argument, _) in enumerate(pickletools.genops(stream), start=1):
            if count > MAX_OPERATIONS or stream.tell() - start > MAX_PICKLE_BYTES:
                raise CheckpointError(f"the pickle inside is larger than {MAX_OPERATIONS} operations")
            if operation.name in _FORBIDDEN_OPERATIONS:
                raise CheckpointError(f"refused: the pickle inside uses the operation {operation.name}")
            if operation.name in _GLOBAL_OPERATIONS:
                _check_name(*str(argument).rpartition(" ")[::2])
            elif operation.name in _MEMO_OPERATIONS:
                highest = max(highest, int(argument or 0))
            elif type(argument) is int:
                long = _count_long(argument, long)
    except (ValueError, IndexError, OverflowError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(f"not a checkpoint, or cut short ({error})") from error
    if highest > count:  # the interpreter would allocate up to this index
        raise CheckpointError(f"refused: the pickle inside has {count} operations but stores to slot {highest}")
    return stream.tell()


def _count_long(number: int, count: int) -> int:
    """Return ``count``, one more for a number above 64 bits.

    As keys of a dict, such numbers can be chosen to collide: a small file with many of them would take hours.
    """
    bits = number.bit_length()
    if bits <= 64:
        return count
    if count >= MAX_LONG_NUMBERS or bits > MAX_BITS:
        raise CheckpointError(f"refused: the pickle inside has a number of {bits} bits, and {count} more above 64")
    return count + 1


def _check_name(module: str, name: str) -> None:
    if f"{module}.{name}" not in CONSTRUCTORS and name not in STUBS.get(module, ()):
        raise refusal(module, name)


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 1 << 48


def _dimensions(value: Any) -> tuple[int, ...]:
    if not isinstance(value, (tuple, list)) or len(value) > MAX_DIMENSIONS or not all(map(_is_count, value)):
        raise CheckpointError(f"a tensor has the size or stride {str(value)[:80]}")
    return tuple(value)
