"""`python -m trainer.verification DIRECTORY ARRAYS`: whether an export does what its trainer says.

The last line on stdout says what is wrong; the exit status is then 1. A process of its own knows nothing but the files,
as the server that will load them.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from serving.contract import JSON_OUTPUT, SCHEMA_VERSION, SIGNATURE, VERSIONS_INPUT, Contract, ContractError
from serving.preprocessing import own_steps
from serving.wire import tensorflow_serving_pb2 as tfs
from serving.wire.codec import to_numpy
from trainer import graph_steps, warm_up

_TOLERANCE = 1e-5


class _Wrong(Exception):
    """What is wrong, in one line."""


def main(directory: Path, arrays: Path) -> int:
    """Verifies what is in `directory` with the `tensors` and `outputs` in the file `arrays`; the exit status."""
    try:
        _verify(directory, arrays)
    except (_Wrong, ContractError, OSError, ValueError, tf.errors.OpError) as error:
        print(" ".join(str(error).split()))
        return 1
    return 0


def _verify(directory: Path, arrays: Path) -> None:
    signatures = tf.saved_model.load(str(directory)).signatures
    answer = signatures[SIGNATURE](**{VERSIONS_INPUT: tf.constant([str(SCHEMA_VERSION)])})
    contract = Contract.parse(answer[JSON_OUTPUT].numpy()[0])
    contract.replay_golden(contract.pipeline(own_steps(contract.preprocessing)))

    def output(signature: str, rows: Any) -> NDArray[Any]:
        (name,) = signatures[signature].structured_input_signature[1]
        values: NDArray[Any] = signatures[signature](**{name: rows})[contract.postprocessing.output].numpy()
        return values

    with np.load(arrays) as given:
        _compare(output(contract.signature, tf.constant(given["tensors"])), given["outputs"], "the model's")
    for request in _warm_up_requests(directory):
        for tensor in request.inputs.values():
            output(request.model_spec.signature_name, tf.constant(to_numpy(tensor)))
    if graph_steps.BYTES_SIGNATURE in signatures:
        preprocess = graph_steps.build(contract.preprocessing, contract.input.shape, contract.input.dtype)
        graph_steps.replay_golden(contract, preprocess)
        encoded = tf.constant([golden.encoded for golden in contract.golden], tf.string)
        made = output(graph_steps.BYTES_SIGNATURE, encoded)
        _compare(
            made, output(contract.signature, preprocess(encoded)), f"{graph_steps.BYTES_SIGNATURE}: that for tensors"
        )


def _compare(output: NDArray[Any], expected: NDArray[Any], whose: str) -> None:
    difference = np.abs(output - expected).max(initial=0.0)
    # Written so that a NaN is a difference too.
    if not difference <= _TOLERANCE * max(1.0, np.abs(expected).max(initial=0.0)):
        raise _Wrong(f"its output differs from {whose} by {difference:.3g}")


def _warm_up_requests(directory: Path) -> list[Any]:
    records = tf.data.TFRecordDataset(str(directory / warm_up.FILE)).as_numpy_iterator()
    return [tfs.PredictionLog.FromString(record).predict_log.request for record in records]


if __name__ == "__main__":
    sys.exit(main(*map(Path, sys.argv[1:])))
