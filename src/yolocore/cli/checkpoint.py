"""``yolo checkpoint``: what a weights file is, and the same weights in yolocore's own form."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.table import Table
from rich.text import Text

from yolocore.cli.terminal import output
from yolocore.errors import ConfigError

if TYPE_CHECKING:
    from yolocore.nn.record import Checkpoint

app = typer.Typer(help="Look into weights files, convert them.", no_args_is_help=True)
FREE_WORDS: Final = {"ignore_unknown_options": True}
SHOWN_CLASSES: Final = 20
File = Annotated[str, typer.Argument(help="A .pt (of any origin that yolocore reads) or .safetensors file.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]
Words = Annotated[
    list[str] | None, typer.Argument(help="The file to write, and model=FILE.yaml for a bare state dict.")
]


@app.command("info")
def info(file: File, as_json: AsJson = False) -> None:
    """Show family, task, classes, licence, hash and training arguments of a weights file; nothing in it is run."""
    from yolocore.engine.weights import find_weights  # loads torch
    from yolocore.nn.checkpoint import read_checkpoint
    from yolocore.nn.facts import checkpoint_facts

    facts = checkpoint_facts(read_checkpoint(find_weights(file)))
    if as_json:
        print(json.dumps(facts, indent=2, ensure_ascii=False, default=str))
    else:
        _show(facts)


@app.command("convert", context_settings=FREE_WORDS)
def convert(file: File, words: Words = None) -> None:
    """Write a weights file in yolocore's own form: tensors and plain values, with checksums.

    By default it goes beside the file, as NAME-native.pt; a file that exists is never overwritten.
    """
    from yolocore.engine.weights import find_weights  # loads torch
    from yolocore.models.facade import YOLO
    from yolocore.nn.checkpoint import read_checkpoint
    from yolocore.nn.facts import convert as write_native

    target, model = _target_and_model(words or [])
    source = find_weights(file)
    checkpoint = read_checkpoint(source)
    if model is not None:
        checkpoint = _described(checkpoint, model)
    task = checkpoint.task or "detect"
    records, layers = YOLO.tasks_and_layers()
    if task not in records:
        raise ConfigError(f"{source}: its task {task!r} is unknown; installed: {', '.join(sorted(records))}")
    path = target or source.with_name(f"{source.stem}-native.pt")
    written = write_native(checkpoint, path, records[task].model, registry=layers)
    output().print(f"{written} written, {written.stat().st_size / 1e6:.1f} MB", soft_wrap=True)


def _target_and_model(words: list[str]) -> tuple[Path | None, str | None]:
    target: Path | None = None
    model: str | None = None
    for word in words:
        key, equals, value = word.removeprefix("--").partition("=")
        if equals and key == "model" and value:
            model = value
        elif equals or target is not None:
            raise ConfigError(f"{word!r}: convert takes FILE, a file to write, and model=FILE.yaml")
        else:
            target = Path(word)
    return target, model


def _described(checkpoint: Checkpoint, model: str) -> Checkpoint:
    """Return ``checkpoint`` with the network that the model file ``model`` describes."""
    from yolocore.nn.recognise import with_description

    if checkpoint.kind != "state_dict":
        raise ConfigError(f"model={model!r}: {checkpoint.path} describes its network itself; leave model= out")
    return with_description(checkpoint, model)


def _show(facts: dict[str, Any]) -> None:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column(style="cyan", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in _rows(facts):
        table.add_row(name, Text(value))
    output().print(table)


def _rows(facts: dict[str, Any]) -> list[tuple[str, str]]:
    """Return name and text of every line."""
    fused = "fused" if facts["fused"] else "not fused"
    average = ", moving average of the training" if facts["averaged"] else ""
    counts = f"{facts['parameters']:,} parameters in {facts['tensors']} tensors, {facts['dtype']}, {fused}{average}"
    family = " ".join(filter(None, [facts["family"] or "a network of its own", facts["scale"]]))
    names = list(facts["names"].values())
    more = f", and {len(names) - SHOWN_CLASSES} more" if len(names) > SHOWN_CLASSES else ""
    progress = "" if facts["epoch"] is None else f"epoch {facts['epoch'] + 1}"
    metrics = ", ".join(f"{k} {v:.4g}" for k, v in facts["metrics"].items() if isinstance(v, int | float))
    rows = [
        ("file", f"{facts['file']}  {facts['bytes']:,} bytes"),
        ("SHA-256", facts["sha256"]),
        ("kind", f"{facts['kind']}{', resumable' if facts['resumable'] else ''}"),
        ("network", family if facts["task"] else "unknown: say model=NAME.yaml to convert it"),
        ("task", facts["task"] or "unknown"),
        ("classes", f"{facts['nc']}: {', '.join(names[:SHOWN_CLASSES])}{more}" if facts["nc"] else "unknown"),
        ("keypoints", " x ".join(map(str, facts["kpt_shape"] or ()))),
        ("image size", str(facts["imgsz"] or "")),
        ("weights", counts),
        ("licence", str(facts["license"] or "not stated")),
        ("written", " ".join(str(v) for v in (facts["date"], facts["version"]) if v)),
        ("trained", progress),
        ("metrics", metrics),
        ("arguments", _arguments(facts["train_args"])),
    ]
    return [(name, text) for name, text in rows if text]


def _arguments(given: dict[str, Any]) -> str:
    """Return the training arguments that differ from the defaults."""
    from yolocore.config.schema import ARGUMENTS

    return ", ".join(
        f"{key}={value}"
        for key, value in given.items()
        if value is not None and value != {} and (key not in ARGUMENTS or value != ARGUMENTS[key].default)
    )
