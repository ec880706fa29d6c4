"""Warm-up: the requests that a SavedModel brings along are replayed before it serves.

Source: tensorflow_serving/servables/tensorflow/saved_model_warmup_util.cc. The file is a TFRecord of PredictionLog.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError
from grpc import StatusCode

from serving.embedded import inference
from serving.embedded.batching.batcher import row_count
from serving.embedded.batching.execution import Rows, execute_batch
from serving.embedded.batching.parameters import Parameters
from serving.embedded.errors import ModelError
from serving.embedded.predict_requests import parsed
from serving.embedded.servable import Call, Inference, Servable, advance
from serving.wire import tensorflow_serving_pb2 as tfs
from serving.wire.errors import InvalidArgument, ServingError

logger = logging.getLogger(__name__)

MAX_RECORDS = 1000
_FILE = Path("assets.extra/tf_serving_warmup_requests")
# The version's number is of no account: nobody reads the answers.
_METHODS: dict[str, Callable[[Servable, int, Any], Inference[Any]]] = {
    "predict_log": lambda servable, number, request: inference.predict(servable, number, parsed(request)),
    "classify_log": inference.classify,
    "regress_log": inference.regress,
    "multi_inference_log": inference.infer,
}


def load_warm(
    directory: Path,
    load: Callable[[Path], Servable],
    records: Callable[[Path], Iterable[bytes]],
    *,
    iterations: int = 1,
    sizes: Callable[[Path], Sequence[int]] = lambda _: (),
) -> Servable:
    """What `load` makes of `directory`, after its warm-up requests, if it has any, were answered `iterations` times.

    `records` reads a TFRecord file. `sizes` are those of batches, each of which a request is run in, too: a model may
    be slow at a size that it has not seen. Raises the ServingError of the load or of the request that failed.
    """
    servable = load(directory)
    try:
        file = directory / _FILE
        if file.is_file():
            warm_up = partial(_warm_up, sizes=sizes(directory), iterations=iterations)
            count = _replay(servable, file, records(file), warm_up)
            logger.info("%s answered %d warm-up requests", directory, count)
    except BaseException:
        servable.close()
        raise
    return servable


def _replay(
    servable: Servable, file: Path, records: Iterable[bytes], warm_up: Callable[[Callable[[], Inference[Any]]], None]
) -> int:
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
        warm_up(partial(_METHODS[kind], servable, 0, getattr(log, kind).request))
    return count


def _warm_up(begin: Callable[[], Inference[Any]], *, sizes: Sequence[int], iterations: int) -> None:
    for _ in range(iterations):
        inference = begin()
        step = advance(inference)
        while isinstance(step, Call):
            for size in sizes:
                _run_padded(step, size)
            step = advance(inference, step.run())


def _run_padded(call: Call, size: int) -> None:
    """Runs a call in a batch of `size` rows, if it has no more."""
    count = row_count(call.arguments)
    if 0 < count <= size:
        (outcome,) = execute_batch(
            call.execute, [Rows(call.arguments, count)], Parameters(allowed_batch_sizes=(size,), max_batch_size=size)
        )
        if isinstance(outcome, ServingError):
            raise outcome
