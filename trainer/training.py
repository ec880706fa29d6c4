"""A training run: wires the steps, from recipe to published model."""

import dataclasses
import json
import logging
from collections.abc import Mapping
from pathlib import Path

from serving.contract import Contract, InputSpec, Postprocessing
from serving.preprocessing import build
from trainer import (
    cost,
    data,
    evaluate,
    export,
    fit,
    lineage,
    network,
    progress,
    report,
    robustness,
    samples,
    search,
    tracking,
)
from trainer.checkpoint import Checkpoint
from trainer.recipe import Recipe
from trainer.store import ModelStore, Published

_VERIFIED = 32  # held-out examples that the export is tried on
_log = logging.getLogger(__package__)


def train(recipe: Recipe, store: ModelStore, uri: str | None, *, resume: bool) -> tuple[Published, Mapping[str, float]]:
    """Trains and publishes to `store`, recorded in MLflow at `uri`; the version, and its figures by name."""
    dataset = data.load(recipe)
    labels, tabular = dataset.labels, bool(dataset.columns)
    training, heldout = data.split(dataset, recipe.data.holdout, recipe.seed)
    _log.info("%s: %d to train on, %d held out", dataset.source, len(training.targets), len(heldout.targets))
    if labels:
        _log.info("classes: %s", dataset.balance)
    watched = heldout
    if recipe.fit.patience is not None:
        training, watched = data.split(training, recipe.fit.validation, recipe.seed)
    pipeline = build(recipe.preprocessing)
    inputs, watched_inputs = (data.tensors(pipeline, part) for part in (training, watched))
    heldout_inputs = watched_inputs if watched is heldout else data.tensors(pipeline, heldout)
    shape = inputs.shape[1:]
    origin = lineage.trace(recipe, dataset)
    epochs: list[tuple[int, Mapping[str, float]]] = []

    with tracking.Run(uri, recipe, origin) as run:
        if recipe.search:
            found = search.best(recipe, dataclasses.replace(training, inputs=inputs), run)
            origin["overrides"] = json.dumps(found)
            recipe = recipe.overridden(found)
        checkpoint = Checkpoint(store.scratch, recipe.digest + origin["data_hash"], resume=resume)
        # Not before: MLflow draws on Python's random numbers too.
        fit.make_repeatable(recipe.seed)
        model, trained = network.prepared(recipe, inputs, training.targets, len(labels))
        with progress.epochs(recipe.fit.epochs) as show:
            examples = (inputs, training.targets), (watched_inputs, watched.targets)
            calls = (show, run.epoch, lambda *epoch: epochs.append(epoch))
            fit.fit(trained, recipe, *examples, on_epoch=calls, checkpoint=checkpoint)

        outputs = model.predict(heldout_inputs, verbose=0)
        figures = evaluate.quality(outputs, heldout.targets, labels)
        run.result(model, heldout_inputs[:_VERIFIED], figures)
        seen = evaluate.columns(heldout_inputs, dataset.columns) if tabular else evaluate.images(heldout_inputs)
        contract = Contract(
            name=recipe.name,
            input=InputSpec(name="features" if tabular else "image", dtype="float32", shape=shape),
            preprocessing=recipe.preprocessing,
            golden=() if tabular else samples.golden(pipeline, heldout, recipe.seed),
            postprocessing=Postprocessing(
                task=recipe.task, output="probabilities" if labels else "value", labels=labels
            ),
            reference=evaluate.reference(seen, outputs, labels),
            evaluation=figures,
            lineage={"run_id": run.id, **origin},
        )
        slices = robustness.slices(lambda tensors: model.predict(tensors, verbose=0), contract, heldout, recipe.seed)
        pictures = report.pictures_of(outputs, heldout, contract.preprocessing, epochs)
        corrupted = {f"accuracy_under_{name}": found.accuracy for name, found in slices.items()}
        costs: dict[str, float] = {}

        def write(directory: Path) -> None:
            tried = heldout_inputs[:_VERIFIED]
            export.write(directory, model, contract, tried)
            if not tabular:
                samples.write(directory / "assets.extra" / "samples", heldout)
            export.verify(directory, model, tried)
            costs.update(cost.measure(directory, contract.signature, contract.input, tried))
            report.write(directory / report.DIRECTORY, contract, pictures, report.tables(contract, costs, slices))
            # While the files are on this machine.
            run.reported(directory / report.DIRECTORY, {**costs, **corrupted})

        published = store.publish(write)
        run.published(published, contract.model_dump_json(indent=2))
        store.prune(recipe.publish.keep)
    checkpoint.remove()
    return published, figures
