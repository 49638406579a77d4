"""Where a record goes, and how MLflow gets imported without side effects."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from yolocore_tracking.facts import project_name, run_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

URI = "MLFLOW_TRACKING_URI"
EXPERIMENT = "MLFLOW_EXPERIMENT_NAME"
RUN = "MLFLOW_RUN"
KEEP_ACTIVE = "MLFLOW_KEEP_RUN_ACTIVE"


@dataclass(frozen=True, slots=True)
class Destination:
    """Where one training is recorded.

    Attributes:
        uri: address of the tracking store.
        experiment: name of the experiment.
        run_name: name of a new run.
        artifacts: where a new experiment keeps its artifacts; ``None`` lets the store decide.
        run_id: a run that exists already, to go on with.
        adopted: whether the user opened that run; it is then left open.
        key: names the training in its checkpoints and, as a tag, its run.
        resumed: whether the run may hold steps of this training already.
    """

    uri: str
    experiment: str = ""
    run_name: str = ""
    artifacts: str | None = None
    run_id: str | None = None
    adopted: bool = False
    key: str = ""
    resumed: bool = False

    @property
    def is_server(self) -> bool:
        """Whether a TCP connection can tell that the store is there."""
        return self.uri.startswith(("http://", "https://"))

    @property
    def shown(self) -> str:
        """The address for messages, without user and password."""
        parts = urlsplit(self.uri)
        return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])) if self.is_server else self.uri


def destination(args: Any, state: Mapping[str, Any], *, resumed: bool) -> Destination:
    """Return where a training with the arguments ``args`` goes, and which run it continues.

    Args:
        args: the arguments.
        state: what the checkpoint of a resumed training brought: its key and, if known, the identifier of its run.
        resumed: whether there was such a checkpoint.

    A run that the user has opened in this thread wins over everything. Then come the environment variables, then
    ``project`` and ``name``, and without any address a SQLite file under the directory of all runs.

    Raises:
        ModuleNotFoundError: the record would go into a file, and only ``mlflow-skinny`` is installed.
    """
    mlflow = import_mlflow()
    active = mlflow.active_run()
    if active is not None:
        return Destination(mlflow.get_tracking_uri(), run_id=active.info.run_id, adopted=True, resumed=resumed)
    uri, artifacts = os.environ.get(URI), None
    if not uri:
        folder = local_folder()
        uri, artifacts = f"sqlite:///{(folder / 'mlflow.db').as_posix()}", (folder / "artifacts").as_uri()
    if uri.startswith("sqlite:") and importlib.util.find_spec("sqlalchemy") is None:
        raise ModuleNotFoundError(
            f"{uri}: a record in a file needs the whole of MLflow: pip install 'yolocore-mlflow[local]', "
            f"or name a server with {URI}"
        )
    experiment = os.environ.get(EXPERIMENT) or project_name(args)
    name = os.environ.get(RUN) or run_name(args)
    return Destination(uri, experiment, name, artifacts, state.get("run_id"), key=state["key"], resumed=resumed)


def local_folder() -> Path:
    """Return the folder of the SQLite store and its artifacts, which is made here."""
    from yolocore import settings

    folder = Path(settings["runs_dir"]).expanduser().absolute() / "mlflow"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def keeps_active() -> bool:
    """Say whether the environment asks that runs stay open after the training."""
    return os.environ.get(KEEP_ACTIVE, "").strip().lower() in {"true", "1", "yes", "on"}


def import_mlflow() -> Any:
    """Return the module, imported without starting its telemetry if nobody imported it before."""
    if "mlflow" not in sys.modules:
        with _variable("MLFLOW_DISABLE_TELEMETRY", "true"):
            importlib.import_module("mlflow")
    return sys.modules["mlflow"]


@contextmanager
def _variable(name: str, value: str) -> Iterator[None]:
    """Set an environment variable for a moment."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
