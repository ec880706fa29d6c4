"""Warm-up: the requests that a SavedModel brings along are replayed before it serves.

Source: tensorflow_serving/servables/tensorflow/saved_model_warmup_util.cc. The file is a TFRecord of PredictionLog.
"""

import logging
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError
from grpc import StatusCode

from serving.embedded import inference
from serving.embedded.errors import ModelError
from serving.embedded.servable import Inference, Servable, complete
from serving.wire import tensorflow_serving_pb2 as tfs
from serving.wire.errors import InvalidArgument

logger = logging.getLogger(__name__)

MAX_RECORDS = 1000
_FILE = Path("assets.extra/tf_serving_warmup_requests")
# The version's number is of no account: nobody reads the answers.
_METHODS: dict[str, Callable[[Servable, int, Any], Inference[Any]]] = {
    "predict_log": partial(inference.predict, typed=True),
    "classify_log": inference.classify,
    "regress_log": inference.regress,
    "multi_inference_log": inference.infer,
}


def load_warm(
    directory: Path, load: Callable[[Path], Servable], records: Callable[[Path], Iterable[bytes]]
) -> Servable:
    """What `load` makes of `directory`, after its warm-up requests, if it has any, were answered.

    `records` reads a TFRecord file. Raises the ServingError of the load or of the request that failed.
    """
    servable = load(directory)
    try:
        file = directory / _FILE
        if file.is_file():
            count = _replay(servable, file, records(file))
            logger.info("%s answered %d warm-up requests", directory, count)
    except BaseException:
        servable.close()
        raise
    return servable


def _replay(servable: Servable, file: Path, records: Iterable[bytes]) -> int:
    count = 0
    for count, record in enumerate(records, 1):
        if count > MAX_RECORDS:
            raise InvalidArgument(f"Number of warmup records exceeds the maximum ({MAX_RECORDS}) at {file}")
        try:
            log = tfs.PredictionLog.FromString(record)
        except DecodeError as error:
            raise InvalidArgument(f"Failed to parse warmup record: {record!r} from {file}") from error
        kind = log.WhichOneof("log_type")
        if not kind:
            raise ModelError(StatusCode.UNIMPLEMENTED, f"Unsupported log_type for warmup in record {count} of {file}")
        complete(_METHODS[kind](servable, 0, getattr(log, kind).request))
    return count
