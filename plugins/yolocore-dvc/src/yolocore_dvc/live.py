"""Makes the DVCLive logger: files only, unless somebody asked for the repository."""

from __future__ import annotations

import csv
import os
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

INSIDE_PIPELINE = "DVC_ROOT"  # set by `dvc exp run` and `dvc repro`


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
    if not repository:
        return _files_only()(dir=str(folder), resume=resume, save_dvc_exp=False, dvcyaml=False, exp_name=name)
    import dvclive

    return dvclive.Live(
        dir=_relative(folder),
        resume=resume,
        save_dvc_exp=save_dvc_exp,
        dvcyaml=_relative(folder / "dvc.yaml"),
        cache_images=cache_images,
        exp_name=name,
    )


def _relative(path: Path) -> str:
    """Return the path as DVC wants it inside a repository: relative to the working directory, if it lies below."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


@cache
def _files_only() -> type[Any]:
    """Return the class of a ``Live`` that neither looks for a repository nor talks to DVC Studio.

    The one of the library runs ``dvc init`` in any git repository it finds, whatever its arguments.
    """
    from dvclive import Live

    class FilesOnly(Live):  # type: ignore[misc]  # dvclive has no types
        def _init_dvc(self) -> None:
            self._dvc_file = self._init_dvc_file()

        def _init_studio(self) -> None:
            self._studio_events_to_skip.update(("start", "data", "done"))

        def post_data_to_studio(self) -> None:
            """Do nothing; the library would start a thread here."""

    return FilesOnly


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
