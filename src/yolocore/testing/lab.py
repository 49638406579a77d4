"""Runs the parts of the conformance kit in processes of their own and keeps what they found out."""

from __future__ import annotations

import json
import os
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from yolocore.hooks.discovery import candidates
from yolocore.testing.datasets import make_tiny_dataset, tiny_model
from yolocore.testing.process import CAN_FORK, nursery, run_python
from yolocore.testing.request import Request

if TYPE_CHECKING:
    from collections.abc import Mapping

    from yolocore.testing.conformance import PluginConformance
    from yolocore.testing.process import Ended

SESSIONS: Final[Mapping[str, tuple[str, ...]]] = {  # one process each, unless a part ends it
    "blocked": ("blocked", "discovered"),
    "imported": ("imported",),
    "trainings": ("control", "modes", "failing", "pair", "other_rank", "resumed", "terminated"),
    "server": ("server_down",),
    "disk": ("full_disk",),
}
TRAINING: Final = ("trainings", "server", "disk")  # those that need torch
HEAVY: Final = ("torch", "torchvision", "cv2", "matplotlib")
INHERITED: Final = "YOLOCORE_"  # what the user has set for his own runs stays outside


class PartFailedError(AssertionError):
    """A part could not be run to its end; the message says why."""


class PluginLab:
    """The evidence about one plugin.

    Args:
        suite: the conformance class.
        folder: where everything goes.
    """

    def __init__(self, suite: PluginConformance, folder: Path) -> None:
        self.suite = suite
        self.folder = folder
        self._facts: dict[str, dict[str, Any]] = {}
        self._failures: dict[str, str] = {}
        self._ended: dict[str, Ended] = {}

    def facts(self, part: str) -> dict[str, Any]:
        """Return what a part found out; its session is run at the first question.

        Raises:
            PartFailedError: the part raised, was killed or did not come back.
        """
        if part not in self._facts and part not in self._failures:
            self._run_session(next(name for name, parts in SESSIONS.items() if part in parts))
        if part in self._failures:
            raise PartFailedError(f"{part}: {self._failures[part]}")
        return self._facts[part]

    @cached_property
    def module(self) -> str:
        """Module of the entry point, or an empty string when the plugin is not installed."""
        values = [found.value for found in candidates() if found.name == self.suite.name]
        return values[0].split(":", 1)[0].strip() if values else ""

    @cached_property
    def dataset(self) -> Path:
        """The tiny dataset of the trainings."""
        return make_tiny_dataset(self.folder / "dataset")

    @cached_property
    def environment(self) -> dict[str, str]:
        """The environment of every process: no account, no proxy, no settings of the user."""
        home = self.folder / "home"
        home.mkdir()
        kept = {key: value for key, value in os.environ.items() if not key.startswith(INHERITED)}
        own = {
            "HOME": str(home),
            "USERPROFILE": str(home),
            "XDG_CONFIG_HOME": str(home / "config"),
            "XDG_DATA_HOME": str(home / "data"),
            "YOLOCORE_CONFIG_DIR": str(home / "yolocore"),
            "YOLOCORE_CACHE_DIR": str(home / "yolocore-cache"),
            "PYTHONDONTWRITEBYTECODE": "1",
            "OMP_NUM_THREADS": "1",
            "COLUMNS": "200",
        }
        return {**kept, **own, **self.suite.environment(self.folder)}

    def info(self) -> Ended:
        """Run ``yolo plugins info`` for the plugin."""
        words = ["-m", "yolocore.cli", "plugins", "info", self.suite.name]
        return run_python(words, environment=self.environment, folder=self._new_folder("info"), limit=60)

    def end_of(self, part: str) -> Ended:
        """Return how the process of a part ended."""
        self.facts(part)
        return self._ended[part]

    def _new_folder(self, name: str) -> Path:
        folder = self.folder / name
        for number in range(2, 100):
            if not folder.exists():
                break
            folder = self.folder / f"{name}-{number}"
        folder.mkdir()
        return folder

    def _run_session(self, session: str) -> None:
        """Run the parts of a session; after one that ends its process, go on with the next in a new one."""
        remaining = SESSIONS[session]
        while remaining:
            done = self._run_process(session, remaining)
            remaining = remaining[done:]

    def _run_process(self, session: str, parts: tuple[str, ...]) -> int:
        """Run ``parts`` in one process; return how many of them are dealt with."""
        folder = self._new_folder(session)
        full = self._new_folder("full") if session == "disk" else None
        request = Request(
            name=self.suite.name,
            module=self.module,
            parts=parts,
            folder=str(folder),
            answers=str(folder / "answers.jsonl"),
            data=str(self.dataset),
            model=str(tiny_model()),
            image=str(next((self.dataset.parent / "images" / "val").iterdir())),
            arguments=dict(self.suite.arguments),
            heavy=(*HEAVY, *self.suite.sdk_modules),
            plots=self.suite.plots,
            full="" if full is None else os.path.realpath(full),
        )
        file = folder / "request.json"
        file.write_text(request.to_json(), encoding="utf-8")
        special = self.suite.server_down() if session == "server" else {}
        if full is not None:
            special = self.suite.full_disk(full)
        environment = {**self.environment, **special}
        if CAN_FORK and session in TRAINING and not self.suite.fresh_processes:
            ended = nursery().run([str(file)], environment=environment, folder=folder, limit=self.suite.timeout)
        else:
            words = ["-m", "yolocore.testing.child", str(file)]
            ended = run_python(words, environment=environment, folder=folder, limit=self.suite.timeout)
        return self._take(Path(request.answers), parts, ended)

    def _take(self, answers: Path, parts: tuple[str, ...], ended: Ended) -> int:
        """Keep the answers of a process; the part it died in has failed."""
        lines = answers.read_text(encoding="utf-8").splitlines() if answers.is_file() else []
        answered = {line["part"]: line for line in map(json.loads, lines)}
        for count, part in enumerate(parts, 1):
            answer = answered.get(part, {"state": "begun"})
            self._ended[part] = ended
            if answer["state"] == "done":
                self._facts[part] = answer["facts"]
            elif answer["state"] == "failed":
                self._failures[part] = answer["reason"]
            else:
                self._failures[part] = ended.describe(self.suite.timeout)
                return count
        return len(parts)
