"""A batch on its thread: requests' arguments are joined, run once, and the outputs are cut apart again."""

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import numpy as np

from serving.embedded.batching.errors import BatchTooLarge, ScalarBatchOutput, UnfitBatchOutput
from serving.embedded.batching.parameters import Parameters
from serving.embedded.servable import Execute
from serving.wire.codec import MAX_TENSOR_BYTES, Array
from serving.wire.errors import ServingError


class Rows(NamedTuple):
    """The rows of one request in a batch: arguments that all have `size` as their first dimension."""

    arguments: Sequence[Array]
    size: int


Outcome: TypeAlias = list[Array] | ServingError


def execute_batch(execute: Execute, requests: Sequence[Rows], parameters: Parameters) -> list[Outcome]:
    """The outputs for each of `requests`, or what it fails with.

    If they fail together each is run alone, so that what is wrong with one is nobody else's error.
    """
    try:
        return list(_together(execute, requests, parameters))
    except ServingError as error:
        if len(requests) == 1:
            return [error]
        return [outcome for request in requests for outcome in execute_batch(execute, [request], parameters)]


def _together(execute: Execute, requests: Sequence[Rows], parameters: Parameters) -> Sequence[list[Array]]:
    count = sum(request.size for request in requests)
    padding = parameters.padded(count) - count if count else 0
    if len(requests) == 1 and not padding:
        arguments = requests[0].arguments
    else:
        columns = zip(*(request.arguments for request in requests), strict=True)
        arguments = [_join(column, padding, lengthen=parameters.pad_variable_length_inputs) for column in columns]
    outputs = execute(arguments)
    for output in outputs:
        if not output.ndim:
            raise ScalarBatchOutput
        if len(output) != count + padding:
            raise UnfitBatchOutput
    if len(requests) == 1:
        return [[output[:count] for output in outputs]]
    answers, start = [], 0
    for request in requests:
        end = start + request.size
        answers.append([output[start:end] for output in outputs])
        start = end
    return answers


def _join(tensors: Sequence[Array], padding: int, *, lengthen: bool) -> Array:
    """`tensors` one behind the other, and then `padding` times a row of them, since that is sure to be a valid one."""
    if lengthen:
        tensors = _lengthened(tensors)
    if padding:
        row = next(tensor for tensor in tensors if len(tensor))[:1]
        tensors = [*tensors, *[row] * padding]
    return np.concatenate(tensors)


def _lengthened(tensors: Sequence[Array]) -> Sequence[Array]:
    """The tensors, of equal rank, each filled up to the longest in every dimension but the first.

    With its own first element, as TensorFlow Serving does (batching_util.cc).
    """
    shape = tuple(map(max, zip(*(tensor.shape[1:] for tensor in tensors), strict=True)))
    if all(tensor.shape[1:] == shape for tensor in tensors):
        return tensors
    rows = sum(map(len, tensors))
    if rows * int(np.prod(shape, dtype=object)) * tensors[0].itemsize > MAX_TENSOR_BYTES:
        raise BatchTooLarge(rows, shape)
    lengthened = []
    for tensor in tensors:
        longer = np.full((len(tensor), *shape), tensor.flat[0] if tensor.size else 0, tensor.dtype)
        longer[tuple(map(slice, tensor.shape))] = tensor
        lengthened.append(longer)
    return lengthened
