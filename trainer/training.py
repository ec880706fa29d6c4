"""A training run: wires the steps, from recipe to published model."""

import dataclasses
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.contract import Contract, InputSpec, Postprocessing
from serving.preprocessing import Pipeline, Step, build, own_steps
from serving.reference import of_columns, of_images, of_sources
from trainer import (
    challenge,
    cost,
    data,
    evaluate,
    export,
    fit,
    gate,
    lineage,
    network,
    progress,
    report,
    robustness,
    samples,
    search,
    table_steps,
    tracking,
)
from trainer.checkpoint import Checkpoint
from trainer.data import Dataset, table
from trainer.errors import Refusal, TrainingError
from trainer.gate import Verdict
from trainer.recipe import Recipe
from trainer.registry import Registry
from trainer.store import ModelStore, Published

_VERIFIED = 32  # held-out examples that the export is tried on
_log = logging.getLogger(__package__)


@dataclass(frozen=True)
class Examples:
    """The data of a recipe, split and preprocessed."""

    dataset: Dataset
    """All of them."""
    steps: tuple[Step, ...]
    """Those of preprocessing, with all their parameters."""
    training: Dataset
    heldout: Dataset
    watched: Dataset
    """Those that decide when training stops: the held-out ones where nothing does."""
    pipeline: Pipeline
    inputs: NDArray[np.float32]
    heldout_inputs: NDArray[np.float32]
    watched_inputs: NDArray[np.float32]

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one input."""
        return self.inputs.shape[1:]

    @property
    def known(self) -> NDArray[np.uint64]:
        """Fingerprints of those that have a part in the model: all but the held-out ones."""
        parts = [self.training] if self.watched is self.heldout else [self.training, self.watched]
        return np.concatenate([part.fingerprints for part in parts])


def prepare(recipe: Recipe) -> Examples:
    """The examples that `recipe` asks for."""
    dataset = data.load(recipe)
    training, heldout = data.split(dataset, recipe.data.holdout, recipe.seed)
    _log.info("%s: %d to train on, %d held out", dataset.source, len(training.targets), len(heldout.targets))
    if dataset.labels:
        _log.info("classes: %s", dataset.balance)
    watched = heldout
    if recipe.fit.patience is not None:
        training, watched = data.split(training, recipe.fit.validation, recipe.seed)
    steps = recipe.preprocessing
    if recipe.data.tabular:
        schema = table.schema(dataset)
        steps = table_steps.fitted(steps, schema, training.rows(training.columns))
    pipeline = build(steps, own_steps(steps))
    inputs, watched_inputs = (data.tensors(pipeline, part) for part in (training, watched))
    heldout_inputs = watched_inputs if watched is heldout else data.tensors(pipeline, heldout)
    return Examples(dataset, steps, training, heldout, watched, pipeline, inputs, heldout_inputs, watched_inputs)


def learn(
    recipe: Recipe, examples: Examples, checkpoint: Checkpoint, on_epoch: Sequence[fit.OnEpoch]
) -> tuple[Any, NDArray[np.float32], dict[str, float]]:
    """Builds and fits the network: the Keras model, its outputs for the held-out examples, and their figures."""
    labels = examples.dataset.labels
    # Not before: MLflow draws on Python's random numbers too.
    fit.make_repeatable(recipe.seed)
    model, trained = network.prepared(recipe, examples.inputs, examples.training.targets, len(labels))
    with progress.epochs(recipe.fit.epochs) as show:
        sets = (examples.inputs, examples.training.targets), (examples.watched_inputs, examples.watched.targets)
        fit.fit(trained, recipe, *sets, on_epoch=(show, *on_epoch), checkpoint=checkpoint)
    outputs = model.predict(examples.heldout_inputs, verbose=0)
    return model, outputs, evaluate.quality(outputs, examples.heldout.targets, labels)


def train(
    recipe: Recipe, store: ModelStore, uri: str | None, *, resume: bool
) -> tuple[Published, Mapping[str, float], Verdict]:
    """Trains and publishes to `store`, recorded in MLflow at `uri`; the version, its figures, the verdict.

    Refusal if the gate does not let it pass: it is recorded, then, and not published.
    """
    examples = prepare(recipe)
    dataset, heldout = examples.dataset, examples.heldout
    corruptions = robustness.CORRUPTIONS if examples.pipeline.accepts_images else ()
    gate.check_names(recipe.gate, (*evaluate.names(dataset.labels), *cost.NAMES, *map(_corrupted, corruptions)))
    origin = lineage.trace(recipe, dataset)
    epochs: list[tuple[int, Mapping[str, float]]] = []
    verdicts: list[Verdict] = []

    with tracking.Run(uri, recipe, origin) as run:
        champion = challenge.prepare(uri, recipe, examples.training, heldout)
        if recipe.search:
            found = search.best(recipe, dataclasses.replace(examples.training, inputs=examples.inputs), run)
            origin["overrides"] = json.dumps(found)
            recipe = recipe.overridden(found)
            run.searched(recipe, found)
        checkpoint = Checkpoint(store.scratch, recipe.digest + origin["data_hash"], resume=resume)
        model, outputs, figures = learn(recipe, examples, checkpoint, (run.epoch, lambda *epoch: epochs.append(epoch)))
        tried = examples.heldout_inputs[:_VERIFIED]
        run.trained_on(examples.known)
        run.result(model, tried, figures)
        contract = _contract(recipe, examples, outputs, figures, {"run_id": run.id, **origin})
        slices = robustness.slices(lambda tensors: model.predict(tensors, verbose=0), contract, heldout, recipe.seed)
        pictures = report.pictures_of(outputs, heldout, contract.preprocessing, epochs)
        corrupted = {_corrupted(name): found.accuracy for name, found in slices.items()}

        def write(directory: Path) -> None:
            export.write(directory, model, contract, tried)
            if not dataset.columns:
                samples.write(directory / "assets.extra" / "samples", heldout)
            export.verify(directory, model, tried)
            costs = cost.measure(directory, contract.signature, contract.input, tried)
            beside = champion.judge(outputs) if champion.judge else None
            measured = {**figures, **costs, **corrupted}
            verdict = gate.judge(recipe.name, recipe.gate, measured, beside, champion.warnings)
            verdicts.append(verdict)
            written = directory / report.DIRECTORY
            report.write(
                written, contract, pictures, [*report.verdict(verdict), *report.tables(contract, costs, slices)]
            )
            (written / "verdict.json").write_text(verdict.model_dump_json(indent=2), "utf-8")
            text = contract.model_dump_json(indent=2)
            run.judged(directory, written, text, {**costs, **corrupted}, passed=verdict.passed)
            if not verdict.passed:
                raise Refusal(verdict.reasons, verdict.model_dump_json(indent=2))

        try:
            published = store.publish(write)
        except Refusal:
            # It is trained to its end: to resume would give the same again.
            checkpoint.remove()
            raise
        run.published(published, evaluate.overall(figures, dataset.labels), promote=recipe.gate.promote)
    checkpoint.remove()
    if recipe.publish.keep is not None:
        _prune(store, uri, recipe)
    return published, figures, verdicts[-1]


def _prune(store: ModelStore, uri: str | None, recipe: Recipe) -> None:
    """Removes old versions, but none that the registry may ask for; without a registry, none."""
    try:
        with tracking.connected(uri) as client:
            protected = Registry(client).in_use(recipe.name)
    except TrainingError as error:
        _log.warning("old versions are kept: %s", error)
    else:
        store.prune(recipe.publish.keep, protected)


def _contract(
    recipe: Recipe,
    examples: Examples,
    outputs: NDArray[np.float32],
    figures: Mapping[str, float],
    origin: Mapping[str, str],
) -> Contract:
    """What the model says of itself."""
    labels, tabular, inputs = examples.dataset.labels, recipe.data.tabular, examples.heldout_inputs
    if tabular:
        golden = samples.golden_rows(examples.pipeline, examples.heldout)
        names = table_steps.features(examples.steps)
        # After `assemble` a step may have made something else of them.
        features = of_columns(inputs, names) if inputs.shape[1:] == (len(names),) else {}
    else:
        golden = samples.golden(examples.pipeline, examples.heldout, recipe.seed)
        features = of_images(inputs)
        if examples.pipeline.accepts_images:
            features |= of_sources(examples.heldout.sources(examples.steps[0]))
    return Contract(
        name=recipe.name,
        input=InputSpec(name="features" if tabular else "image", dtype="float32", shape=examples.shape),
        preprocessing=examples.steps,
        golden=golden,
        postprocessing=Postprocessing(task=recipe.task, output="probabilities" if labels else "value", labels=labels),
        reference=evaluate.reference(features, outputs, labels),
        evaluation=figures,
        lineage=origin,
    )


def _corrupted(name: str) -> str:
    """The name of the figure on images with a corruption."""
    return f"accuracy_under_{name}"
