"""`python -m trainer`: from the command line to a published model."""

import logging
import os
import sys
from collections.abc import Sequence

from trainer import quiet
from trainer.errors import TrainingError
from trainer.recipe import Recipe, parse
from trainer.store import ModelStore

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
        from trainer.training import train  # noqa: PLC0415

    published, figures = train(recipe, store, os.environ.get("MLFLOW_TRACKING_URI"), resume=resume)
    name, figure = next(iter(figures.items()))
    print(f"{published.location} {name} {figure:.4f}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
