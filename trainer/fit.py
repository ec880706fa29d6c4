"""Fits the network to the training examples."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from trainer.checkpoint import Checkpoint
from trainer.errors import TrainingError
from trainer.recipe import Fit, Recipe

# Inputs, and class numbers (int64) or values (float32).
Examples = tuple[NDArray[np.float32], NDArray[Any]]
# Takes the number of epochs done and their figures by name.
OnEpoch = Callable[[int, Mapping[str, float]], None]


def make_repeatable(seed: int) -> None:
    """Seeds everything random, and has TensorFlow compute in a fixed order. Before the network is built."""
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()


def fit(
    model: Any,
    recipe: Recipe,
    training: Examples,
    watched: Examples,
    *,
    on_epoch: Sequence[OnEpoch],
    checkpoint: Checkpoint,
) -> None:
    """Trains a Keras model as `recipe.fit` says, from where `checkpoint` is, and saves to it after every epoch.

    Each of `on_epoch` gets train_loss (with dropout and augmentation on) and heldout_loss, or validation_loss where it
    decides when to stop, and the accuracies of a classification. A regression's loss is the squared error as a share of
    the targets' variance.
    """
    settings, (inputs, targets) = recipe.fit, training
    watching = "heldout" if settings.patience is None else "validation"
    regression = recipe.task == "regression"
    model.compile(
        optimizer=_optimizer(settings, len(targets)),
        loss="mse" if regression else "sparse_categorical_crossentropy",
        loss_weights=1 / float(np.var(targets)) if regression else None,
        metrics=None if regression else ["accuracy"],
    )
    weights = _balanced(targets) if settings.class_weights == "balanced" else None
    progress = _Progress(model, settings.patience)
    progress.restore(checkpoint.load())
    # One call an epoch, each with an order of its own: the random state of Keras's shuffling cannot be saved.
    while progress.epochs < settings.epochs and not progress.stuck:
        order = np.random.default_rng((recipe.seed, progress.epochs)).permutation(len(targets))
        history = model.fit(
            inputs[order],
            targets[order],
            batch_size=settings.batch_sizes[progress.epochs],
            shuffle=False,
            validation_data=watched,
            class_weight=weights,
            verbose=0,
        ).history
        progress.advance(history["val_loss"][0])
        figures = {
            f"{watching}_{name.removeprefix('val_')}" if name.startswith("val_") else f"train_{name}": values[0]
            for name, values in history.items()
        }
        for call in on_epoch:
            call(progress.epochs, figures)
        checkpoint.save(progress.state())
    if progress.best is not None:
        model.set_weights(progress.best)


class _Progress:
    """How far training is: all that an epoch changes, and with patience the best epoch's weights.

    Keras's own callbacks for this begin anew when training is resumed.
    """

    def __init__(self, model: Any, patience: int | None) -> None:
        model.optimizer.build(model.trainable_variables)
        # Those of the model hold the state of dropout's and augmentation's random numbers too.
        self._variables = [*model.variables, *model.optimizer.variables]
        self._model, self._patience = model, patience
        self.epochs = 0
        self.best: list[NDArray[Any]] | None = None
        self._best_loss, self._best_epoch = float("inf"), 0

    @property
    def stuck(self) -> bool:
        """Whether the loss has not fallen for as many epochs as patience lasts."""
        return self._patience is not None and self.epochs - self._best_epoch >= self._patience

    def advance(self, loss: float) -> None:
        """Takes note of one more epoch and its loss."""
        self.epochs += 1
        if self._patience is not None and loss < self._best_loss:
            self.best, self._best_loss, self._best_epoch = self._model.get_weights(), loss, self.epochs

    def state(self) -> dict[str, NDArray[Any]]:
        """Everything, by name."""
        return {
            "progress": np.array([self.epochs, self._best_loss, self._best_epoch]),
            **{f"variable-{place}": variable.numpy() for place, variable in enumerate(self._variables)},
            **{f"best-{place}": array for place, array in enumerate(self.best or [])},
        }

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Goes to where `state` was made; an empty one changes nothing. TrainingError if it is of another network."""
        if not state:
            return
        epochs, self._best_loss, best_epoch = state["progress"].tolist()
        self.epochs, self._best_epoch = int(epochs), int(best_epoch)
        try:
            for place, variable in enumerate(self._variables):
                variable.assign(state[f"variable-{place}"])
        except (KeyError, ValueError) as error:
            raise TrainingError("the checkpoint is of another network: train without --resume") from error
        if self._best_epoch:
            self.best = [state[f"best-{place}"] for place in range(len(self._model.weights))]


def _optimizer(settings: Fit, examples: int) -> Any:
    """The optimiser, for epochs of as many `examples`."""
    rate: Any = settings.learning_rate
    schedules = keras.optimizers.schedules
    # Steps that are done at the end of each epoch.
    steps = np.cumsum([-(-examples // size) for size in settings.batch_sizes])
    if settings.schedule == "cosine":
        rate = schedules.CosineDecay(rate, int(steps[-1]))
    elif settings.schedule == "step":
        ends = steps[settings.step_epochs - 1 : -1 : settings.step_epochs]
        rates = [rate * settings.step_factor**number for number in range(len(ends) + 1)]
        # Steps are counted from 0: the last of an epoch has the number before.
        rate = schedules.PiecewiseConstantDecay([int(end) - 1 for end in ends], rates) if len(ends) else rate
    match settings.optimizer:
        case "sgd":
            return keras.optimizers.SGD(rate)
        case "momentum":
            return keras.optimizers.SGD(rate, momentum=settings.momentum, nesterov=True)
        case "adamw":
            return keras.optimizers.AdamW(rate, weight_decay=settings.weight_decay)
        case _:
            return keras.optimizers.Adam(rate)


def _balanced(classes: NDArray[Any]) -> dict[int, float]:
    """Weights by class number under which every class weighs the same, and an example 1 on average."""
    counts = np.bincount(classes)
    return dict(enumerate((len(classes) / (len(counts) * counts)).tolist()))
