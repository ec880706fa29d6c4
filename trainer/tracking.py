"""MLflow's record of a run: settings, figures, the model, the report; and the version in the registry.

A run is shown live while it trains. At its end all of it is kept in files (trainer/record.py) and uploaded from there:
with a server that is away then, or was on the way, nothing is lost, and `sync` uploads it later.
"""

import contextlib
import json
import logging
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import mlflow
import numpy as np
from mlflow import MlflowClient
from mlflow.entities import Metric as MlflowMetric
from mlflow.entities import Param, RunTag
from mlflow.models import infer_signature
from mlflow.tracking.context.registry import resolve_tags
from numpy.typing import NDArray

from trainer.errors import TrainingError
from trainer.recipe import Recipe
from trainer.record import Metric, Record, Records, Trial, Version, artifacts, milliseconds, save
from trainer.registry import Registry
from trainer.store import Published

LOCAL = Path("var/mlflow")
"""The default store's directory, from the current one."""
PENDING = LOCAL / "pending"
RECORD_ID = "record.id"
# Artifacts of a run, beside the model, the contract and the report.
RECIPE, EXPORT, TRAINING_EXAMPLES = "recipe.json", "export", "training_examples.npy"
FIGURES = "figures."
"""Before the name of a figure in a registered version's tags."""
# MLflow's limits of a batch.
_METRICS, _PARAMS = 1000, 100
_log = logging.getLogger(__package__)


def locate(uri: str | None) -> str:
    """`uri`, or that of the local store, whose directory is made."""
    if uri:
        return uri
    LOCAL.mkdir(parents=True, exist_ok=True)
    return f"sqlite:///{(LOCAL / 'mlflow.db').resolve()}"


def shown(uri: str | None) -> str:
    """The same for people and files: without a password."""
    return re.sub(r"(?<=://)[^/@]*@", "", locate(uri))


@contextlib.contextmanager
def connected(uri: str | None) -> Iterator[MlflowClient]:
    """A client of the tracking server at `uri`, or of the local store; whatever it raises becomes a TrainingError."""
    try:
        yield MlflowClient(locate(uri))
    except TrainingError:
        raise
    except Exception as error:
        # Whatever a database, a server or a bucket raises.
        raise TrainingError(f"MLflow at {shown(uri)}: {one_line(error)}") from error


class Run:
    """One run of `recipe`, while the context lasts.

    What fails to be shown live is logged once, and left to the upload at the end.
    """

    def __init__(self, uri: str | None, recipe: Recipe, tags: Mapping[str, str]) -> None:
        self._uri, self._recipe = uri, recipe
        self._record = Record(
            model=recipe.name,
            uri=shown(uri),
            params=dict(_flat(recipe.model_dump(mode="json"))),
            tags=resolve_tags(dict(tags)),
        )
        self._records, self._files = Records(PENDING), contextlib.ExitStack()
        self._artifacts: Path | None = None
        self._live = True

    @property
    def id(self) -> str:
        """MLflow's id, or the record's if MLflow did not answer when the run began: there it is the tag `record.id`."""
        return self._record.run_id or self._record.id

    def __enter__(self) -> Self:
        self._keep(self._begin)
        self._show(self._start)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind and self._record.tags.get("gate") != "refused":
            self._record.status = "FAILED" if issubclass(kind, Exception) else "KILLED"
        self._record.ended = milliseconds()
        with self._files:
            self._keep(self._finish)

    def epoch(self, number: int, figures: Mapping[str, float]) -> None:
        """Records the figures of an epoch, counted from 1."""
        made = self._add(figures, number)
        self._show(lambda client: _send(client, self.id, made))

    def trial(
        self, number: int, settings: Mapping[str, Any], objective: str, values: Sequence[float], ended: str
    ) -> None:
        """Records a trial of a search, within this run: its settings, and the objective's `values` by epoch."""
        metrics = [
            Metric(name=name, value=value, step=epoch)
            for epoch, value in enumerate(values, 1)
            for name in named({objective: value})
        ]
        made = Trial(number=number, settings=_as_json(settings), ended=ended, metrics=metrics)
        self._record.trials.append(made)
        self._show(lambda client: _send_trial(client, self.id, self._record.id, made))

    def searched(self, recipe: Recipe, settings: Mapping[str, Any]) -> None:
        """Records the `settings` that a search has found, and the recipe with them: the one that is trained."""
        self._record.tags |= {f"override.{name}": value for name, value in _as_json(settings).items()}
        self._keep(lambda: self._place(RECIPE).write_text(recipe.model_dump_json(indent=2), "utf-8"))

    def trained_on(self, fingerprints: NDArray[np.uint64]) -> None:
        """Records which examples the model knows."""
        self._keep(lambda: np.save(self._place(TRAINING_EXAMPLES), fingerprints))

    def result(self, model: Any, tensors: NDArray[np.float32], figures: Mapping[str, float]) -> None:
        """Records the final figures and the Keras model; `tensors` are a few of its inputs, to show their form."""
        self._add(figures)

        def keep() -> None:
            mlflow.tensorflow.save_model(
                model,
                str(self._place("model")),
                signature=infer_signature(tensors, model.predict(tensors, verbose=0)),
                # Given, because MLflow would otherwise load the model in a process of its own to find out.
                pip_requirements=[f"{library}=={version(library)}" for library in ("tensorflow", "keras", "numpy")],
            )

        self._keep(keep)

    def judged(self, export: Path, report: Path, contract: str, figures: Mapping[str, float], *, passed: bool) -> None:
        """Records what the gate saw: the report's directory, the contract (JSON) and more figures than it has.

        Of an export that has passed, its directory too: it can be compared when the store has it no longer.
        """
        self._add(figures)
        self._record.tags["gate"] = "passed" if passed else "refused"

        def keep() -> None:
            self._place("contract.json").write_text(contract, "utf-8")
            shutil.copytree(report, self._place("report"))
            if passed:
                shutil.copytree(export, self._place(EXPORT), ignore=shutil.ignore_patterns("assets.extra"))

        self._keep(keep)

    def published(self, version: Published, figures: Mapping[str, float], *, promote: bool) -> None:
        """Records where the model went; the registry gets a version with `figures` among its tags."""
        tags = {name: tag for name, tag in self._record.tags.items() if name in ("git_revision", "data_hash")}
        tags |= {f"{FIGURES}{name}": f"{value:.6g}" for name, value in named(figures).items()}
        path = version.location if "://" in version.location else str(Path(version.location).resolve())
        made = Version(number=str(version.number), path=path, tags=tags, promote=promote)
        self._record.version = made
        self._record.tags |= made.place

    def _add(self, figures: Mapping[str, float], step: int = 0) -> list[Metric]:
        made = [Metric(name=name, value=value, step=step) for name, value in named(figures).items()]
        self._record.metrics += made
        return made

    def _begin(self) -> None:
        self._artifacts = self._files.enter_context(self._records.begun(self._record))
        self._place(RECIPE).write_text(self._recipe.model_dump_json(indent=2), "utf-8")

    def _start(self, client: MlflowClient) -> None:
        self._record.run_id = _run(client, self._record, self._record.uri)
        _send(client, self.id, (), self._record)
        _log.info("MLflow run %s in %s", self.id, self._record.uri)

    def _finish(self) -> None:
        kept = self._records.complete(self._record)
        try:
            upload(self._records, kept, self._uri)
        except TrainingError as error:
            _log.warning("%s: this run is kept in %s, `python -m trainer sync` uploads it", error, kept)

    def _show(self, show: Callable[[MlflowClient], object]) -> None:
        """Does what can be done again later, unless it failed before."""
        if not self._live:
            return
        try:
            with connected(self._uri) as client:
                show(client)
        except TrainingError as error:
            _log.warning("%s: this run is recorded when it ends", error)
            self._live = False

    def _place(self, name: str) -> Path:
        """Where an artifact is kept."""
        if self._artifacts is None:
            raise TrainingError("there is no directory for it")
        return self._artifacts / name

    def _keep(self, save: Callable[[], object]) -> None:
        """A record that cannot be kept, for a full disk, say, does not cost the model; what else of it can be, is."""
        try:
            save()
        except Exception as error:
            # Keras and MLflow have their own for what fails on a disk.
            _log.warning("the record of this run is not complete: %s", one_line(error))


def upload(records: Records, kept: Path, uri: str | None) -> str | None:
    """Brings a kept record to MLflow at `uri` and forgets it; the run's id, None if another process has done so.

    May be cut short and done again. TrainingError if MLflow does not take it: it is kept, then.
    """
    with records.opened(kept) as made, connected(uri) as client:
        if made is None:
            return None
        made.run_id = run_id = _run(client, made, shown(uri))
        made.uri = shown(uri)
        save(kept, made)
        _send(client, run_id, made.metrics, made)
        for trial in made.trials:
            _send_trial(client, run_id, made.id, trial)
        client.log_artifacts(run_id, str(artifacts(kept)))
        if made.version:
            source = f"{client.get_run(run_id).info.artifact_uri}/model"
            Registry(client).register(made.model, run_id, source, made.version)
        client.set_terminated(run_id, made.status, made.ended)
        records.remove(kept)
        return run_id


def find_run(client: MlflowClient, run_id: str) -> Any:
    """The run with MLflow's id or the record's; TrainingError if there is none."""
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    filters = (f"attributes.run_id = '{run_id}'", f"tags.`{RECORD_ID}` = '{run_id}'")
    # It goes into a filter.
    found = [run for each in filters for run in client.search_runs(experiments, each)] if run_id.isalnum() else []
    if not found:
        raise TrainingError(f"MLflow has no run {run_id!r}")
    return found[0]


def _run(client: MlflowClient, made: Record, uri: str) -> str:
    """The id of the record's run at `uri`, which is made if it is not there."""
    if made.run_id and made.uri == uri:
        return made.run_id
    experiment = client.get_experiment_by_name(made.model)
    if experiment is None:
        # A database has no place for files; MLflow would make ./mlruns.
        place = (LOCAL / "artifacts").resolve().as_uri() if uri == shown(None) else None
        experiment_id = client.create_experiment(made.model, place)
    else:
        experiment_id = experiment.experiment_id
    begun = client.search_runs([experiment_id], f"tags.`{RECORD_ID}` = '{made.id}'")
    if begun:
        return str(begun[0].info.run_id)
    created = client.create_run(experiment_id, start_time=made.started, tags={**made.tags, RECORD_ID: made.id})
    return str(created.info.run_id)


def _send(client: MlflowClient, run_id: str, metrics: Any, made: Record | None = None) -> None:
    """Metrics, and the params and tags of `made`; what is there already stays as it is."""
    entities = [MlflowMetric(each.name, each.value, each.timestamp, each.step) for each in metrics]
    for start in range(0, len(entities), _METRICS):
        client.log_batch(run_id, metrics=entities[start : start + _METRICS])
    if made:
        params = [Param(name, value) for name, value in made.params.items()]
        tags = [RunTag(name, value) for name, value in made.tags.items()]
        for start in range(0, max(len(params), len(tags)), _PARAMS):
            part = slice(start, start + _PARAMS)
            client.log_batch(run_id, params=params[part], tags=tags[part])


def _send_trial(client: MlflowClient, parent: str, record: str, trial: Trial) -> None:
    """A run within the run `parent`; what is there already stays as it is."""
    experiment, own = client.get_run(parent).info.experiment_id, f"{record}-{trial.number}"
    begun = client.search_runs([experiment], f"tags.`{RECORD_ID}` = '{own}'")
    if begun and begun[0].info.status == "FINISHED":
        return
    tags = {RECORD_ID: own, "mlflow.parentRunId": parent, "search.ended": trial.ended}
    started = trial.metrics[0].timestamp if trial.metrics else trial.finished
    made = begun[0] if begun else client.create_run(experiment, started, tags, f"trial-{trial.number}")
    metrics = [MlflowMetric(each.name, each.value, each.timestamp, each.step) for each in trial.metrics]
    client.log_batch(made.info.run_id, metrics, [Param(*setting) for setting in trial.settings.items()])
    client.set_terminated(made.info.run_id, "FINISHED", trial.finished)


def _as_json(settings: Mapping[str, Any]) -> dict[str, str]:
    return {name: json.dumps(value) for name, value in settings.items()}


def one_line(error: BaseException) -> str:
    """What an exception says, or at least its name."""
    return " ".join(str(error).split()) or type(error).__name__


def named(figures: Mapping[str, float]) -> dict[str, float]:
    """Figures by names that MLflow takes: it knows few signs, and those by class have the classes' names."""
    return {re.sub(r"[^\w\-. :/]", "_", name): figure for name, figure in figures.items()}


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Nested settings by dotted name; lists as JSON."""
    for key, value in settings.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value if isinstance(value, str) else json.dumps(value)
