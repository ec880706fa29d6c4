"""The SavedModel: the network for inference, and the contract as one more signature."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from serving.contract import JSON_OUTPUT, SCHEMA_VERSION, SIGNATURE, VERSIONS_INPUT, Contract, ContractError
from trainer.errors import TrainingError

_TOLERANCE = 1e-5


def write(directory: Path, model: Any, contract: Contract) -> None:
    """Writes a SavedModel of a Keras model whose one input and one output are those that `contract` names.

    The signature `contract` takes the contract versions that the caller reads and answers each, in order, with the
    contract's JSON or, if it is of another version, with an empty string.
    """
    text = contract.model_dump_json()
    spec = contract.input

    def serve(tensor: Any) -> dict[str | None, Any]:
        return {contract.postprocessing.output: model(tensor, training=False)}

    def describe(versions: Any) -> dict[str, Any]:
        return {JSON_OUTPUT: tf.where(tf.equal(versions, str(SCHEMA_VERSION)), text, "")}

    archive = keras.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint(contract.signature, serve, [tf.TensorSpec((None, *spec.shape), spec.dtype, spec.name)])
    archive.add_endpoint(SIGNATURE, describe, [tf.TensorSpec((None,), tf.string, VERSIONS_INPUT)])
    archive.write_out(str(directory), verbose=False)


def verify(directory: Path, model: Any, tensors: NDArray[np.float32]) -> None:
    """Loads what `write` wrote as a server would; TrainingError if it computes or says anything else than it should.

    Its output for `tensors` must be the model's own, and its contract's golden vectors must hold.
    """
    signatures = tf.saved_model.load(str(directory)).signatures
    answer = signatures[SIGNATURE](**{VERSIONS_INPUT: tf.constant([str(SCHEMA_VERSION)])})
    try:
        contract = Contract.parse(answer[JSON_OUTPUT].numpy()[0])
        contract.replay_golden(contract.pipeline())
    except ContractError as error:
        raise TrainingError(f"the export does not keep its contract: {error}") from error
    output = signatures[contract.signature](**{contract.input.name: tf.constant(tensors)})
    expected = model(tensors, training=False).numpy()
    difference = np.abs(output[contract.postprocessing.output].numpy() - expected).max()
    # Written so that a NaN is a difference too.
    if not difference <= _TOLERANCE * max(1.0, np.abs(expected).max()):
        raise TrainingError(f"the export's output differs from the model's by {difference:.3g}")
