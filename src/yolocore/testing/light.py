"""The parts of the conformance kit that need no torch; each runs in a child process."""

from __future__ import annotations

import importlib
import os
import re
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import importlib_metadata

from yolocore.config.settings import get_settings
from yolocore.hooks import HookManager, permitted_by
from yolocore.hooks.discovery import candidates
from yolocore.hooks.manager import COMPONENTS
from yolocore.hooks.permission import switched
from yolocore.hooks.plugin_arguments import SECRET, arguments_model, describe_arguments

if TYPE_CHECKING:
    from yolocore.testing.request import Request
    from yolocore.testing.watch import Watch


def discovered(request: Request, watch: Watch) -> dict[str, Any]:
    """Find the plugin as every run does, and read what it says about itself."""
    del watch
    found = [candidate for candidate in candidates() if candidate.name == request.name]
    if not found:
        return {"values": [], "installed": [candidate.name for candidate in candidates()]}
    arguments = {request.name: request.arguments} if request.arguments else None
    manager = HookManager(
        kind="model", select=request.name, arguments=arguments, permitted=permitted_by(get_settings())
    )
    (report,) = [report for report in manager.plugins() if report.name == request.name][:1]
    target = manager.plugin(request.name)
    return {
        "values": [candidate.value for candidate in found],
        "distribution": f"{report.distribution} {report.version}",
        "state": report.state,
        "reason": report.reason,
        "hooks": report.hooks,
        "arguments": [] if target is None else describe_arguments(request.name, target),
        "exposed": [] if target is None else _secrets_with_defaults(target),
    }


def _secrets_with_defaults(target: object) -> list[str]:
    model = arguments_model(target)
    fields = model.model_fields.items() if model else ()
    return [key for key, info in fields if SECRET.search(key) and not info.is_required() and info.get_default()]


def blocked(request: Request, watch: Watch) -> dict[str, Any]:
    """Switch the plugin off in the settings and make a host for each kind of component."""
    del watch
    settings = get_settings()
    settings.update(switched(settings, request.name, on=False))
    states = {}
    for kind in COMPONENTS:
        reports = HookManager(kind=kind, permitted=permitted_by(settings)).plugins()
        states[kind] = next((report.state for report in reports if report.name == request.name), "not found")
    settings.update(switched(settings, request.name, on=True))
    imported = [name for name in sys.modules if name == request.package or name.startswith(f"{request.package}.")]
    return {"states": states, "imported": imported}


def imported(request: Request, watch: Watch) -> dict[str, Any]:
    """Import the plugin's module and compare the process before and after."""
    importlib.import_module("pydantic")  # Arguments needs it, whoever comes first
    before, known = _process(), set(sys.modules)
    with watch.watching(strict=True) as effects:
        importlib.import_module(request.module)
    after = _process()
    new = {name.split(".", 1)[0] for name in set(sys.modules) - known}
    different = [key for key in {**before, **after} if before.get(key) != after.get(key)]
    changed = [f"changes {key} from {before.get(key)!r} to {after.get(key)!r}" for key in different]
    return {"effects": [*effects, *changed], "brought": sorted(new & ({*request.heavy} | _dependencies(request.name)))}


def _process() -> dict[str, Any]:
    """Return what an import has to leave as it is."""
    handlers = {f"handler of {s.name}": signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)}
    threads = {f"thread {thread.name}": "running" for thread in threading.enumerate()}
    variables = {f"environment variable {key}": value for key, value in os.environ.items()}
    return {"working directory": str(Path.cwd()), **handlers, **threads, **variables}


def _dependencies(name: str) -> set[str]:
    """Return the top-level modules of what the plugin's distribution needs and yolocore does not: its SDKs."""
    distributions = {candidate.distribution for candidate in candidates() if candidate.name == name}
    needed = {_project(line) for found in distributions for line in _requirements(found)} - {
        _project(line) for line in [*_requirements("yolocore"), "yolocore"]
    }
    return {
        module
        for module, owners in importlib_metadata.packages_distributions().items()
        if any(_project(owner) in needed for owner in owners) and not module.startswith("yolocore")
    }


def _requirements(distribution: str) -> list[str]:
    try:
        return importlib_metadata.requires(distribution) or []
    except importlib_metadata.PackageNotFoundError:
        return []


def _project(requirement: str) -> str:
    """Return the normalised name of the project in a requirement: ``PyYAML>=6`` is ``pyyaml``."""
    name = re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0]
    return re.sub(r"[-_.]+", "-", name).lower()
