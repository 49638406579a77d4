"""Installs a plugin into a folder without pip: for tests of several plugins, or of one that is broken."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


def install_fake(
    folder: str | Path,
    name: str,
    source: str,
    *,
    attribute: str = "Plugin",
    distribution: str = "",
    version: str = "1.0",
    entry_points: Mapping[str, str] | None = None,
) -> Path:
    """Write a module and the metadata that make yolocore take ``folder`` for one with an installed plugin.

    Put the folder on ``sys.path``, or in ``PYTHONPATH`` of another process, to let it be found.

    Args:
        folder: where it goes; several plugins may share one.
        name: name of the plugin, which is that of its entry point.
        source: text of the module; the file is ``<distribution with underscores>.py``.
        attribute: what of the module is the plugin.
        distribution: name of the distribution, ``yolocore-<name>`` without it.
        version: version of the distribution.
        entry_points: all entry points, name to ``module:attribute``, if there is not just one.

    Returns:
        ``folder``.
    """
    root = Path(folder)
    distribution = distribution or f"yolocore-{name}"
    module = distribution.replace("-", "_")
    info = root / f"{module}-{version}.dist-info"
    info.mkdir(parents=True)
    lines = [f"{key} = {value}" for key, value in (entry_points or {name: f"{module}:{attribute}"}).items()]
    info.joinpath("entry_points.txt").write_text("\n".join(["[yolocore.callbacks]", *lines, ""]), encoding="utf-8")
    info.joinpath("METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\nSummary: A plugin for a test.\n",
        encoding="utf-8",
    )
    root.joinpath(f"{module}.py").write_text(source, encoding="utf-8")
    return root
