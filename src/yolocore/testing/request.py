"""What a child process of the kit is asked to do, and how it answers."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Request:
    """One child process; it goes there as JSON.

    Attributes:
        name: name of the plugin.
        module: module of its entry point.
        parts: names of the parts to run, in this order.
        folder: where everything goes.
        answers: file to which a line of JSON is added before and after each part.
        data: ``data=`` of the trainings.
        model: ``model=`` of the trainings.
        image: ``source=`` of the prediction.
        arguments: arguments of the plugin.
        heavy: modules that importing the plugin must not bring.
        plots: whether the training with all modes draws figures.
        full: folder that is to look like a full disk; nothing when the disk has room.
    """

    name: str
    module: str
    parts: tuple[str, ...]
    folder: str
    answers: str
    data: str = ""
    model: str = ""
    image: str = ""
    arguments: dict[str, Any] = field(default_factory=dict)
    heavy: tuple[str, ...] = ()
    plots: bool = True
    full: str = ""

    @property
    def package(self) -> str:
        """Top-level name of the plugin's modules."""
        return self.module.split(".", 1)[0]

    def to_json(self) -> str:
        """Return the text that :meth:`read` understands."""
        return json.dumps(dataclasses.asdict(self), default=str)

    @classmethod
    def read(cls, text: str) -> Request:
        """Return the request behind ``text``."""
        values = json.loads(text)
        return cls(**{**values, "parts": tuple(values["parts"]), "heavy": tuple(values["heavy"])})

    def answer(self, part: str, **what: Any) -> None:
        """Add a line to the answers; it is on disk when this returns."""
        with Path(self.answers).open("a", encoding="utf-8") as stream:
            stream.write(json.dumps({"part": part, **what}, default=str) + "\n")
