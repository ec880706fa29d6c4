"""A model that was exported, asked again: about other examples, as its own contract wants them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from serving.contract import JSON_OUTPUT, SCHEMA_VERSION, SIGNATURE, VERSIONS_INPUT, Contract, ContractError
from serving.preprocessing import own_steps
from serving.reference import of_inputs
from trainer import data
from trainer.data import Dataset
from trainer.errors import TrainingError

_BATCH = 256


class Published:
    """The SavedModel in `directory`; TrainingError if it cannot be loaded or carries no contract."""

    def __init__(self, directory: Path) -> None:
        try:
            self._signatures = tf.saved_model.load(str(directory)).signatures
            answer = self._signatures[SIGNATURE](**{VERSIONS_INPUT: tf.constant([str(SCHEMA_VERSION)])})
            self.contract = Contract.parse(answer[JSON_OUTPUT].numpy()[0])
        except (OSError, ValueError, KeyError, tf.errors.OpError, ContractError) as error:
            reason = " ".join(str(error).split())
            raise TrainingError(f"{directory} holds no model that this trainer exported: {reason}") from error

    @property
    def _features(self) -> tuple[str, ...]:
        """Of a table the columns, in the order of the input."""
        return tuple(self.contract.reference.inputs) if self.contract.reference else ()

    def tensors(self, examples: Dataset) -> NDArray[np.float32]:
        """What the model takes, (n, *shape), of examples; TrainingError if they are of another kind than its own."""
        contract = self.contract
        if not contract.preprocessing:
            return _numbers(examples, self._features)
        # Who loads a SavedModel trusts it: it is a program itself.
        pipeline = contract.pipeline(own_steps(contract.preprocessing))
        if examples.columns and pipeline.accepts_images:
            raise TrainingError("it takes images, the examples are rows of a table")
        return data.tensors(pipeline, examples)

    def predict(self, examples: Dataset) -> tuple[NDArray[np.float32], tuple[str, ...]]:
        """Its outputs, (n, classes) or (n, 1), and the classes: those of `examples`, then others that only it knows.

        A class that it does not know has the probability 0. TrainingError if it predicts what the examples have not.
        """
        known = self.contract.postprocessing.labels
        if bool(known) != bool(examples.labels):
            raise TrainingError(f"its task is {self.contract.postprocessing.task}, that of the examples is not")
        serve, spec = self._signatures[self.contract.signature], self.contract.input
        tensors = self.tensors(examples)
        outputs = np.concatenate(
            [
                serve(**{spec.name: tf.constant(tensors[start : start + _BATCH])})[
                    self.contract.postprocessing.output
                ].numpy()
                for start in range(0, len(tensors), _BATCH)
            ]
        )
        labels = (*examples.labels, *(label for label in known if label not in examples.labels))
        if known == labels:
            return outputs, labels
        aligned = np.zeros((len(outputs), len(labels)), np.float32)
        aligned[:, [labels.index(label) for label in known]] = outputs
        return aligned, labels

    def features(self, examples: Dataset) -> Mapping[str, NDArray[Any]]:
        """What its reference counts of inputs, (n,) each, of `examples`."""
        return of_inputs(self.contract, self.tensors(examples))


def _numbers(examples: Dataset, names: tuple[str, ...]) -> NDArray[np.float32]:
    """The columns called `names`, in that order, for a model of numbers that does not preprocess them."""
    if not names:
        raise TrainingError("it takes numbers, and does not say which")
    try:
        numbers = np.array([list(row.values()) for row in examples.rows(names)], np.float32)
    except ValueError as error:
        raise TrainingError(f"it takes numbers alone: {error}") from error
    if not np.isfinite(numbers).all():
        raise TrainingError("it takes rows without gaps alone")
    return numbers
