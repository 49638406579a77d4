"""``yolo help``, ``yolo version`` and ``yolo checks``."""

from __future__ import annotations

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.table import Table

from yolocore._version import __version__
from yolocore.cli.terminal import output
from yolocore.config.settings import get_settings
from yolocore.hooks.discovery import candidates

PACKAGES: Final = (
    *("torch", "torchvision", "numpy", "opencv-python", "pillow", "matplotlib", "pydantic", "pluggy"),
    *("onnx", "onnxruntime", "onnxscript", "onnxslim", "pandas"),
)
ALTERNATIVES: Final = {"opencv-python": ("opencv-python-headless", "opencv-contrib-python")}
GIB: Final = 2**30


def show_help(topic: Annotated[str | None, typer.Argument(help="A mode or an argument.")] = None) -> None:
    """Explain the program, a mode, or an argument."""
    from yolocore.cli.help import overview, topic_help  # loads the schema

    if topic is None:
        overview()
    else:
        topic_help(topic)


def version() -> None:
    """Print the version."""
    output().print(__version__)


def checks() -> None:
    """Print what a bug report needs: versions, processor, memory, devices, plugins."""
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column(style="cyan", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in _facts():
        table.add_row(name, value)
    output().print(table)


def _facts() -> list[tuple[str, str]]:
    packages = [(name, _package_version(name)) for name in PACKAGES]
    plugins = [f"{found.name} ({found.distribution} {found.version})" for found in candidates()]
    return [
        ("yolocore", __version__),
        ("python", f"{platform.python_version()}  {sys.executable}"),
        ("system", platform.platform()),
        *packages,
        ("processor", f"{_processor()}, {os.cpu_count()} cores"),
        ("memory", _memory()),
        *_devices(),
        ("plugins", ", ".join(plugins) or "none installed"),
        ("settings", str(get_settings().file)),
        ("working directory", str(Path.cwd())),
    ]


def _package_version(name: str) -> str:
    for candidate in (name, *ALTERNATIVES.get(name, ())):
        try:
            return installed_version(candidate)
        except PackageNotFoundError:
            continue
    return "not installed"


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _memory() -> str:
    try:
        page = os.sysconf("SC_PAGE_SIZE")
        total, free = os.sysconf("SC_PHYS_PAGES") * page, os.sysconf("SC_AVPHYS_PAGES") * page
    except (AttributeError, OSError, ValueError):  # Windows, some macOS
        return "unknown"
    return f"{total / GIB:.1f} GiB, {free / GIB:.1f} GiB free"


def _devices() -> list[tuple[str, str]]:
    """Return one row per device torch can compute on."""
    try:
        import torch
    except (ImportError, OSError) as error:
        return [("devices", f"torch cannot be loaded: {error}")]
    rows = [("device cpu", f"{torch.get_num_threads()} threads")]
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        rows.append((f"device {index}", f"{properties.name}, {properties.total_memory / GIB:.1f} GiB"))
    if torch.backends.mps.is_available():
        rows.append(("device mps", "Apple GPU"))
    return rows
