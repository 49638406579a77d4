"""Makes the DVCLive logger: files only, unless somebody asked for the repository."""

from __future__ import annotations

import csv
import json
import logging
import os
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from yolocore_tracking.network import answers, run_bounded

if TYPE_CHECKING:
    from collections.abc import Iterable

LOGGER = logging.getLogger(__name__)
INSIDE_PIPELINE: Final = "DVC_ROOT"  # set by `dvc exp run` and `dvc repro`
STUDIO_EVENTS: Final = ("start", "data", "done")
STUDIO_SECONDS: Final = 5.0  # that what DVC Studio has not got yet may take at the end
STATUS: Final = "status"  # key in metrics.json; DVCLive itself has no word for a run that failed


def inside_pipeline() -> bool:
    """Say whether DVC itself runs this process as a stage."""
    return bool(os.environ.get(INSIDE_PIPELINE))


def open_live(
    folder: Path, *, resume: bool, repository: bool, save_dvc_exp: bool, cache_images: bool, name: str
) -> Any:
    """Return a ``dvclive.Live`` that writes into ``folder``.

    Args:
        folder: its directory; what a run before left there is removed, unless ``resume``.
        resume: go on with what is there.
        repository: let DVCLive use, and if need be set up, DVC in the git repository around.
        save_dvc_exp: save the run as a DVC experiment at the end.
        cache_images: track the pictures with DVC.
        name: name of the experiment.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if resume:
        _drop_torn(folder / "metrics.json")
    if not repository:
        live = _classes().files_only(dir=str(folder), resume=resume, save_dvc_exp=False, dvcyaml=False, exp_name=name)
        live.summary.pop(STATUS, None)
        return live
    live = _classes().in_repository(
        dir=_relative(folder),
        resume=resume,
        save_dvc_exp=save_dvc_exp,
        dvcyaml=_relative(folder / "dvc.yaml"),
        cache_images=cache_images,
        exp_name=name,
    )
    live.summary.pop(STATUS, None)
    return live


def mark_failed(live: Any) -> None:
    """Say in ``metrics.json`` that the run failed; its step stays that of the last complete epoch."""
    live.step = live.summary.get("step", live.step)
    live.summary[STATUS] = "failed"
    live.make_summary()


def _drop_torn(path: Path) -> None:
    """Remove a JSON file that a killed process left half-written; the library would not resume with it."""
    with suppress(FileNotFoundError):
        try:
            json.loads(path.read_bytes())
        except ValueError:
            path.unlink()


def _relative(path: Path) -> str:
    """Return the path as DVC wants it inside a repository: relative to the working directory, if it lies below."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


class _Classes(NamedTuple):
    files_only: type[Any]
    in_repository: type[Any]


@cache
def _classes() -> _Classes:
    """Return the two kinds of ``Live``, made here because importing the library takes seconds.

    The library's own runs ``dvc init`` in any git repository it finds, whatever its arguments, marks its steps for
    an editor below the ``.dvc`` of any directory above, and waits for DVC Studio without a limit.
    """
    from dvclive.live import Live

    return _Classes(_files_only(Live), _in_repository(Live))


def _files_only(live: Any) -> type[Any]:
    class FilesOnly(live):  # type: ignore[misc]  # dvclive has no types
        """Neither looks for a repository nor talks to DVC Studio."""

        step: int

        def _init_dvc(self) -> None:
            self._dvc_file = self._init_dvc_file()

        def _init_studio(self) -> None:
            self._studio_events_to_skip.update(STUDIO_EVENTS)

        def post_data_to_studio(self) -> None:
            """Do nothing; the library would start a thread here."""

        def next_step(self) -> None:
            self._step = self.step  # a number from now on, not None, so the summary has it
            self.sync()
            self.step += 1

        def end(self) -> None:
            self.step = self.summary.get("step", self.step)  # not that of an epoch to come
            self.sync()

    return FilesOnly


def _in_repository(live: Any) -> type[Any]:
    from dvclive.studio import get_dvc_studio_config

    class InRepository(live):  # type: ignore[misc]  # dvclive has no types
        """Uses DVC as the library does, and DVC Studio if there is a token for it and it answers."""

        def _init_studio(self) -> None:
            config = get_dvc_studio_config(self)
            if not config or answers(config["url"]):
                super()._init_studio()
                return
            LOGGER.warning("DVCLive: DVC Studio at %s does not answer; nothing is sent there", config["url"])
            self._studio_events_to_skip.update(STUDIO_EVENTS)

        def post_data_to_studio(self) -> None:
            if "data" not in self._studio_events_to_skip:
                super().post_data_to_studio()

        def _wait_for_studio_updates_posted(self) -> None:
            try:
                run_bounded(super()._wait_for_studio_updates_posted, STUDIO_SECONDS, "studio")
            except TimeoutError:
                LOGGER.warning("DVCLive: DVC Studio did not take the rest of the record in %g s", STUDIO_SECONDS)
                self._studio_events_to_skip.add("done")

    return InRepository


def forget_from(folder: Path, step: int) -> None:
    """Remove the rows of ``step`` and later from every history in ``folder``: these epochs are run again."""
    for path in folder.glob("plots/metrics/**/*.tsv"):
        with path.open(encoding="utf-8", newline="") as stream:
            header, *rows = list(csv.reader(stream, delimiter="\t")) or [[]]
        if "step" not in header:
            continue
        column = header.index("step")
        kept = [row for row in rows if len(row) == len(header) and int(row[column]) < step]
        if len(kept) != len(rows):
            _rewrite(path, [header, *kept])


def _rewrite(path: Path, rows: Iterable[list[str]]) -> None:
    draft = path.with_suffix(".tmp")
    with draft.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream, delimiter="\t", lineterminator=os.linesep).writerows(rows)
    draft.replace(path)
