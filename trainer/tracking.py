"""MLflow's record of a run: settings, figures, the model and the report. A model is not lost because its record is."""

import contextlib
import json
import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import mlflow
import numpy as np
from mlflow.models import infer_signature
from numpy.typing import NDArray

from trainer.recipe import Recipe
from trainer.store import Published

_LOCAL = Path("var/mlflow")
_log = logging.getLogger(__package__)


class Run:
    """One run in the store at `uri`, or in the local one. The first failure is logged, and nothing more is recorded."""

    def __init__(self, uri: str | None, recipe: Recipe, tags: Mapping[str, str]) -> None:
        self.id = ""
        """MLflow's id; empty while there is no run, and again once recording has failed."""
        self._works = True
        self._attempt(lambda: self._start(uri, recipe, tags))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._attempt(lambda: mlflow.end_run("FAILED" if kind else "FINISHED"))

    def epoch(self, number: int, figures: Mapping[str, float]) -> None:
        """Records the figures of an epoch, counted from 1."""
        self._attempt(lambda: mlflow.log_metrics(dict(figures), step=number))

    def result(self, model: Any, tensors: NDArray[np.float32], figures: Mapping[str, float]) -> None:
        """Records the final figures and the Keras model; `tensors` are a few of its inputs, to show their form."""

        def record() -> None:
            mlflow.log_metrics(_named(figures))
            mlflow.tensorflow.log_model(
                model,
                name="model",
                signature=infer_signature(tensors, model.predict(tensors, verbose=0)),
                # Given, because MLflow would otherwise load the model in a process of its own to find out.
                pip_requirements=[
                    f"{library}=={metadata.version(library)}" for library in ("tensorflow", "keras", "numpy")
                ],
            )

        self._attempt(record)

    def published(self, version: Published, contract: str) -> None:
        """Records where the model went, and the contract (JSON) that it carries."""

        def record() -> None:
            location = version.location if "://" in version.location else str(Path(version.location).resolve())
            mlflow.set_tags({"model_store.path": location, "model_store.version": str(version.number)})
            mlflow.log_text(contract, "contract.json")

        self._attempt(record)

    def trial(
        self, number: int, settings: Mapping[str, Any], objective: str, values: Sequence[float], ended: str
    ) -> None:
        """Records a trial of a search, within this run: its settings, and the objective's `values` by epoch."""

        def record() -> None:
            with mlflow.start_run(run_name=f"trial-{number}", nested=True, tags={"search.ended": ended}):
                mlflow.log_params({name: json.dumps(value) for name, value in settings.items()})
                for epoch, value in enumerate(values, 1):
                    mlflow.log_metric(objective, value, step=epoch)

        self._attempt(record)

    def searched(self, settings: Mapping[str, Any]) -> None:
        """Records what a search has found, which overrides the recipe's settings."""
        self._attempt(lambda: mlflow.set_tags({f"override.{name}": json.dumps(v) for name, v in settings.items()}))

    def reported(self, directory: Path, figures: Mapping[str, float]) -> None:
        """Records the report that is in `directory`, and figures that the contract has not."""

        def record() -> None:
            mlflow.log_metrics(_named(figures))
            mlflow.log_artifacts(str(directory), "report")

        self._attempt(record)

    def _start(self, uri: str | None, recipe: Recipe, tags: Mapping[str, str]) -> None:
        mlflow.set_tracking_uri(uri or _local_uri())
        if not uri and mlflow.get_experiment_by_name(recipe.name) is None:
            # A database has no place for files; MLflow would make ./mlruns.
            mlflow.create_experiment(recipe.name, (_LOCAL / "artifacts").resolve().as_uri())
        mlflow.set_experiment(recipe.name)
        self.id = mlflow.start_run(tags=dict(tags)).info.run_id
        _log.info("MLflow run %s in %s", self.id, mlflow.get_tracking_uri())
        mlflow.log_params(dict(_flat(recipe.model_dump(mode="json"))))

    def _attempt(self, record: Callable[[], object]) -> None:
        if not self._works:
            return
        try:
            record()
        except Exception as error:
            # Whatever a database, a server or a bucket raises.
            _log.warning("MLflow failed, this run is not recorded: %s", " ".join(str(error).split()))
            self._works, self.id = False, ""
            with contextlib.suppress(Exception):
                mlflow.end_run("FAILED")


def _local_uri() -> str:
    _LOCAL.mkdir(parents=True, exist_ok=True)
    return f"sqlite:///{(_LOCAL / 'mlflow.db').resolve()}"


def _named(figures: Mapping[str, float]) -> dict[str, float]:
    """Figures by names that MLflow takes: it knows few signs, and those by class have the classes' names."""
    return {re.sub(r"[^\w\-. :/]", "_", name): figure for name, figure in figures.items()}


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Nested settings by dotted name; lists as JSON."""
    for key, value in settings.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value if isinstance(value, str) else json.dumps(value)
