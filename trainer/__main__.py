"""`python -m trainer`: wires the steps of a training run, from recipe to published model."""

import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from serving.contract import Contract, InputSpec, Postprocessing
from serving.preprocessing import build
from trainer import quiet
from trainer.errors import TrainingError
from trainer.recipe import Recipe, parse
from trainer.store import ModelStore

_VERIFIED = 32  # held-out examples that the export is tried on
_log = logging.getLogger(__package__)


def main(arguments: Sequence[str]) -> int:
    """Runs one training; the exit status."""
    logging.basicConfig(format="%(asctime)s %(name)s: %(message)s", datefmt="%H:%M:%S", level=logging.WARNING)
    _log.setLevel(logging.INFO)
    try:
        recipe, base, resume = parse(arguments)
        store = ModelStore(base, recipe.name)
        store.check()
        _train(recipe, store, resume=resume)
    except TrainingError as error:
        _log.error("%s", error)
        return 1
    except KeyboardInterrupt:
        _log.error("interrupted, nothing is published")
        return 130
    return 0


def _train(recipe: Recipe, store: ModelStore, *, resume: bool) -> None:
    _log.info("loading TensorFlow")
    quiet.configure(os.environ)
    with quiet.native_stderr():
        # PLC0415: TensorFlow takes ten seconds to import; --help and a mistake in the recipe do not wait for it.
        from trainer import data, evaluate, export, fit, lineage, network, progress, samples, tracking  # noqa: PLC0415
        from trainer.checkpoint import Checkpoint  # noqa: PLC0415

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
    checkpoint = Checkpoint(store.directory, recipe.digest + origin["data_hash"], resume=resume)

    with tracking.Run(os.environ.get("MLFLOW_TRACKING_URI"), recipe, origin) as run:
        # Not before: MLflow draws on Python's random numbers too.
        fit.make_repeatable(recipe.seed)
        model = network.build(recipe, shape, len(labels) or 1)
        if tabular:
            model = network.scaled(model, inputs, None if labels else training.targets)
        trained = network.augmented(model, recipe.augmentation, shape)
        with progress.epochs(recipe.fit.epochs) as show:
            examples = (inputs, training.targets), (watched_inputs, watched.targets)
            fit.fit(trained, recipe, *examples, on_epoch=(show, run.epoch), checkpoint=checkpoint)

        outputs = model.predict(heldout_inputs, verbose=0)
        figures = (
            evaluate.figures(outputs, heldout.targets, labels)
            if labels
            else evaluate.errors(outputs[:, 0], heldout.targets)
        )
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

        def write(directory: Path) -> None:
            export.write(directory, model, contract)
            if not tabular:
                samples.write(directory / "assets.extra" / "samples", heldout)
            export.verify(directory, model, heldout_inputs[:_VERIFIED])

        published = store.publish(write)
        run.published(published, contract.model_dump_json(indent=2))
    checkpoint.remove()
    name, figure = next(iter(figures.items()))
    print(f"{published} {name} {figure:.4f}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
