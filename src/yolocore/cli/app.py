"""The typer application: every command that is no mode. Plugins add theirs through ``register_commands``."""

from __future__ import annotations

import typer

from yolocore.cli import checkpoint, configure, info, plugins
from yolocore.cli.check import check
from yolocore.cli.demo import demo
from yolocore.cli.explorer import explorer
from yolocore.cli.track_eval import track_eval
from yolocore.config.settings import get_settings
from yolocore.hooks import HookManager
from yolocore.hooks.permission import permitted_by

FREE_WORDS = {"ignore_unknown_options": True}  # `--key value` is read by the command itself


def build_app() -> typer.Typer:
    """Return the application with the commands of this package."""
    app = typer.Typer(name="yolo", add_completion=False, pretty_exceptions_enable=False)
    app.command("help")(info.show_help)
    app.command("version")(info.version)
    app.command("checks")(info.checks)
    app.command("check", context_settings=FREE_WORDS)(check)
    app.command("cfg", context_settings=FREE_WORDS)(configure.cfg)
    app.command("copy-cfg")(configure.copy_cfg)
    app.command("settings", context_settings=FREE_WORDS)(configure.settings)
    app.command("demo")(demo)
    app.command("track-eval", context_settings=FREE_WORDS)(track_eval)
    app.command("explorer", context_settings=FREE_WORDS)(explorer)
    app.add_typer(checkpoint.app, name="checkpoint")
    app.add_typer(plugins.app, name="plugins")
    return app


def load_plugin_commands(app: typer.Typer) -> None:
    """Let the installed plugins add their commands to ``app``."""
    HookManager(kind="cli", permitted=permitted_by(get_settings())).register_commands(app)
