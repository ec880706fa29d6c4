"""What a caller may hand over, as messages."""

import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice
from pathlib import Path
from types import NoneType
from typing import Any

from google.protobuf import struct_pb2

from tensorgate.v1 import feedback_service_pb2 as feedback_pb
from tensorgate.v1 import inference_service_pb2 as pb
from tensorgate.v1 import tensor_pb2

Instance = bytes | os.PathLike[str] | Mapping[str, Any] | pb.Instance | Any
"""An encoded image (bytes, or the path of its file), an array (anything with the buffer protocol, such as numpy's),
arrays by name, a row of a table (numbers, strings, truth values and None by the columns' names), or the message
itself."""

Truth = str | int | float
"""What a prediction should have been: a class by its name (str) or its place (int), a regression's value (float)."""

# Labels in one message of a stream.
_MANY = 500
_SCALARS = (float, int, str, bool, NoneType)
# By the struct module's codes, which the buffer protocol uses. Integers go by their size, which differs by platform.
_FORMATS = {
    "?": tensor_pb2.DATA_TYPE_BOOL,
    "e": tensor_pb2.DATA_TYPE_FLOAT16,
    "f": tensor_pb2.DATA_TYPE_FLOAT32,
    "d": tensor_pb2.DATA_TYPE_FLOAT64,
}
_SIGNED = {
    1: tensor_pb2.DATA_TYPE_INT8,
    2: tensor_pb2.DATA_TYPE_INT16,
    4: tensor_pb2.DATA_TYPE_INT32,
    8: tensor_pb2.DATA_TYPE_INT64,
}
_UNSIGNED = {
    1: tensor_pb2.DATA_TYPE_UINT8,
    2: tensor_pb2.DATA_TYPE_UINT16,
    4: tensor_pb2.DATA_TYPE_UINT32,
    8: tensor_pb2.DATA_TYPE_UINT64,
}


def predict_request(
    instances: Sequence[Instance], *, model: str, version: int, signature: str, top_k: int
) -> pb.PredictRequest:
    """The request; TypeError for an instance that is none of what may be handed over."""
    return pb.PredictRequest(
        model=model,
        version=version,
        signature=signature,
        top_k=top_k,
        instances=[to_instance(instance) for instance in instances],
    )


def stream_request(
    instance: Instance, *, model: str, version: int, signature: str, top_k: int, in_order: bool
) -> pb.StreamPredictRequest:
    """The request of one instance in a stream; TypeError for one that is none of what may be handed over."""
    request = predict_request([instance], model=model, version=version, signature=signature, top_k=top_k)
    return pb.StreamPredictRequest(request=request, in_order=in_order)


def to_feedback(receipt: str, truth: Truth, observed_at: datetime | None = None) -> feedback_pb.Feedback:
    """The message of one label; TypeError if `truth` is none."""
    if isinstance(truth, bool) or not isinstance(truth, Truth):
        raise TypeError(f"expected a class's name or place, or a value as a float, not {type(truth).__name__}")
    message = feedback_pb.Feedback(id=receipt)
    setattr(message, {str: "label", int: "class_index", float: "value"}[_kind(truth)], truth)
    if observed_at is not None:
        message.observed_at.FromDatetime(observed_at)
    return message


def feedback_stream(
    labels: Iterable[tuple[str, Truth]], failures: list[Exception]
) -> Iterator[feedback_pb.StreamFeedbackRequest]:
    """The messages of a stream of labels; ends early, with the reason in `failures`, should a label not come."""
    messages = (to_feedback(*label) for label in labels)
    try:
        while some := list(islice(messages, _MANY)):
            yield feedback_pb.StreamFeedbackRequest(feedback=some)
    except Exception as error:
        failures.append(error)


def _kind(truth: Truth) -> type[Any]:
    return next(kind for kind in (str, int, float) if isinstance(truth, kind))


def to_instance(instance: Instance) -> pb.Instance:
    """The message of one instance."""
    if isinstance(instance, pb.Instance):
        return instance
    if isinstance(instance, bytes):
        return pb.Instance(image=instance)
    if isinstance(instance, os.PathLike):
        return pb.Instance(image=Path(instance).read_bytes())
    if isinstance(instance, Mapping):
        if all(type(value) in _SCALARS for value in instance.values()):
            return row(instance)
        tensors = {name: to_tensor(array) for name, array in instance.items()}
        return pb.Instance(tensors=tensor_pb2.NamedTensors(tensors=tensors))
    return pb.Instance(tensor=to_tensor(instance))


def row(values: Mapping[str, Any]) -> pb.Instance:
    """A row of a table: numbers (numpy's too), strings, truth values and None by the columns' names."""
    message = struct_pb2.Struct()
    for name, value in values.items():
        plain = value.item() if hasattr(value, "item") else value
        if type(plain) not in _SCALARS:
            raise TypeError(f"column {name!r}: expected a number, a string, a bool or None, not {type(plain).__name__}")
        message[name] = plain
    return pb.Instance(row=message)


def pixels(array: Any) -> pb.Instance:
    """An image that needs no decoding: uint8, (height, width) or (height, width, channels)."""
    view = memoryview(array)
    if view.shape is None or view.format != "B" or view.ndim not in (2, 3):
        raise TypeError("expected uint8 pixels of shape (height, width) or (height, width, channels)")
    shape = (*view.shape, 1)
    height, width, channels = shape[0], shape[1], shape[2]
    return pb.Instance(pixels=pb.Pixels(data=view.tobytes(), height=height, width=width, channels=channels))


def to_tensor(array: Any) -> tensor_pb2.Tensor:
    """The message of an array; TypeError if it has no buffer, or elements of no known type."""
    try:
        view = memoryview(array)
    except TypeError:
        raise TypeError(f"expected an array such as numpy's, not {type(array).__name__}") from None
    code = (view.format or "B").lstrip("@=<" if sys.byteorder == "little" else "@=>")
    sizes = _SIGNED if code in tuple("bhilq") else _UNSIGNED if code in tuple("BHILQ") else {}
    dtype = _FORMATS.get(code) or sizes.get(view.itemsize)
    if dtype is None:
        raise TypeError(f"an array of elements {view.format!r} cannot be sent")
    data = view.tobytes()
    if sys.byteorder == "big":
        data = b"".join(data[i : i + view.itemsize][::-1] for i in range(0, len(data), view.itemsize))
    return tensor_pb2.Tensor(dtype=dtype, shape=view.shape, data=data)
