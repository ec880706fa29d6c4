"""The requests that TensorFlow Serving answers before it serves a version, so that no caller waits for a first time."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from serving.wire import tensorflow_serving_pb2 as tfs
from serving.wire.codec import fill_proto

FILE = Path("assets.extra", "tf_serving_warmup_requests")
"""Inside a version: a TFRecord file of PredictionLog."""
_BATCHES = (1, 8, 32)


def write(directory: Path, model: str, inputs: Mapping[str, tuple[str, NDArray[Any]]]) -> None:
    """Writes requests to `model`, the version in `directory`: of each signature one for each of a few batch sizes.

    `inputs` has the name of each signature's one input, and rows for it, which are repeated as needed.
    """
    path = directory / FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as file:
        for signature, (name, rows) in inputs.items():
            for size in _BATCHES:
                log = tfs.PredictionLog()
                request = log.predict_log.request
                request.model_spec.name, request.model_spec.signature_name = model, signature
                fill_proto(request.inputs[name], rows[np.arange(size) % len(rows)])
                file.write(log.SerializeToString())
