"""Reading ``yolo [TASK] MODE key=value ...`` in whatever order and spacing people type it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from yolocore.config.defaults import DEPRECATED
from yolocore.config.explain import unknown_arguments
from yolocore.config.fields import MODES, TASKS
from yolocore.config.literals import parse_literal
from yolocore.config.schema import ARGUMENTS
from yolocore.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

PAIR: Final = re.compile(r"(?:--)?([A-Za-z_][\w-]*(?:\.[\w-]+)*)\s*=(.*)", re.DOTALL)
KEY: Final = re.compile(r"(?:--)?[A-Za-z_][\w-]*(?:\.[\w-]+)*")
MODEL_SUFFIXES: Final = (".pt", ".safetensors", ".yaml", ".yml", ".onnx", ".torchscript", ".engine")
BOOLEANS: Final = ("true", "false")


class CommandLine(NamedTuple):
    """What a command line says."""

    task: str | None
    mode: str | None
    overrides: dict[str, Any]


def parse_cli_tokens(
    tokens: Sequence[str], tasks: Collection[str] = TASKS, commands: Collection[str] = ()
) -> CommandLine:
    """Return task, mode and arguments of a command line.

    Accepted are ``key=value``, spaces around ``=``, ``--key value``, ``--key=value``, the bare name of an
    on/off argument, a bare model file, and a comma after any of them.

    Args:
        tokens: the words after the program's name.
        tasks: words that name a task.
        commands: other words that could have been meant as the first one.

    Raises:
        ConfigError: a word is no task, mode, on/off argument or model file, or a value is missing.
    """
    reader = _Reader(tasks, commands)
    for key, value in key_values(tokens):
        if value is None:
            reader.add_word(key)
        else:
            reader.add_pair(key, value)
    return CommandLine(reader.task, reader.mode, reader.overrides)


def key_values(words: Sequence[str]) -> list[tuple[str, str | None]]:
    """Join what spaces have torn apart; the value of a bare word is None.

    Raises:
        ConfigError: an option has no value.
    """
    found: list[tuple[str, str | None]] = []
    tokens = list(words)
    while tokens:
        token = tokens.pop(0).strip()
        pair = PAIR.fullmatch(token)
        if pair:
            found.append((_key(pair[1]), _take_value(pair[2], tokens)))
        elif KEY.fullmatch(token) and tokens and tokens[0].strip().startswith("="):
            found.append((_key(token), _take_value(tokens.pop(0).strip()[1:], tokens)))
        elif token.startswith("--") and KEY.fullmatch(token):
            found.append(_option(_key(token), tokens))
        elif token.rstrip(","):
            found.append((token.rstrip(","), None))
    return found


def _key(text: str) -> str:
    text = text.removeprefix("--")
    name = text.replace("-", "_")
    return name if name in ARGUMENTS else text


def _take_value(value: str, tokens: list[str]) -> str:
    """Return the text after ``=``, which may begin, and with brackets go on, in the next tokens."""
    value = value.strip()
    if not value and tokens and not _starts_argument(tokens):
        value = tokens.pop(0).strip()
    while tokens and sum(map(value.count, "[({")) > sum(map(value.count, "])}")) and value[0] in "[({":
        value += tokens.pop(0)
    return value.removesuffix(",").rstrip()


def _starts_argument(tokens: list[str]) -> bool:
    following = tokens[1].strip() if len(tokens) > 1 else ""
    token = tokens[0].strip()
    return bool(PAIR.fullmatch(token)) or token.startswith("--") or following.startswith("=")


def _option(key: str, tokens: list[str]) -> tuple[str, str | None]:
    """Return ``--key`` with the token after it as its value, unless ``--key`` alone says it all."""
    argument = ARGUMENTS.get(key)
    following = tokens[0].strip().rstrip(",") if tokens and not _starts_argument(tokens) else None
    if argument is not None and argument.is_flag:
        is_value = following is not None and (
            following.lower() in BOOLEANS
            or (argument.type != "bool" and following not in {*MODES, *TASKS} and not _is_model(following))
        )
        return key, tokens.pop(0).strip().removesuffix(",") if is_value else "True"
    if following is None:
        raise _needs_value(key)
    return key, _take_value("", tokens)


def named_values(words: Sequence[str], keys: Sequence[str], example: str) -> dict[str, str]:
    """Return the values of a command that takes ``key=value`` words only.

    Args:
        words: of the command line.
        keys: the only ones there are.
        example: a command line that is right, for the message.

    Raises:
        ConfigError: another key, or a word without a value.
    """
    given = {}
    for key, value in key_values(words):
        if value is None or key not in keys:
            raise ConfigError(f"{key!r}: expected one of {', '.join(keys)} = ...{did_you_mean(key, keys)} {example}")
        given[key] = value
    return given


class _Reader:
    """Sorts words and pairs into task, mode and arguments."""

    def __init__(self, tasks: Collection[str], commands: Collection[str]) -> None:
        self.tasks = tasks
        self.commands = commands
        self.task: str | None = None
        self.mode: str | None = None
        self.overrides: dict[str, Any] = {}

    def add_pair(self, key: str, text: str) -> None:
        """Take ``key=text``; the last one of a key wins."""
        value = ARGUMENTS[key].parse(text) if key in ARGUMENTS else parse_literal(text)
        if key == "task":
            self.task = value
        elif key == "mode":
            self._set_mode(value)
        else:
            self.overrides[key] = value

    def add_word(self, word: str) -> None:
        """Take a word without a value."""
        if word in MODES and not (self.mode and self._is_flag(word)):
            self._set_mode(word)
        elif word in self.tasks:
            if self.task not in (None, word):
                raise ConfigError(f"two tasks are given: {self.task} and {word}; keep one")
            self.task = word
        elif self._is_flag(word):
            self.overrides[word] = True
        elif _is_model(word):
            self._set_model(word)
        elif word in ARGUMENTS:
            raise _needs_value(word)
        else:
            raise self._not_understood(word)

    def _set_mode(self, mode: str) -> None:
        if self.mode not in (None, mode):
            raise ConfigError(f"two modes are given: {self.mode} and {mode}; keep one")
        self.mode = mode

    def _set_model(self, word: str) -> None:
        if "model" in self.overrides:
            hint = f" Is the second one the dataset? Then write data={word}" if word.endswith("ml") else ""
            raise ConfigError(f"two models are given: {self.overrides['model']} and {word}.{hint}")
        self.overrides["model"] = word

    def _is_flag(self, word: str) -> bool:
        return (word in ARGUMENTS and ARGUMENTS[word].is_flag) or word in DEPRECATED

    def _not_understood(self, word: str) -> ConfigError:
        if Path(word).exists() or not word.replace("-", "").replace("_", "").isalnum():
            key = "source" if self.mode in {None, "predict", "track"} else "data"
            return ConfigError(f"{word!r} stands alone. Did you mean {key}={word}?")
        flags = [name for name, argument in ARGUMENTS.items() if argument.is_flag]
        hint = did_you_mean(word, [*MODES, *self.tasks, *self.commands, *flags])
        return ConfigError(f"{word!r} is no task, mode or on/off argument.{hint} 'yolo help' lists what there is.")


def _is_model(word: str) -> bool:
    return word.lower().endswith(MODEL_SUFFIXES)


def _needs_value(key: str) -> ConfigError:
    if key not in ARGUMENTS and "." not in key:  # with a dot it is an argument of a plugin
        return unknown_arguments({key: ""}, ARGUMENTS)
    example = ARGUMENTS[key].example if key in ARGUMENTS else "value"
    return ConfigError(f"{key} needs a value, for example {key}={example}")
