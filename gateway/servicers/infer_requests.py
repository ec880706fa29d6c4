"""ModelInferRequest as the servicer takes it."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from gateway.backend import Array
from gateway.servicers import open_inference_tensors as tensors
from serving.wire import open_inference_pb2 as oip
from serving.wire.moulds import Moulds

SIGNATURE = "signature_name"
"""The request parameter that names a signature."""
# Requested of an output, these would change what comes: nobody gets something else than was asked for.
_UNSUPPORTED = ("classification", "shared_memory_region")


class Wanted(NamedTuple):
    """An output that is asked for."""

    name: str
    unsupported: str
    """The parameter that asks for what is not supported, if one does."""


class InferRequest(NamedTuple):
    """What a request asks."""

    model: str
    version: str
    id: str
    signature: str
    outputs: Sequence[Wanted]
    raw: bool
    """Whether its inputs are in raw_input_contents, and the answer's outputs are to be."""
    inputs: Callable[[], dict[str, Array]]
    """Makes the inputs; InvalidInput says what does not fit."""


_Layout = Sequence[tuple[str, "np.dtype[Any]", tuple[int, ...], int]]
"""Each input's name, type and shape, and where its contents begin."""


class InferRequests:
    """Reads requests that come as bytes."""

    def __init__(self) -> None:
        self._moulds: Moulds[tuple[InferRequest, _Layout]] = Moulds()

    def read(self, raw: bytes) -> InferRequest:
        """What the request asks; DecodeError if it is none."""
        known = self._moulds.find(raw)
        if known is not None:
            said, layout = known
            return said._replace(inputs=partial(_arrays, layout, raw))
        request = oip.ModelInferRequest.FromString(raw)
        asked = InferRequest(
            request.model_name,
            request.model_version,
            request.id,
            request.parameters[SIGNATURE].string_param if SIGNATURE in request.parameters else "",
            [_wanted(output) for output in request.outputs],
            bool(request.raw_input_contents),
            partial(tensors.inputs, request),
        )
        # Strings are of any length, and have to be read one by one; an id makes every request another.
        plain = asked.raw and not asked.id and all(tensor.datatype != "BYTES" for tensor in request.inputs)
        if plain and self._moulds.wants(raw):
            return asked._replace(inputs=partial(self._first, raw, request, asked))
        return asked

    def _first(self, raw: bytes, request: oip.ModelInferRequest, asked: InferRequest) -> dict[str, Array]:
        arrays = tensors.inputs(request)
        contents = request.raw_input_contents
        payloads = list(contents)

        def refilled(others: Iterable[bytes]) -> oip.ModelInferRequest:
            contents[:] = others
            return request

        def said(places: Sequence[slice]) -> tuple[InferRequest, _Layout]:
            inputs = zip(arrays.items(), places, strict=True)
            layout = [(name, array.dtype, array.shape, place.start) for (name, array), place in inputs]
            return asked._replace(inputs=dict), layout

        self._moulds.learn(raw, payloads, said, refilled)
        return arrays


def _wanted(output: oip.ModelInferRequest.InferRequestedOutputTensor) -> Wanted:
    return Wanted(output.name, next((name for name in _UNSUPPORTED if name in output.parameters), ""))


def _arrays(layout: _Layout, raw: bytes) -> dict[str, Array]:
    return {name: np.ndarray(shape, dtype, raw, start) for name, dtype, shape, start in layout}
