"""PredictRequest as the use case takes it."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from google.protobuf import struct_pb2

from gateway.errors import GatewayError, InvalidInput
from gateway.instances import Image, Instance, Instances, Pixels, Tensors, TensorStack, record
from gateway.predictor import Query
from gateway.servicers import tensors
from serving.wire.moulds import Moulds
from tensorgate.v1 import inference_service_pb2 as pb

_CHANNELS = (1, 3, 4)
# Bytes. Larger images are of ever new lengths, and take so long to decode that parsing is nothing.
_MAX_IMAGE = 1024


class _Said(NamedTuple):
    """A request apart from its payloads."""

    query: Query
    """Without instances."""
    instances: Callable[[bytes], Instances]
    """Makes those of a request that is otherwise the same."""


class PredictRequests:
    """Reads requests that come as bytes."""

    def __init__(self) -> None:
        self._moulds: Moulds[_Said] = Moulds()

    def read(self, raw: bytes) -> Query:
        """What the request asks; DecodeError if it is none."""
        known = self._moulds.find(raw)
        if known is not None:
            (model, _, version, signature, top_k, _), instances = known
            return Query(model, instances(raw), version, signature, top_k)
        request = pb.PredictRequest.FromString(raw)
        asked = query(request)
        if self._moulds.wants(raw):
            self._learn(raw, request, asked)
        return asked

    def _learn(self, raw: bytes, request: pb.PredictRequest, asked: Query) -> None:
        parsed = list(asked.instances)
        alone = len(parsed) == 1
        slots = [_slot(message, one, alone) for message, one in zip(request.instances, parsed, strict=True)]
        found = [slot for slot in slots if slot is not None]
        if len(found) < len(slots):
            return
        payloads = [getattr(holder, field) for holder, field, _ in found]

        def refilled(others: Iterable[bytes]) -> pb.PredictRequest:
            for (holder, field, _), other in zip(found, others, strict=True):
                setattr(holder, field, other)
            return request

        def said(places: Sequence[slice]) -> _Said:
            makes = [make for _, _, make in found]
            return _Said(asked._replace(instances=()), _stack(parsed, places) or _one_by_one(makes, places))

        self._moulds.learn(raw, payloads, said, refilled)


def query(request: pb.PredictRequest) -> Query:
    """What a request asks."""
    return Query(request.model, _instances(request.instances), request.version, request.signature, request.top_k)


def _slot(
    message: pb.Instance, instance: Instance | GatewayError, alone: bool
) -> tuple[Any, str, Callable[[bytes], Instance]] | None:
    """Where an instance's payload stands, and what makes an instance of another; None if it has none.

    Images are of many lengths: several together hardly come again.
    """
    if isinstance(instance, Image):
        return (message, "image", Image) if alone and len(instance.encoded) <= _MAX_IMAGE else None
    if isinstance(instance, Pixels):
        return message.pixels, "data", partial(_pixels_of, instance.array.shape)
    if isinstance(instance, Tensors) and message.HasField("tensor") and message.tensor.data:
        (array,) = instance.values.values()
        return message.tensor, "data", partial(_tensor_of, array.shape, array.dtype)
    return None


def _one_by_one(makes: Sequence[Callable[[bytes], Instance]], places: Sequence[slice]) -> Callable[[bytes], Instances]:
    pairs = list(zip(makes, places, strict=True))
    return lambda raw: [make(raw[place]) for make, place in pairs]


def _stack(
    instances: Sequence[Instance | GatewayError], places: Sequence[slice]
) -> Callable[[bytes], Instances] | None:
    """What makes one array of tensors that are alike and as far from one another, of the request's own bytes."""
    arrays = [array for one in instances if isinstance(one, Tensors) for array in one.values.values()]
    kinds = {(array.dtype, array.shape) for array in arrays}
    steps = {later.start - place.start for place, later in pairwise(places)}
    if len(arrays) < len(instances) or len(kinds) > 1 or len(steps) > 1:
        return None
    first, step = arrays[0], max(steps, default=0)
    return partial(_stack_of, (len(arrays), *first.shape), first.dtype, places[0].start, (step, *first.strides))


def _stack_of(
    shape: tuple[int, ...], dtype: "np.dtype[Any]", start: int, strides: tuple[int, ...], raw: bytes
) -> TensorStack:
    return TensorStack(np.ndarray(shape, dtype, raw, start, strides))


def _pixels_of(shape: tuple[int, ...], payload: bytes) -> Pixels:
    return Pixels(np.ndarray(shape, np.uint8, payload))


def _tensor_of(shape: tuple[int, ...], dtype: "np.dtype[Any]", payload: bytes) -> Tensors:
    return Tensors({None: np.ndarray(shape, dtype, payload)})


def _instances(messages: Iterable[pb.Instance]) -> list[Instance | GatewayError]:
    """Each instance, or what is wrong with it."""
    instances: list[Instance | GatewayError] = []
    for message in messages:
        try:
            instances.append(_instance(message))
        except GatewayError as error:
            instances.append(error)
    return instances


def _instance(instance: pb.Instance) -> Instance:
    kind = instance.WhichOneof("input")
    if kind == "image":
        return Image(instance.image)
    if kind == "pixels":
        return _pixels(instance.pixels)
    if kind == "tensor":
        return Tensors({None: tensors.to_numpy(instance.tensor)})
    if kind == "tensors":
        return Tensors({name: tensors.to_numpy(tensor) for name, tensor in instance.tensors.tensors.items()})
    if kind == "row":
        # Lists and structs are of no column's type; as they are, the pipeline says so.
        return record({name: _value(value) for name, value in instance.row.fields.items()})
    raise InvalidInput("the instance is empty; expected image, pixels, tensor, tensors or row", reason="INSTANCE_EMPTY")


def _value(value: struct_pb2.Value) -> Any:
    kind = value.WhichOneof("kind")
    if kind in ("list_value", "struct_value"):
        return [] if kind == "list_value" else {}
    return None if kind in (None, "null_value") else getattr(value, kind)


def _pixels(pixels: pb.Pixels) -> Pixels:
    channels = pixels.channels or 1
    shape = (pixels.height, pixels.width, channels)
    if pixels.height < 1 or pixels.width < 1 or channels not in _CHANNELS:
        raise InvalidInput(
            f"pixels of {shape[0]}×{shape[1]} with {channels} channels; expected sides above 0 and 1, 3 or 4 channels",
            reason="PIXELS_MALFORMED",
        )
    if len(pixels.data) != shape[0] * shape[1] * shape[2]:
        raise InvalidInput(
            f"pixels of {shape[0]}×{shape[1]} with {channels} channels need {shape[0] * shape[1] * shape[2]} bytes, "
            f"there are {len(pixels.data)}",
            reason="PIXELS_MALFORMED",
        )
    return Pixels(np.frombuffer(pixels.data, np.uint8).reshape(shape))
