"""The file of --batching_parameters_file: BatchingParameters in protobuf's text format."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

from serving.embedded.batching.parameters import Parameters
from serving.embedded.text_proto import ConfigFileError, read_text_proto
from serving.wire import tensorflow_serving_pb2 as tfs
from serving.wire.errors import InvalidArgument

_OF_MODEL = "batching_params.pbtxt"


def read_parameters(path: Path) -> Parameters:
    """The parameters that a file sets, the rest by default; ConfigFileError says what in it cannot be."""
    given = read_text_proto(path, tfs.BatchingParameters())
    values = {
        name: getattr(given, name).value
        for name in ("max_batch_size", "max_enqueued_batches", "num_batch_threads", "thread_pool_name")
        if given.HasField(name)
    }
    if given.HasField("batch_timeout_micros"):
        values["batch_timeout"] = given.batch_timeout_micros.value / 1e6
    if given.enable_large_batch_splitting.value:
        limit = given.max_execution_batch_size if given.HasField("max_execution_batch_size") else given.max_batch_size
        values["max_execution_batch_size"] = limit.value or Parameters.max_batch_size
    parameters = Parameters(
        **values,
        allowed_batch_sizes=tuple(given.allowed_batch_sizes),
        pad_variable_length_inputs=given.pad_variable_length_inputs,
    )
    if problem := _problem(parameters):
        raise ConfigFileError(f"{path}: {problem}")
    return parameters


def model_parameters(directory: Path, common: Parameters) -> Parameters | None:
    """What a version's own batching_params.pbtxt says, None if it has none: its requests are not batched then.

    The threads are all models', and `common` says of them. Raises InvalidArgument for what the file cannot say.
    """
    file = directory / _OF_MODEL
    if not file.is_file():
        return None
    try:
        own = read_parameters(file)
    except ConfigFileError as error:
        raise InvalidArgument(str(error)) from error
    return replace(own, num_batch_threads=common.num_batch_threads, thread_pool_name=common.thread_pool_name)


def _problem(parameters: Parameters) -> str:
    """What TensorFlow Serving would refuse, or nothing."""
    for name in ("max_batch_size", "max_enqueued_batches", "num_batch_threads"):
        if getattr(parameters, name) < 1:
            return f"{name} must be positive; was {getattr(parameters, name)}"
    if parameters.batch_timeout < 0:
        return f"batch_timeout_micros must be non-negative; was {parameters.batch_timeout * 1e6:.0f}"
    if not 1 <= parameters.execution_limit <= parameters.max_batch_size:
        return (
            f"max_execution_batch_size must be positive and at most max_batch_size, {parameters.max_batch_size}; "
            f"was {parameters.execution_limit}"
        )
    allowed = parameters.allowed_batch_sizes
    if any(low >= high for low, high in pairwise((0, *allowed))):
        return f"allowed_batch_sizes entries must be positive and increasing; were {list(allowed)}"
    if allowed and allowed[-1] != parameters.execution_limit:
        name = "max_execution_batch_size" if parameters.max_execution_batch_size else "max_batch_size"
        return (
            f"Last entry in allowed_batch_sizes must match {name}; last entry was {allowed[-1]}; "
            f"expected {parameters.execution_limit}"
        )
    return ""
