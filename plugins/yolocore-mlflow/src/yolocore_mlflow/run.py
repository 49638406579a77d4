"""One run in an MLflow store, through the explicit client: MLflow's own notion of an active run stays untouched."""

from __future__ import annotations

import inspect
import json
import logging
import posixpath
import re
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from yolocore_tracking.network import reachable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from yolocore_mlflow.store import Destination

LOGGER = logging.getLogger(__name__)
KEY_TAG: Final = "yolocore.training"
LONGEST_PARAM: Final = 6000
LONGEST_KEY: Final = 250


def metric_name(key: str) -> str:
    """Return a name that MLflow takes: without parentheses, other signs it refuses as ``_``."""
    name = posixpath.normpath(re.sub(r"[^\w./: -]", "_", re.sub(r"[()]", "", key))).lstrip("./")
    return name[:LONGEST_KEY] or "_"


def param_text(value: Any) -> str:
    """Return the text of a parameter: JSON for ``None``, lists and mappings; cut where MLflow would refuse it."""
    text = json.dumps(value) if value is None or isinstance(value, list | dict) else str(value)
    return text if len(text) <= LONGEST_PARAM else f"{text[: LONGEST_PARAM - 1]}…"


class MlflowRun:
    """A run, new or continued; every method but the constructor asks the store and may take long or raise.

    Args:
        destination: where it is.

    Attributes:
        id: identifier of the run, once it is open.
        url: page of the run, if the store is a server.
    """

    def __init__(self, destination: Destination) -> None:
        self.destination = destination
        self.id: str | None = None
        self._client: Any = None
        self._params: dict[str, str] = {}
        self._steps: dict[str, set[int]] = {}

    @property
    def url(self) -> str:
        """Address that a person opens."""
        return self.destination.shown

    def open(self, when: int) -> None:
        """Create the run, or find the one to continue.

        Args:
            when: start of a new run, milliseconds since 1970.

        Raises:
            ConnectionError: the server does not answer.
            mlflow.exceptions.MlflowException: it refuses.
        """
        self.probe()
        from mlflow.tracking import MlflowClient

        self._client = MlflowClient(self.destination.uri)
        found = self._continued()
        if found is None:
            found = self._create(when)
        self.id = found.info.run_id

    def probe(self) -> None:
        """Raise ``ConnectionError`` at once if the store is a server that is down; MLflow would try for minutes."""
        if self.destination.is_server and not reachable(self.destination.uri):
            raise ConnectionError(f"{self.destination.shown} does not answer")

    def _continued(self) -> Any:
        """Return the run named by the destination, with what it holds already noted, or ``None``."""
        if not (self.destination.adopted or self.destination.resumed):
            return None
        run = self._find()
        if run is None or run.info.lifecycle_stage == "deleted":
            LOGGER.warning("MLflow: %s has no run of this training any more; it goes on in a new one", self.url)
            return None
        self._params = dict(run.data.params)
        for key in run.data.metrics if self.destination.resumed else ():
            self._steps[key] = {metric.step for metric in self._client.get_metric_history(run.info.run_id, key)}
        if not self.destination.adopted:
            self._client.update_run(run.info.run_id, status="RUNNING")
        return run

    def _find(self) -> Any:
        """Return the run by its identifier, or by its tag when it was opened after the checkpoint was written."""
        from mlflow.exceptions import MlflowException

        if self.destination.run_id is None:
            query = f"tags.`{KEY_TAG}` = '{self.destination.key}'"
            return next(iter(self._client.search_runs([self._experiment()], query, max_results=1)), None)
        try:
            return self._client.get_run(self.destination.run_id)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return None

    def _create(self, when: int) -> Any:
        tags = {KEY_TAG: self.destination.key}
        return self._uncounted("create_run")(self._experiment(), when, tags, self.destination.run_name)

    def _experiment(self) -> str:
        """Return the identifier of the experiment, created if there is none of this name."""
        from mlflow.exceptions import MlflowException

        name = self.destination.experiment
        found = self._client.get_experiment_by_name(name)
        if found is None:
            try:
                return str(self._uncounted("create_experiment")(name, artifact_location=self.destination.artifacts))
            except MlflowException:  # another training was faster
                found = self._client.get_experiment_by_name(name)
                if found is None:
                    raise
        return str(found.experiment_id)

    def _uncounted(self, name: str) -> Callable[..., Any]:
        """Return a method of the client without the decorator that reports its use to MLflow's makers."""
        tracking = self._client._tracking_client  # noqa: SLF001 (MlflowClient forwards to it and adds nothing)
        return partial(inspect.unwrap(getattr(type(tracking), name)), tracking)

    def log_params(self, values: Mapping[str, Any]) -> None:
        """Record arguments; those a continued run holds with another value become tags ``resumed.<key>``."""
        from mlflow.entities import Param, RunTag

        texts = {key: param_text(value) for key, value in values.items()}
        new = [Param(key, text) for key, text in texts.items() if key not in self._params]
        changed = [RunTag(f"resumed.{key}", text) for key, text in texts.items() if self._params.get(key, text) != text]
        self._uncounted("log_batch")(self.id, params=new, tags=changed)

    def log_metrics(self, values: Mapping[str, float], step: int, timestamp: int) -> None:
        """Record numbers at a step, once: what a continued run has at this step already stays.

        Args:
            values: name → number.
            step: number of the epoch, from 1.
            timestamp: milliseconds since 1970.
        """
        from mlflow.entities import Metric

        named = {metric_name(key): value for key, value in values.items()}
        new = [
            Metric(key, value, timestamp, step) for key, value in named.items() if step not in self._steps.get(key, ())
        ]
        self._uncounted("log_batch")(self.id, metrics=new)

    def upload(self, path: Path, folder: str | None = None) -> None:
        """Store a file as artifact, in the artifact folder ``folder``."""
        self._client.log_artifact(self.id, str(path), folder)

    def end(self, status: str, when: int) -> None:
        """Set the final status, ``FINISHED`` or ``FAILED``, and the end, milliseconds since 1970."""
        self._client.set_terminated(self.id, status, when)

    def check(self, files: Iterable[tuple[Path, str | None]]) -> None:
        """Compare the artifacts of the run with the files they were made from.

        Raises:
            RuntimeError: one is missing or has another size.
        """
        listed: dict[str | None, dict[str, int]] = {}
        for path, folder in files:
            if folder not in listed:
                found = self._client.list_artifacts(self.id, folder)
                listed[folder] = {posixpath.basename(item.path): item.file_size for item in found}
            if listed[folder].get(path.name) != path.stat().st_size:
                raise RuntimeError(f"{path} did not arrive in the run {self.id} of {self.url}")
