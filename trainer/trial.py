"""One trial of a search, in a process that has the examples and waits for settings."""

import math
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial

from serving.native_stderr import native_stderr_dropped
from trainer import evaluate, quiet
from trainer.checkpoint import Checkpoint
from trainer.data import Dataset
from trainer.errors import TrainingError
from trainer.recipe import Recipe, Search

# ruff: noqa: PLC0415 - what loads TensorFlow is imported where its noise can be kept out of the log
_given: tuple[Recipe, Dataset, Dataset]


@dataclass(frozen=True)
class Outcome:
    """How a trial went."""

    values: Sequence[float]
    """Of the objective, after each epoch."""
    value: float | None
    """At the end; None where there was none."""
    ended: str
    """"complete", "pruned", or what went wrong."""


def begin(recipe: Recipe, training: Dataset, judging: Dataset) -> None:
    """Makes this process ready for trials of `recipe` with other settings."""
    global _given  # noqa: PLW0603 - the process is a worker, this is what it has
    quiet.configure(os.environ)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with native_stderr_dropped():
        from trainer import fit  # noqa: F401
    _given = recipe, training, judging


def run(settings: Mapping[str, Any], finished: Sequence[FrozenTrial]) -> Outcome:
    """Trains with `settings`, by dotted name; pruned if it does worse than the `finished` trials did.

    TrainingError if there is no such figure as the search's objective.
    """
    from trainer import fit, network

    given, training, judging = _given
    search = given.search
    assert search
    pruner = optuna.pruners.MedianPruner() if search.pruner == "median" else optuna.pruners.NopPruner()
    study = optuna.create_study(direction=search.direction, pruner=pruner)
    study.add_trials(finished)
    values: list[float] = []
    try:
        recipe = given.overridden(settings)
        fit.make_repeatable(recipe.seed)
        model, trained = network.prepared(recipe, training.inputs, training.targets, len(training.labels))
        judge = _Judge(model, judging, search, study.ask(), values)
        with tempfile.TemporaryDirectory() as scratch:
            checkpoint = Checkpoint(Path(scratch), "", resume=False)
            examples = (training.inputs, training.targets), (judging.inputs, judging.targets)
            fit.fit(trained, recipe, *examples, on_epoch=[judge], checkpoint=checkpoint)
        value = judge.objective()
    except optuna.TrialPruned:
        return Outcome(values, values[-1], "pruned")
    except _NoSuchFigureError as error:
        raise TrainingError(str(error)) from error
    except (TrainingError, ValueError) as error:
        # Settings that do not go together, or outputs that are no numbers: others may do better.
        return Outcome(values, None, " ".join(str(error).split()))
    return Outcome(values, value, "complete") if math.isfinite(value) else Outcome(values, None, f"{value}")


class _NoSuchFigureError(Exception):
    pass


class _Judge:
    """Looks at the model after each epoch, and ends a trial that leads nowhere."""

    def __init__(self, model: Any, judging: Dataset, search: Search, trial: optuna.Trial, values: list[float]) -> None:
        self._model, self._judging, self._search, self._trial, self._values = model, judging, search, trial, values

    def __call__(self, epoch: int, _: Mapping[str, float]) -> None:
        self._values.append(self.objective())
        self._trial.report(self._values[-1], epoch)
        if self._trial.should_prune():
            raise optuna.TrialPruned

    def objective(self) -> float:
        """The figure that decides."""
        outputs = self._model.predict(self._judging.inputs, verbose=0)
        figures, name = evaluate.quality(outputs, self._judging.targets, self._judging.labels), self._search.objective
        if name not in figures:
            raise _NoSuchFigureError(f"search.objective: no figure is called {name!r}; there are {', '.join(figures)}")
        return figures[name]
