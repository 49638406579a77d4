"""Plugin distributions in a folder, without a network: built as a wheel and installed, or just written there."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PYPROJECT = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "{distribution}"
version = "{version}"
description = "Writes down every event."

[project.entry-points."yolocore.callbacks"]
{name} = "{module}:{attribute}"
"""

WITNESS = '''
"""Writes the events it sees into the file that YOLOCORE_WITNESS names, one JSON record a line."""
import json
import os

from pydantic import BaseModel, Field

from yolocore.hooks import EVENTS
from yolocore.hooks.events import ARGUMENTS


class Witness:
    class Arguments(BaseModel):
        label: str = Field("witness", description="Written beside each event.")


def _handler(event, argument):
    def handle(self, component):
        record = {"event": event, "label": self.arguments.label, "context": component.context.event}
        with open(os.environ["YOLOCORE_WITNESS"], "a") as file:
            file.write(json.dumps(record) + "\\n")

    template = {"trainer": lambda self, trainer: handle(self, trainer),
                "validator": lambda self, validator: handle(self, validator),
                "predictor": lambda self, predictor: handle(self, predictor),
                "exporter": lambda self, exporter: handle(self, exporter)}
    return template[argument]


for _event in EVENTS:
    setattr(Witness, _event, _handler(_event, ARGUMENTS[_event]))
'''


def installer() -> list[str]:
    """Return the command of the installer at hand; the test is skipped, visibly, without one."""
    if importlib.util.find_spec("pip"):
        return [sys.executable, "-m", "pip", "install", "--no-index"]
    uv = shutil.which("uv")
    if uv is None:
        pytest.skip("needs pip or uv to install a wheel")
    return [uv, "pip", "install", "--offline", "--python", sys.executable]


def install_plugin(
    folder: Path,
    source: str = WITNESS,
    *,
    name: str = "witness",
    attribute: str = "Witness",
    version: str = "1.2.3",
    distribution: str = "",
) -> Path:
    """Build ``source`` into a wheel, install it below ``folder``; returns the folder for ``PYTHONPATH``."""
    distribution = distribution or f"yolocore-{name}"
    project = folder / distribution
    module = distribution.replace("-", "_")
    package = project / "src" / module
    package.mkdir(parents=True)
    package.joinpath("__init__.py").write_text(source)
    project.joinpath("pyproject.toml").write_text(
        PYPROJECT.format(distribution=distribution, version=version, name=name, module=module, attribute=attribute)
    )
    return install_project(project, folder)


def unpacked_plugin(folder: Path, name: str, source: str, attribute: str = "Plugin") -> Path:
    """Write a distribution ``name`` with one module below ``folder``, as an installer would; returns where it lies."""
    site, module = folder / "site", f"{name}_plugin"
    info = site / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (site / f"{module}.py").write_text(source)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[yolocore.callbacks]\n{name} = {module}:{attribute}\n")
    return site


def install_project(project: Path, folder: Path) -> Path:
    """Build the distribution at ``project`` into a wheel, install it below ``folder``; returns the folder."""
    wheels, target = folder / "dist", folder / "site"
    run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(wheels)], cwd=project)
    (wheel,) = wheels.glob(f"{project.name.replace('-', '_')}-*.whl")
    run([*installer(), "--no-deps", "--target", str(target), str(wheel)])
    return target


def run(command: list[str], *, path: Path | None = None, cwd: Path | None = None, **environment: str) -> str:
    """Run a command with ``path`` searched for plugins; returns what it printed."""
    env = {**os.environ, **environment}
    if path is not None:
        env["PYTHONPATH"] = str(path)
    done = subprocess.run(command, capture_output=True, text=True, env=env, cwd=cwd, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout
