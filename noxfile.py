# /// script
# dependencies = ["nox[uv]"]
# ///
"""Everything a fresh machine runs: ``nox -s demo``, ``nox -s tests``, and what CI adds to it."""

from __future__ import annotations

import shutil
from pathlib import Path

import nox

DISTRIBUTIONS = sorted(path.parent.name for path in Path("plugins").glob("*/pyproject.toml"))
TWO_AT_A_TIME = ("-n", "2", "--dist", "loadfile")

nox.needs_version = ">=2024.4.15"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.reuse_existing_virtualenvs = True
nox.options.sessions = ["tests"]


def keep_bytecode(session: nox.Session) -> None:
    """Let Python keep what it compiled, wherever the machine says otherwise: every process imports torch."""
    session.env["PYTHONDONTWRITEBYTECODE"] = ""


def install(session: nox.Session, *extras: str) -> None:
    """Install this checkout with ``extras`` at the versions of constraints.txt."""
    keep_bytecode(session)
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


def build_wheels(session: nox.Session, *names: str) -> list[str]:
    """Build the core and the distributions ``names`` of plugins/ as wheels; return how to install them, for tests."""
    target = Path(session.virtualenv.location) / "wheels"
    shutil.rmtree(target, ignore_errors=True)
    for folder in (".", *(f"plugins/{name}" for name in names)):
        session.run_install("uv", "build", "--quiet", "--wheel", "--out-dir", str(target), folder, external=True)
    return [f"{wheel}[test]" for wheel in sorted(target.glob("*.whl"))]


def install_wheels(session: nox.Session, *names: str) -> None:
    """Install the core and the distributions ``names`` from wheels, at the versions of plugins/constraints.txt."""
    keep_bytecode(session)
    session.env["OMP_NUM_THREADS"] = "1"  # weights are compared between processes, bit by bit
    fresh = [option for name in ("yolocore", *names) for option in ("--reinstall-package", name)]
    session.install("-c", "plugins/constraints.txt", *fresh, *build_wheels(session, *names))


def run_suite(session: nox.Session, folder: str, *options: str) -> None:
    """Run the tests in ``folder``; those that fail are run once more by themselves, and have to pass then.

    They wait for servers and other processes within time limits, and the machine may be busy.
    """
    try:
        session.run("pytest", "-q", *options, folder, *session.posargs)
    except nox.command.CommandFailed:
        session.warn(f"{folder}: what failed is run again, alone")
        session.run("pytest", "-q", "--last-failed", "--last-failed-no-failures", "none", folder, *session.posargs)


@nox.session(venv_backend="uv")
def plugins(session: nox.Session) -> None:
    """Run the suites of all distributions under plugins/, from wheels, in one environment with the real tools."""
    install_wheels(session, *DISTRIBUTIONS)
    for name in DISTRIBUTIONS:
        run_suite(session, f"plugins/{name}/tests", *TWO_AT_A_TIME)
    run_suite(session, "plugins/tests")


@nox.session(venv_backend="uv")
@nox.parametrize("name", DISTRIBUTIONS)
def alone(session: nox.Session, name: str) -> None:
    """Run the suite of one distribution, from wheels, in an environment without the others."""
    needed = nox.project.load_toml(f"plugins/{name}/pyproject.toml")["project"]["dependencies"]
    install_wheels(session, name, *(line for line in needed if line.startswith("yolocore-")))
    run_suite(session, f"plugins/{name}/tests", *TWO_AT_A_TIME)


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
