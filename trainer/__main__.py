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

_VERIFIED = 32  # held-out images that the export is tried on
_log = logging.getLogger(__package__)


def main(arguments: Sequence[str]) -> int:
    """Runs one training; the exit status."""
    logging.basicConfig(format="%(asctime)s %(name)s: %(message)s", datefmt="%H:%M:%S", level=logging.WARNING)
    _log.setLevel(logging.INFO)
    try:
        recipe, base = parse(arguments)
        store = ModelStore(base, recipe.name)
        store.check()
        _train(recipe, store)
    except TrainingError as error:
        _log.error("%s", error)
        return 1
    except KeyboardInterrupt:
        _log.error("interrupted, nothing is published")
        return 130
    return 0


def _train(recipe: Recipe, store: ModelStore) -> None:
    _log.info("loading TensorFlow")
    quiet.configure(os.environ)
    with quiet.native_stderr():
        # PLC0415: TensorFlow takes ten seconds to import; --help and a mistake in the recipe do not wait for it.
        from trainer import data, evaluate, export, fit, lineage, network, progress, samples, tracking  # noqa: PLC0415

    dataset = data.load(recipe.data.source, len(recipe.labels))
    training, heldout = data.split(dataset, recipe.data.holdout, recipe.seed)
    _log.info("%s: %d to train on, %d held out", dataset.source, len(training.labels), len(heldout.labels))
    pipeline = build(recipe.preprocessing)
    inputs, heldout_inputs = (data.tensors(pipeline, part.images) for part in (training, heldout))
    shape = inputs.shape[1:]
    origin = lineage.trace(recipe, dataset)

    with tracking.Run(os.environ.get("MLFLOW_TRACKING_URI"), recipe, origin) as run:
        # Not before: MLflow draws on Python's random numbers too.
        fit.make_repeatable(recipe.seed)
        model = network.build(recipe.network, shape, len(recipe.labels))
        trained = network.augmented(model, recipe.augmentation, shape)
        with progress.epochs(recipe.fit.epochs) as show:
            examples = (inputs, training.labels), (heldout_inputs, heldout.labels)
            fit.fit(trained, recipe.fit, *examples, on_epoch=(show, run.epoch))

        probabilities = model.predict(heldout_inputs, verbose=0)
        figures = evaluate.figures(probabilities, heldout.labels, recipe.labels)
        run.result(model, heldout_inputs[:_VERIFIED], figures)
        contract = Contract(
            name=recipe.name,
            input=InputSpec(name=network.INPUT, dtype="float32", shape=shape),
            preprocessing=recipe.preprocessing,
            golden=samples.golden(pipeline, heldout, recipe.seed),
            postprocessing=Postprocessing(task="classification", output=network.OUTPUT, labels=recipe.labels),
            reference=evaluate.reference(heldout_inputs, probabilities, recipe.labels),
            evaluation=figures,
            lineage={"run_id": run.id, **origin},
        )

        def write(directory: Path) -> None:
            export.write(directory, model, contract)
            samples.write(directory / "assets.extra" / "samples", heldout, recipe.labels)
            export.verify(directory, model, heldout_inputs[:_VERIFIED])

        published = store.publish(write)
        run.published(published, contract.model_dump_json(indent=2))
    print(f"{published} accuracy {figures['accuracy']:.4f}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
