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
    layout: Sequence[tuple[str, "np.dtype[Any]", tuple[int, ...]]]
    """Name, type and shape of each input."""


class PredictRequests:
    """Reads requests that come as bytes."""

    def __init__(self) -> None:
        self._moulds: Moulds[_Said] = Moulds()

    def read(self, raw: bytes) -> Predict:
        """What the request asks; DecodeError if it is none."""
        known = self._moulds.find(raw)
        if known is not None:
            (spec, outputs, layout), places = known
            inputs = {
                # Arrays of the request's own bytes.
                alias: np.ndarray(shape, dtype, raw, place.start)
                for (alias, dtype, shape), place in zip(layout, places, strict=True)
            }
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
        layout = [(alias, array.dtype, array.shape) for alias, array in arrays.items()]
        contents = [request.inputs[alias].tensor_content for alias in arrays]
        self._moulds.learn(raw, contents, _Said(spec, tuple(request.output_filter), layout), refilled)


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
