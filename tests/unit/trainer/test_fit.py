import random

import keras
import numpy as np
import pytest

from trainer import fit, network
from trainer.checkpoint import Checkpoint
from trainer.errors import TrainingError
from trainer.recipe import Network


def other(recipe):
    """A recipe for a wider network."""
    return recipe.model_copy(update={"network": Network(hidden=(17,))})


MIXED = {"batch_size": [{"epochs": 2, "batch_size": 30}, {"batch_size": 7}]}


class Killed(Exception):
    """Ends a training in the middle."""


@pytest.fixture
def train(bars, recipe, tmp_path):
    """Trains a network on the bars; its probabilities for them. Training is with dropout and augmentation."""

    def train(on_epoch=lambda *_: None, *, resume=False, **settings):
        fit.make_repeatable(3)
        inputs = bars.inputs.astype(np.float32) / 255
        wanted = recipe(
            seed=3,
            network={"hidden": (16,)},
            augmentation={"translation": 0.02},
            fit={"epochs": 3, "batch_size": 16, "learning_rate": 0.01} | settings,
        )
        model = network.build(wanted, (28, 28), 3)
        augmented = network.augmented(model, wanted.augmentation, (28, 28))
        examples = (inputs, bars.targets)
        checkpoint = Checkpoint(tmp_path, wanted.digest, resume=resume)
        fit.fit(augmented, wanted, examples, examples, on_epoch=[on_epoch], checkpoint=checkpoint)
        return model.predict(inputs, verbose=0)

    return train


def test_the_network_learns(train, bars):
    """After a few epochs the network tells the classes apart."""
    assert (train().argmax(axis=1) == bars.targets).mean() > 0.9


def test_every_epoch_is_reported(train):
    """Epochs are counted from 1, each with its figures on training and held-out images."""
    reports = []
    train(lambda *report: reports.append(report))
    assert [number for number, _ in reports] == [1, 2, 3]
    assert set(reports[0][1]) == {"train_loss", "train_accuracy", "heldout_loss", "heldout_accuracy"}


def test_one_seed_gives_one_model(train):
    """Two runs agree to the last bit, dropout and augmentation included, whatever draws random numbers meanwhile."""
    again = train(lambda *_: (random.random(), np.random.random()))  # noqa: NPY002 - the state that is shared
    assert np.array_equal(again, train())


@pytest.mark.parametrize(
    "settings", [{}, {"patience": 2, "epochs": 6}, {"optimizer": "momentum", "schedule": "step"}, MIXED]
)
def test_a_killed_run_is_resumed_where_it_was(train, settings):
    """What is left of a run that was killed in its third epoch ends, to the last bit, where the whole one does."""

    def kill(number, _):
        if number == 3:
            raise Killed

    whole = train(**settings)
    with pytest.raises(Killed):
        train(kill, **settings)
    numbers = []
    resumed = train(lambda number, _: numbers.append(number), resume=True, **settings)
    assert numbers[0] == 3
    assert np.array_equal(resumed, whole)


def test_another_networks_checkpoint_is_refused(train, monkeypatch):
    """A network whose code changed since the run was killed does not take its weights."""
    train()
    build = network.build
    monkeypatch.setattr(network, "build", lambda recipe, *rest: build(other(recipe), *rest))
    with pytest.raises(TrainingError, match="of another network"):
        train(resume=True)


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam", "adamw"])
@pytest.mark.parametrize("schedule", ["constant", "cosine", "step"])
def test_optimisers_and_schedules(recipe, optimizer, schedule):
    """Each optimiser is Keras's own, at the learning rate that the schedule gives for the step."""
    settings = recipe(
        fit={
            "optimizer": optimizer,
            "schedule": schedule,
            "epochs": 4,
            "step_epochs": 2,
            "learning_rate": 0.1,
            "batch_size": 6,
        }
    ).fit
    made = fit._optimizer(settings, examples=60)
    assert type(made).__name__.lower() == {"momentum": "sgd"}.get(optimizer, optimizer)
    assert getattr(made, "momentum", 0) == (0.9 if optimizer == "momentum" else 0)
    made.iterations.assign(20)
    expected = {"constant": 0.1, "cosine": 0.05, "step": 0.01}[schedule]
    assert float(made.learning_rate) == pytest.approx(expected)


def test_batches_of_several_sizes(train, monkeypatch):
    """Each epoch has the size that the recipe gives it; the last stays to the end."""
    sizes = []
    real = keras.Model.fit
    monkeypatch.setattr(
        keras.Model,
        "fit",
        lambda model, *data, **options: sizes.append(options["batch_size"]) or real(model, *data, **options),
    )
    train(**MIXED, epochs=5)
    assert sizes == [30, 30, 7, 7, 7]


@pytest.mark.parametrize(("step", "rate"), [(0, 0.1), (9, 0.1), (10, 0.01), (69, 0.01), (70, 0.001), (1000, 0.001)])
def test_the_rate_steps_down_between_epochs(recipe, step, rate):
    """Whatever the sizes of their batches: epochs of 5, 5, 30, 30, 30 steps, and a step down after every two."""
    sizes = [{"epochs": 2, "batch_size": 12}, {"batch_size": 2}]
    made = fit._optimizer(
        recipe(fit={"schedule": "step", "epochs": 5, "step_epochs": 2, "learning_rate": 0.1, "batch_size": sizes}).fit,
        examples=60,
    )
    made.iterations.assign(step)
    assert float(made.learning_rate) == pytest.approx(rate)


def test_patience_ends_training_and_keeps_the_best(train):
    """A rate at which the loss only rises ends after as many epochs as patience lasts; the best weights are kept."""
    losses = {}

    def note(number, figures):
        assert set(figures) == {"train_loss", "train_accuracy", "validation_loss", "validation_accuracy"}
        losses[number] = figures["validation_loss"]

    kept = train(note, epochs=50, patience=2, optimizer="sgd", learning_rate=5.0, schedule="constant")
    best = min(losses, key=losses.get)
    assert max(losses) == best + 2 < 50
    truth = np.arange(60) % 3
    assert keras.losses.sparse_categorical_crossentropy(truth, kept).numpy().mean() == pytest.approx(
        losses[best], rel=1e-4
    )


def test_balanced_classes_weigh_the_same():
    """A class of one weighs as much as a class of three, and an example 1 on average."""
    weights = fit._balanced(np.array([0, 0, 0, 1]))
    assert weights == {0: pytest.approx(2 / 3), 1: pytest.approx(2)}


def test_class_weights_reach_the_loss(train, monkeypatch):
    """A network to which one class alone matters knows no other."""
    monkeypatch.setattr(fit, "_balanced", lambda _: {0: 0.0, 1: 1.0, 2: 0.0})
    assert set(train(class_weights="balanced").argmax(axis=1)) == {1}


def test_a_regressions_loss_is_a_share_of_the_variance(recipe, tmp_path):
    """Predicting the mean is a loss of 1, in whatever unit; learning brings it near 0."""
    rng = np.random.default_rng(0)
    rows = rng.normal(50, 10, (200, 2)).astype(np.float32)
    values = 1000 * rows[:, 0] + 500 * rows[:, 1]
    wanted = recipe(
        task="regression",
        preprocessing=(),
        data={"source": "diabetes"},
        network={"hidden": (), "dropout": 0.0},
        fit={"epochs": 20, "batch_size": 20, "learning_rate": 0.2},
    )
    fit.make_repeatable(0)
    model = network.scaled(network.build(wanted, (2,), 1), rows, values)
    reports = []
    examples = (rows, values)
    checkpoint = Checkpoint(tmp_path, "", resume=False)
    on_epoch = [lambda *report: reports.append(report)]
    fit.fit(model, wanted, examples, examples, on_epoch=on_epoch, checkpoint=checkpoint)
    assert set(reports[-1][1]) == {"train_loss", "heldout_loss"}
    assert reports[-1][1]["heldout_loss"] < 0.01
    error = np.mean((model.predict(rows, verbose=0)[:, 0] - values) ** 2) / values.var()
    assert error == pytest.approx(reports[-1][1]["heldout_loss"], rel=0.01)
