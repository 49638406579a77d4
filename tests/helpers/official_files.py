"""Makes files like the ecosystem's: real torch pickles whose classes carry the documented names.

The foreign package is never imported: a module of the documented name exists only while a file is written.
"""

from __future__ import annotations

import contextlib
import io
import sys
import types
import warnings
import zipfile
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MODULES = "ultralytics.nn.modules"
PLACES = {
    f"{MODULES}.conv": ("Conv", "DWConv", "Concat"),
    f"{MODULES}.head": ("Detect", "Segment", "Pose", "OBB", "Classify", "v10Detect"),
    "ultralytics.nn.tasks": ("DetectionModel", "SegmentationModel", "PoseModel", "OBBModel", "ClassificationModel"),
    "ultralytics.utils": ("IterableSimpleNamespace",),
}


class Foreign:
    """Creates foreign classes and instances by name."""

    def __init__(self) -> None:
        self.modules: dict[str, types.ModuleType] = {}

    def cls(self, module: str, name: str) -> type:
        parts = module.split(".")
        for i in range(1, len(parts) + 1):
            self.modules.setdefault(".".join(parts[:i]), types.ModuleType(".".join(parts[:i])))
        holder = self.modules[module]
        if not hasattr(holder, name):
            setattr(holder, name, type(name, (), {"__module__": module, "__qualname__": name}))
        return getattr(holder, name)

    def make(self, module: str, name: str, **state: Any) -> Any:
        value = self.cls(module, name)()
        value.__dict__.update(state)
        return value

    @contextlib.contextmanager
    def importable(self) -> Iterator[None]:
        before = {name: sys.modules.get(name) for name in self.modules}
        sys.modules.update(self.modules)
        try:
            yield
        finally:
            for name, module in before.items():
                sys.modules.pop(name)
                if module is not None:
                    sys.modules[name] = module

    def disguise(self, module: nn.Module, **state: Any) -> Any:
        """Return ``module`` as an official file holds it: our classes renamed, torch's as they are."""
        children = OrderedDict(
            (n, None if child is None else self.disguise(child)) for n, child in module._modules.items()
        )
        if type(module).__module__.startswith("torch."):
            for name, child in children.items():
                module._modules[name] = child
            return module
        name = type(module).__name__.replace("V10Detect", "v10Detect")
        if isinstance(module, nn.Upsample):  # ours is a subclass, official files hold torch's
            return nn.Upsample(None, 2, "nearest")
        place = next((p for p, names in PLACES.items() if name in names), f"{MODULES}.block")
        return self.make(
            place,
            name,
            training=False,
            _parameters=module._parameters,
            _buffers=module._buffers,
            _non_persistent_buffers_set=set(module._non_persistent_buffers_set),
            _backward_hooks=OrderedDict(),
            _modules=children,
            i=0,
            f=-1,
            type=f"{place}.{name}",
            np=1,
            **state,
        )

    def save(self, value: Any, path: Path, *, legacy: bool = False) -> Path:
        with self.importable(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Couldn't retrieve source code", category=UserWarning)
            torch.save(value, path, _use_new_zipfile_serialization=not legacy)
        return path


def zip_with(path: Path, pickle: bytes, *extra: tuple[str, bytes], name: str = "archive/data.pkl") -> Path:
    """Write a zip that holds ``pickle`` as its data.pkl, and further entries."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(name, pickle)
        for entry, data in extra:
            archive.writestr(entry, data)
    return path


def legacy_with(path: Path, pickle: bytes) -> Path:
    """Write an older torch stream whose main pickle is ``pickle``."""
    stream = io.BytesIO()
    stream.write(b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.")  # the magic number
    stream.write(b"\x80\x02M\xe9\x03.")  # version 1001
    stream.write(b"\x80\x02}X\r\x00\x00\x00little_endian\x88s.")
    stream.write(pickle)
    stream.write(b"\x80\x02].")  # no storages
    path.write_bytes(stream.getvalue())
    return path
