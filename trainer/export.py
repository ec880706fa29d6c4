"""The SavedModel: the network for inference, the same behind its preprocessing, and the contract, as signatures."""

import logging
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from serving.contract import JSON_OUTPUT, SCHEMA_VERSION, SIGNATURE, VERSIONS_INPUT, Contract, ContractError
from trainer import graph_steps, table_steps, warm_up
from trainer.errors import TrainingError
from trainer.graph_steps import BYTES_INPUT, BYTES_SIGNATURE

_VERIFIER = "trainer.verification"
_VERIFIER_SECONDS = 600.0
_log = logging.getLogger(__package__)


def write(directory: Path, model: Any, contract: Contract, tensors: NDArray[np.float32]) -> None:
    """Writes a SavedModel of a Keras model whose one input and one output are those that `contract` names.

    The signature `contract` takes the contract versions that the caller reads and answers each, in order, with the
    contract's JSON or, if it is of another version, with an empty string. `serving_bytes`, for a model of images, takes
    encoded ones, which it preprocesses itself; it is left out where TensorFlow has no operations for a step, or they do
    not reproduce the golden vectors. `tensors`, (n, *shape of one), go into the warm-up requests. OSError if the files
    cannot be written.
    """
    # Without what it does not have: gateways that do not know such a field would refuse it.
    text = contract.model_dump_json(exclude_none=True)
    spec = contract.input
    preprocess = _in_graph(contract)

    def serve(tensor: Any) -> dict[str | None, Any]:
        return {contract.postprocessing.output: model(tensor, training=False)}

    def describe(versions: Any) -> dict[str, Any]:
        return {JSON_OUTPUT: tf.where(tf.equal(versions, str(SCHEMA_VERSION)), text, "")}

    archive = keras.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint(contract.signature, serve, [tf.TensorSpec((None, *spec.shape), spec.dtype, spec.name)])
    archive.add_endpoint(SIGNATURE, describe, [tf.TensorSpec((None,), tf.string, VERSIONS_INPUT)])
    if preprocess:
        archive.add_endpoint(
            BYTES_SIGNATURE,
            lambda encoded: serve(preprocess(encoded)),
            [tf.TensorSpec((None,), tf.string, BYTES_INPUT)],
        )
    inputs: dict[str, tuple[str, NDArray[Any]]] = {contract.signature: (spec.name, tensors)}
    if preprocess and contract.golden:
        encoded = np.array([golden.encoded for golden in contract.golden], object)
        inputs[BYTES_SIGNATURE] = (BYTES_INPUT, encoded)
    try:
        archive.write_out(str(directory), verbose=False)
        warm_up.write(directory, contract.name, inputs)
    except tf.errors.OpError as error:
        # Before the braces stands where in TensorFlow it came about.
        raise OSError(error.message.rpartition("}} ")[2]) from error


def _in_graph(contract: Contract) -> Callable[[Any], Any] | None:
    """The contract's preprocessing as TensorFlow operations, if it has any and they keep the contract."""
    if not contract.preprocessing:
        return None
    if table_steps.is_of_table(contract.preprocessing):
        _log.info("exported for tensors alone: rows of a table are preprocessed by the gateway")
        return None
    try:
        preprocess = graph_steps.build(contract.preprocessing, contract.input.shape, contract.input.dtype)
        graph_steps.replay_golden(contract, preprocess)
    except (graph_steps.NoCounterpartError, ContractError) as error:
        _log.warning("exported without the signature %s: %s", BYTES_SIGNATURE, error)
        return None
    return preprocess


def verify(directory: Path, model: Any, tensors: NDArray[np.float32]) -> None:
    """Has a process of its own load what `write` wrote, as a server would; TrainingError says what is wrong with it.

    Its output for `tensors` must be the model's own, its contract's golden vectors must hold, with and without
    TensorFlow's operations, and its warm-up requests be answered.
    """
    with tempfile.TemporaryDirectory() as scratch:
        arrays = Path(scratch, "arrays.npz")
        np.savez(arrays, tensors=tensors, outputs=model(tensors, training=False).numpy())
        root = str(Path(__file__).parents[1])
        # Without Keras it loads in half of the time; a model that needed it could not be served.
        environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_USE_LEGACY_KERAS": "1"}
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
        try:
            ended = subprocess.run(  # noqa: S603 - our own module
                [sys.executable, "-m", _VERIFIER, str(directory), str(arrays)],
                env=environment,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=_VERIFIER_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise TrainingError(f"the export was not verified within {_VERIFIER_SECONDS:.0f} s") from error
    if ended.returncode:
        said = (ended.stdout or ended.stderr).strip().splitlines() or [f"it ended with status {ended.returncode}"]
        raise TrainingError(f"the export cannot be served: {said[-1]}")
