"""Help texts, made from the schema: an overview, the arguments of one mode, one argument."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any, Final

from rich.table import Table
from rich.text import Text

from yolocore.cli.extensions import plugin_tasks
from yolocore.cli.terminal import output
from yolocore.config.defaults import MODE_DEFAULTS, TERMINAL_DEFAULTS
from yolocore.config.fields import MODES, TASKS
from yolocore.config.schema import ARGUMENTS
from yolocore.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from rich.console import Console

    from yolocore.config import Argument

MODE_TEXTS: Final = {
    "train": "Train a network on a dataset.",
    "val": "Measure a network on a dataset.",
    "predict": "Run a network on images, videos or streams.",
    "track": "Follow objects through a video.",
    "export": "Write a network in another format.",
    "benchmark": "Compare the speed and accuracy of exported formats.",
}
MODE_EXAMPLES: Final = {
    "train": (
        "yolo train model=yolo11n.yaml data=shapes.yaml epochs=10 imgsz=320",
        "yolo train resume=runs/detect/train/weights/last.pt",
    ),
    "val": ("yolo val model=best.pt data=shapes.yaml",),
    "predict": ("yolo predict model=best.pt source=images/ conf=0.4",),
    "track": (
        "yolo track model=best.pt source=street.mp4 tracker=bytetrack.yaml",
        "yolo track eval gt=gt/gt.txt tracks=runs/detect/track/labels",
    ),
    "export": ("yolo export model=best.pt format=onnx dynamic=True",),
    "benchmark": (
        "yolo benchmark model=best.pt data=shapes.yaml",
        "yolo benchmark model=best.pt data=my.yaml format=onnx imgsz=640 verbose=0.3",
    ),
}
COMMAND_TEXTS: Final = {
    "help": "This page; 'yolo help train' lists the arguments of a mode, 'yolo help imgsz' explains one.",
    "check data=...": "Check a dataset without training.",
    "checks": "Versions, processor, memory, devices, plugins.",
    "track-eval": "MOTA, IDF1 and HOTA of tracks, against a ground truth; also 'yolo track eval'.",
    "cfg": "Print the default arguments; 'yolo cfg schema' as JSON schema.",
    "copy-cfg": "Write the default arguments to a file to edit and pass as cfg=.",
    "settings": "Show, change or reset the settings.",
    "explorer": "Images of a dataset that are like another one, or that a question in SQL finds.",
    "checkpoint": "'yolo checkpoint info FILE' and 'convert FILE' for weights of any origin.",
    "plugins": "List, describe and diagnose plugins.",
    "demo": "Train, validate, predict and export on a built-in dataset.",
    "version": "Print the version.",
}
SELF_EVIDENT: Final = ("str", "bool")  # types that description and default tell already
NAME_WIDTH: Final = 18


def overview() -> None:
    """Print what the program can do."""
    console = output()
    console.print(Text("yolo [TASK] MODE key=value ...", style="bold"))
    console.print("Train, measure, run and export YOLO networks.\n")
    _print_pairs(console, "Modes", MODE_TEXTS)
    _print_pairs(
        console, "Tasks", {", ".join(TASKS): "Optional; a model file says which one it is for. Plugins add more."}
    )
    _print_pairs(console, "Other commands", COMMAND_TEXTS)
    console.print(Text("Examples", style="bold"))
    for mode in ("train", "val", "predict", "export"):
        console.print(Text(f"  {MODE_EXAMPLES[mode][0]}", style="cyan"))
    console.print("\nSpaces around '=', '--key value' and bare on/off keys work too.")


def mode_help(mode: str) -> None:
    """Print the arguments that ``mode`` reads, by subject."""
    console = output()
    console.print(Text(f"yolo [TASK] {mode} key=value ...", style="bold"))
    console.print(f"{MODE_TEXTS[mode]}\n")
    for line in MODE_EXAMPLES[mode]:
        console.print(Text(f"  {line}", style="cyan"))
    used = [argument for argument in ARGUMENTS.values() if mode in argument.modes]
    for group in dict.fromkeys(argument.group for argument in used):
        console.print()
        console.print(Text(group, style="bold"))
        table = Table(box=None, show_header=False, padding=(0, 1, 0, 0), pad_edge=False)
        table.add_column(style="cyan", no_wrap=True, min_width=NAME_WIDTH)
        table.add_column(ratio=1)
        for argument in used:
            if argument.group == group and argument.name != "mode":
                table.add_row(f"  {argument.name}", _entry(argument, mode))
        console.print(table)


def argument_help(name: str) -> None:
    """Print everything about one argument."""
    argument = ARGUMENTS[name]
    console = output()
    console.print(Text.assemble((name, "bold cyan"), f"  {argument.description}"))
    rows = {
        "accepts": argument.accepts,
        "default": _text(argument.default),
        "modes": ", ".join(argument.modes),
    }
    differing = {m: d[name] for m, d in MODE_DEFAULTS.items() if name in d and m in argument.modes}
    if differing:
        rows["default"] += "; " + ", ".join(f"{mode}: {_text(value)}" for mode, value in differing.items())
    rows["example"] = f"{name}={_typed(argument.example)}"
    _print_pairs(console, "", rows)


def topic_help(topic: str) -> None:
    """Print the help of a mode, a task or an argument.

    Raises:
        ConfigError: there is no such topic.
    """
    if topic in MODES:
        mode_help(topic)
    elif topic in ARGUMENTS:
        argument_help(topic)
    elif topic in TASKS or topic in plugin_tasks():
        overview()
    else:
        raise ConfigError(f"no help for {topic!r}.{did_you_mean(topic, [*MODES, *ARGUMENTS])}")


def _entry(argument: Argument, mode: str) -> Text:
    defaults = {**MODE_DEFAULTS[mode], **TERMINAL_DEFAULTS[mode]}
    default = defaults.get(argument.name, argument.default)
    accepts = argument.accepts.replace(" | None", "")
    facts = [] if accepts in SELF_EVIDENT else [accepts]
    if default not in (None, {}):
        facts.append(f"default {_text(default)}")
    return Text.assemble(argument.description, (f" [{'; '.join(facts)}]" if facts else "", "dim"))


def _print_pairs(console: Console, title: str, pairs: dict[str, str]) -> None:
    if title:
        console.print(Text(title, style="bold"))
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column(style="cyan")
    table.add_column()
    for name, text in pairs.items():
        table.add_row(f"  {name}", text)
    console.print(table)
    console.print()


def _text(value: Any) -> str:
    return repr(value) if isinstance(value, str) else str(value)


def _typed(value: Any) -> str:
    """Return ``value`` as one types it at a prompt."""
    text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
    return textwrap.shorten(text, 60)
