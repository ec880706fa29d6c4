import dataclasses

import numpy as np
import pytest
from pydantic import ValidationError

from trainer import fit, search, trial
from trainer.errors import TrainingError

SPACE = {
    "fit.learning_rate": {"low": 0.001, "high": 0.1, "log": True},
    "network.hidden": {"choices": [[4], [8, 4]]},
    "fit.batch_size": {"low": 8, "high": 24, "step": 8},
}


class Run:
    """Notes the trials that a real one would record."""

    def __init__(self):
        self.trials = []

    def trial(self, number, settings, objective, values, ended):
        self.trials.append((number, settings, objective, list(values), ended))


class Pool:
    """In the place of processes: runs at once, here."""

    def __init__(self, workers, context, begin, arguments):
        begin(*arguments)

    def submit(self, call, *arguments):
        result = call(*arguments)
        return type("Done", (), {"result": staticmethod(lambda: result)})

    def shutdown(self, *, cancel_futures):
        pass


@pytest.fixture
def found(bars, recipe, monkeypatch):
    """Searches on the bars, without processes."""
    monkeypatch.setattr(search, "ProcessPoolExecutor", Pool)
    training = dataclasses.replace(bars, inputs=bars.inputs.astype(np.float32) / 255)

    def found(**settings):
        run = Run()
        wanted = {
            "space": SPACE,
            "objective": "log_loss",
            "direction": "minimize",
            "trials": 3,
            "parallel": 2,
        } | settings
        best = search.best(recipe(seed=3, fit={"epochs": 2}, search=wanted), training, run)
        return best, run

    return found


@pytest.fixture
def untrained(monkeypatch):
    """Epochs in which nothing is learned."""

    def fit_nothing(model, recipe, *_, on_epoch, checkpoint):
        for epoch in range(recipe.fit.epochs):
            for call in on_epoch:
                call(epoch + 1, {})

    monkeypatch.setattr(fit, "fit", fit_nothing)


def test_the_best_trial_wins(found):
    """Each has its settings and a value an epoch; those of the best are found, and one seed finds them again."""
    best, run = found()
    assert [number for number, *_ in run.trials] == [1, 2, 3]
    for _, settings, objective, values, ended in run.trials:
        assert set(settings) == set(SPACE)
        assert 0.001 <= settings["fit.learning_rate"] <= 0.1
        assert settings["network.hidden"] in ([4], [8, 4])
        assert settings["fit.batch_size"] in (8, 16, 24)
        assert (objective, len(values), ended) == ("log_loss", 2, "complete")
    assert best == min(run.trials, key=lambda each: each[3][-1])[1]
    again, same = found()
    assert (again, same.trials) == (best, run.trials)


@pytest.mark.usefixtures("untrained")
def test_a_figure_that_there_is_not_is_told(found):
    """With those that there are."""
    with pytest.raises(TrainingError, match=r"no figure is called 'acuracy'; there are accuracy, "):
        found(objective="acuracy")


@pytest.mark.usefixtures("untrained")
def test_a_trial_that_does_worse_is_pruned(found, monkeypatch):
    """It ends after the epoch in which it fell behind half of the others; what is pruned does not win."""
    values = iter([1.0, 1.0, 1.0] * 5 + [9.0])
    monkeypatch.setattr(trial._Judge, "objective", lambda _: next(values))
    _, run = found(trials=6, parallel=1)
    assert [(len(values), ended) for *_, values, ended in run.trials] == [(2, "complete")] * 5 + [(1, "pruned")]


@pytest.mark.usefixtures("untrained")
def test_settings_that_do_not_go_together_are_left(found, monkeypatch):
    """The reason is recorded; where no trial comes to an end, there is nothing to train with."""

    def fail(_):
        raise ValueError("no numbers")

    monkeypatch.setattr(trial._Judge, "objective", fail)
    with pytest.raises(TrainingError, match="no trial came to its end"):
        found(trials=2)


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({}, "at least 1 item"),
        ({"seed": {"low": 1, "high": 2}}, "should match pattern"),
        ({"fit.nosuch": {"low": 1, "high": 2}}, "search.space: fit.nosuch: 1: Extra inputs are not permitted"),
        (
            {"fit.epochs": {"low": 0, "high": 2}},
            "search.space: fit.epochs: 0: Input should be greater than or equal to 1",
        ),
        ({"fit.optimizer": {"choices": ["adam", "adma"]}}, "search.space: fit.optimizer: 'adma': "),
        ({"fit.learning_rate": {"low": 0.1, "high": 0.01}}, "expected `low` below `high`"),
        ({"fit.learning_rate": {"low": 0, "high": 0.01, "log": True}}, "with `log` above 0"),
    ],
)
def test_a_space_that_cannot_be_searched_is_refused(recipe, space, message):
    """Before anything is trained, by the setting's name."""
    with pytest.raises(ValidationError, match=message):
        recipe(search={"space": space, "objective": "accuracy", "direction": "maximize"})
