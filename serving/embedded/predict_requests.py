"""PredictRequests as inference takes them."""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from serving.embedded.errors import UnparsableTensor
from serving.embedded.inference import Predict, spec_of
from serving.wire import tensorflow_serving_pb2 as tfs
from serving.wire.codec import Array, TensorError, to_numpy
from serving.wire.moulds import Moulds


class _Said(NamedTuple):
    """A request apart from its tensors' contents."""

    spec: tfs.ModelSpec | None
    outputs: Sequence[str]
    layout: Sequence[tuple[str, "np.dtype[Any]", tuple[int, ...], int]]
    """Each input's name, type and shape, and where its content begins."""


class PredictRequests:
    """Reads requests that come as bytes."""

    def __init__(self) -> None:
        self._moulds: Moulds[_Said] = Moulds()

    def read(self, raw: bytes) -> Predict:
        """What the request asks; DecodeError if it is none."""
        known = self._moulds.find(raw)
        if known is not None:
            spec, outputs, layout = known
            # Arrays of the request's own bytes.
            inputs = {alias: np.ndarray(shape, dtype, raw, start) for alias, dtype, shape, start in layout}
            return Predict(spec, outputs, lambda: inputs, partial(tfs.PredictRequest.FromString, raw))
        request = tfs.PredictRequest.FromString(raw)
        asked = parsed(request)
        if self._moulds.wants(raw) and all(proto.tensor_content for proto in request.inputs.values()):
            self._learn(raw, request, asked)
        return asked

    def _learn(self, raw: bytes, request: tfs.PredictRequest, asked: Predict) -> None:
        try:
            arrays = asked.inputs()
        except UnparsableTensor:
            return
        # Strings' lengths are among their content.
        if any(array.dtype.hasobject for array in arrays.values()):
            return

        def refilled(contents: Iterable[bytes]) -> tfs.PredictRequest:
            message = tfs.PredictRequest.FromString(raw)
            for alias, content in zip(arrays, contents, strict=True):
                message.inputs[alias].tensor_content = content
            return message

        # A copy, which does not hold on to the request.
        spec = None if asked.spec is None else tfs.ModelSpec.FromString(asked.spec.SerializeToString())
        outputs = tuple(request.output_filter)

        def said(places: Sequence[slice]) -> _Said:
            tensors = zip(arrays.items(), places, strict=True)
            layout = [(alias, array.dtype, array.shape, place.start) for (alias, array), place in tensors]
            return _Said(spec, outputs, layout)

        contents = [request.inputs[alias].tensor_content for alias in arrays]
        self._moulds.learn(raw, contents, said, refilled)


def parsed(request: tfs.PredictRequest) -> Predict:
    """What a request asks."""
    return Predict(spec_of(request), request.output_filter, partial(_inputs, request), lambda: request)


def _inputs(request: tfs.PredictRequest) -> Mapping[str, Array]:
    # Not `items`, which protobuf leaves to Python.
    return {alias: _tensor(alias, request.inputs[alias]) for alias in request.inputs}


def _tensor(alias: str, proto: Any) -> Array:
    try:
        return to_numpy(proto)
    except TensorError as error:
        raise UnparsableTensor(alias) from error
