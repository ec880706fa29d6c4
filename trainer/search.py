"""The search for better settings: trials, each in a process of its own, of what Optuna suggests."""

import json
import logging
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState

from trainer import data, trial
from trainer.data import Dataset
from trainer.errors import TrainingError
from trainer.recipe import Choices, Range, Recipe, Search
from trainer.tracking import Run

_log = logging.getLogger(__package__)


def best(recipe: Recipe, training: Dataset, run: Run) -> dict[str, Any]:
    """The settings of the best trial of `recipe.search`, by dotted name; each trial is recorded within `run`.

    `training` has the network's inputs; a part of it judges. One seed gives the same trials: they are suggested
    `parallel` at a time, and none hears of another of its round. TrainingError if no trial comes to its end.
    """
    settings = recipe.search
    assert settings
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    parts = data.split(training, settings.validation, recipe.seed)
    space = {name: _distribution(values) for name, values in settings.space.items()}
    study = optuna.create_study(direction=settings.direction, sampler=optuna.samplers.TPESampler(seed=recipe.seed))
    # Spawned: TensorFlow does not live through a fork.
    pool = ProcessPoolExecutor(settings.parallel, get_context("spawn"), trial.begin, (recipe, *parts))
    try:
        while len(study.trials) < settings.trials:
            finished = study.get_trials(states=(TrialState.COMPLETE,))
            count = min(settings.parallel, settings.trials - len(study.trials))
            asked = [study.ask(space) for _ in range(count)]
            tried = [(each, pool.submit(trial.run, _settings(each.params, settings), finished)) for each in asked]
            for each, future in tried:
                _tell(study, each, future.result(), settings, run)
    except BrokenProcessPool as error:
        raise TrainingError("search: a trial's process was killed; is there memory for `search.parallel`?") from error
    finally:
        pool.shutdown(cancel_futures=True)
    if not study.get_trials(states=(TrialState.COMPLETE,)):
        raise TrainingError("search: no trial came to its end")
    found = _settings(study.best_params, settings)
    _log.info("search: %s %.4f with %s", settings.objective, study.best_value, _listed(found))
    return found


def _tell(study: optuna.Study, each: optuna.Trial, outcome: trial.Outcome, settings: Search, run: Run) -> None:
    for epoch, value in enumerate(outcome.values, 1):
        each.report(value, epoch)
    state = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED}.get(outcome.ended, TrialState.FAIL)
    study.tell(each, outcome.value if state is TrialState.COMPLETE else None, state)
    tried, number = _settings(each.params, settings), each.number + 1
    run.trial(number, tried, settings.objective, outcome.values, outcome.ended)
    result = outcome.ended if outcome.value is None else f"{settings.objective} {outcome.value:.4f}"
    pruned = ", pruned" if state is TrialState.PRUNED else ""
    _log.info("trial %d/%d: %s%s, with %s", number, settings.trials, result, pruned, _listed(tried))


def _distribution(values: Range | Choices) -> BaseDistribution:
    if isinstance(values, Choices):
        # Optuna's choices are plain values; those of a recipe may be lists.
        return CategoricalDistribution([json.dumps(value) for value in values.choices])
    if isinstance(values.low, int) and isinstance(values.high, int):
        return IntDistribution(values.low, values.high, log=values.log, step=int(values.step or 1))
    return FloatDistribution(values.low, values.high, log=values.log, step=values.step)


def _settings(parameters: Mapping[str, Any], settings: Search) -> dict[str, Any]:
    return {
        name: json.loads(value) if isinstance(settings.space[name], Choices) else value
        for name, value in parameters.items()
    }


def _listed(settings: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{name} {f'{value:.4g}' if isinstance(value, float) else value}" for name, value in settings.items()
    )
