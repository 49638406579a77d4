# /// script
# dependencies = ["nox[uv]"]
# ///
"""Everything a fresh machine runs: ``nox -s demo``, ``nox -s tests``, and what CI adds to it."""

from __future__ import annotations

from pathlib import Path

import nox

nox.needs_version = ">=2024.4.15"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.reuse_existing_virtualenvs = True
nox.options.sessions = ["tests"]


def install(session: nox.Session, *extras: str) -> None:
    """Install this checkout with ``extras`` at the versions of constraints.txt."""
    session.install("-c", "constraints.txt", "-e", f".[{','.join(extras)}]" if extras else ".")


@nox.session
def demo(session: nox.Session) -> None:
    """The main job on the built-in dataset: train, validate, predict, export."""
    install(session, "export")
    session.run("yolo", "demo", *session.posargs)


@nox.session
def tests(session: nox.Session) -> None:
    """Run the whole suite; arguments after ``--`` go to pytest."""
    install(session, "export", "test")
    session.run("pytest", *(session.posargs or ["-n", "2", "--dist", "worksteal"]))


@nox.session
def plugins(session: nox.Session) -> None:
    """Run the suites of the distributions under plugins/, all in one environment with the real tools."""
    folders = sorted(p.parent for p in Path("plugins").glob("*/pyproject.toml"))
    editable = [argument for folder in folders for argument in ("-e", f"./{folder}[test]")]
    session.install("-e", ".[test]", *editable)
    for folder in folders:
        if any((folder / "tests").glob("test_*.py")):
            session.run("pytest", "-q", str(folder / "tests"), *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Style, spelling and the layers of the house."""
    install(session, "lint")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("codespell")
    session.run("lint-imports")


@nox.session
def types(session: nox.Session) -> None:
    """Type-check: strict for config, hooks and errors, plain elsewhere."""
    install(session, "types", "export", "test")
    session.run("mypy")


@nox.session
def docs(session: nox.Session) -> None:
    """Check that the generated reference pages are up to date; ``-- --write`` rewrites them."""
    install(session)
    session.run("python", "docs/generate.py", *([] if "--write" in session.posargs else ["--check"]))
