"""The champion, met before a candidate is trained: what it says of the candidate's held-out examples."""

import logging
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from numpy.typing import NDArray

from serving.contract import Contract
from serving.reference import counted, jensen_shannon, psi
from trainer import comparison, evaluate, tracking
from trainer.data import Dataset
from trainer.errors import TrainingError
from trainer.gate import Champion, Drift
from trainer.published import Published
from trainer.recipe import Recipe
from trainer.record import STORE_VERSION
from trainer.registry import Registry

# Training examples that drift is measured on, at most.
_DRIFT_EXAMPLES = 2000
_log = logging.getLogger(__package__)


@dataclass(frozen=True)
class Challenge:
    """What a candidate is judged beside."""

    judge: Callable[[NDArray[Any]], Champion] | None
    """From the candidate's outputs for the held-out examples to how the champion did; None where there is none."""
    warnings: tuple[str, ...] = ()


def prepare(uri: str | None, recipe: Recipe, training: Dataset, heldout: Dataset) -> Challenge:
    """Has the champion in the registry at `uri` answer the held-out examples.

    Without MLflow there is none, with a warning. TrainingError if there is one that cannot answer them.
    """
    if recipe.gate.champion == "ignored":
        return Challenge(None, ("the champion is ignored, as the recipe says",))
    try:
        with tracking.connected(uri) as client:
            version = Registry(client).champion(recipe.name)
    except TrainingError as error:
        _log.warning("%s: this model is compared with no champion", error)
        return Challenge(None, (f"{error}: compared with no champion",))
    if version is None:
        return Challenge(None)
    name = f"the champion, version {version.version}"
    _log.info("%s, answers the held-out examples", name)
    try:
        published, known = load(uri, version)
        outputs, labels = published.predict(heldout)
        figures = evaluate.quality(outputs, heldout.targets, labels)
        drift = _drift(published, training, recipe.seed)
    except TrainingError as error:
        raise TrainingError(f"{name}, cannot be compared with: {error}; gate.champion: ignored goes without") from error

    def judge(candidate: NDArray[Any]) -> Champion:
        test = comparison.compare(
            outputs,
            candidate,
            heldout.targets,
            labelled=bool(heldout.labels),
            alpha=recipe.gate.alpha,
            seed=recipe.seed,
        )
        return Champion(
            version=str(version.version),
            store_version=version.tags.get(STORE_VERSION, ""),
            run_id=version.run_id or "",
            figures=figures,
            test=test,
            drift=drift,
            seen=seen(known, heldout),
        )

    return Challenge(judge)


def load(uri: str | None, version: ModelVersion) -> tuple[Published, NDArray[np.uint64] | None]:
    """The model of a registered version, and the fingerprints of the examples that it was trained on, if recorded.

    TrainingError if its run in the tracking server at `uri` has no export, or it cannot be read.
    """
    with tempfile.TemporaryDirectory() as scratch, tracking.connected(uri) as client:
        directory = _downloaded(client, version, tracking.EXPORT, scratch)
        if directory is None:
            raise TrainingError(f"the run {version.run_id} has no {tracking.EXPORT}")
        published = Published(directory)
        fingerprints = _downloaded(client, version, tracking.TRAINING_EXAMPLES, scratch)
        return published, None if fingerprints is None else np.load(fingerprints)


def seen(known: NDArray[np.uint64] | None, heldout: Dataset) -> int | None:
    """How many of the held-out examples are among the `known` fingerprints; None if those are not."""
    return None if known is None else int(np.isin(heldout.fingerprints, known).sum())


def _downloaded(client: MlflowClient, version: ModelVersion, name: str, scratch: str) -> Path | None:
    run_id = version.run_id or ""
    if not any(artifact.path == name for artifact in client.list_artifacts(run_id)):
        return None
    return Path(client.download_artifacts(run_id, name, scratch))


def _drift(published: Published, training: Dataset, seed: int) -> dict[str, Drift]:
    """How far the training examples are from the model's reference, by feature."""
    contract: Contract = published.contract
    if contract.reference is None:
        return {}
    count = len(training.targets)
    places = np.random.default_rng(seed).choice(count, min(count, _DRIFT_EXAMPLES), replace=False)
    found = {}
    for name, values in published.features(training.part(places)).items():
        if name in contract.reference.inputs:
            reference = contract.reference.inputs[name]
            counts = counted(values, reference)
            found[name] = Drift(
                psi=psi(reference.counts, counts), jensen_shannon=jensen_shannon(reference.counts, counts)
            )
    return found
