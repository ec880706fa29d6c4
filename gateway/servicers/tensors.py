"""Tensors between tensorgate.v1 and numpy."""

import math
import sys
from typing import Any

import ml_dtypes
import numpy as np

from gateway.backend import Array
from gateway.errors import InvalidInput
from tensorgate.v1 import tensor_pb2 as pb

_NUMPY = {
    pb.DATA_TYPE_BOOL: np.dtype(np.bool_),
    pb.DATA_TYPE_UINT8: np.dtype(np.uint8),
    pb.DATA_TYPE_UINT16: np.dtype(np.uint16),
    pb.DATA_TYPE_UINT32: np.dtype(np.uint32),
    pb.DATA_TYPE_UINT64: np.dtype(np.uint64),
    pb.DATA_TYPE_INT8: np.dtype(np.int8),
    pb.DATA_TYPE_INT16: np.dtype(np.int16),
    pb.DATA_TYPE_INT32: np.dtype(np.int32),
    pb.DATA_TYPE_INT64: np.dtype(np.int64),
    pb.DATA_TYPE_FLOAT16: np.dtype(np.float16),
    pb.DATA_TYPE_BFLOAT16: np.dtype(ml_dtypes.bfloat16),
    pb.DATA_TYPE_FLOAT32: np.dtype(np.float32),
    pb.DATA_TYPE_FLOAT64: np.dtype(np.float64),
    pb.DATA_TYPE_STRING: np.dtype(object),
}
_DATA_TYPE = {dtype: code for code, dtype in _NUMPY.items()}
_FLOATS = (pb.DATA_TYPE_FLOAT16, pb.DATA_TYPE_BFLOAT16, pb.DATA_TYPE_FLOAT32, pb.DATA_TYPE_FLOAT64)
_FIELDS = ("data", "float_values", "int_values", "string_values")
# The very types where they are the machine's: comparing the same object costs nothing.
_LITTLE_ENDIAN = {
    code: dtype if sys.byteorder == "little" else dtype.newbyteorder("<") for code, dtype in _NUMPY.items()
}
_MAX_DIMENSIONS = 32


def data_type(dtype: "np.dtype[Any]") -> pb.DataType.ValueType:
    """The DataType of a numpy type; UNSPECIFIED for one that tensorgate.v1 does not carry."""
    return _DATA_TYPE.get(dtype, pb.DATA_TYPE_UNSPECIFIED)


def to_numpy(tensor: pb.Tensor) -> Array:
    """The array that a Tensor holds; strings as an object array of bytes. InvalidInput says what does not fit."""
    array = _plain(tensor)
    if array is not None:
        return array
    if tensor.dtype not in _NUMPY:
        raise InvalidInput("the tensor has no dtype that is known", reason="TENSOR_TYPE_UNKNOWN")
    dtype, shape = _NUMPY[tensor.dtype], tuple(tensor.shape)
    if len(shape) > _MAX_DIMENSIONS or min(shape, default=0) < 0:
        raise _malformed(f"the shape {list(shape[:_MAX_DIMENSIONS])} is impossible")
    field = _filled_field(tensor)
    values = getattr(tensor, field)
    count = math.prod(shape)
    expected, unit = (count * dtype.itemsize, "bytes") if field == "data" else (count, "elements")
    if len(values) != expected:
        raise _malformed(f"the shape {list(shape)} needs {expected} {unit}, there are {len(values)}")
    try:
        if field == "data":
            return np.frombuffer(values, _LITTLE_ENDIAN[tensor.dtype]).reshape(shape)
        if field == "string_values":
            array = np.empty(count, object)
            array[:] = values
            return array.reshape(shape)
        # From a list: from a protobuf container numpy would wrap around what is out of range.
        with np.errstate(over="ignore"):
            return np.array(list(values), dtype).reshape(shape)
    except (OverflowError, ValueError):
        # Or an empty dimension hides one that is too large for numpy.
        raise _malformed(f"a value is out of the range of {pb.DataType.Name(tensor.dtype)}") from None


def _plain(tensor: pb.Tensor) -> Array | None:
    """The array of a tensor of numbers in `data`, as nearly all are; None for any other, and for what does not fit."""
    data = tensor.data
    dtype = _LITTLE_ENDIAN.get(tensor.dtype)
    if not data or dtype is None or dtype.hasobject:
        return None
    if tensor.float_values or tensor.int_values or tensor.string_values:
        return None
    shape = tuple(tensor.shape[:])
    try:
        array: Array = np.ndarray(shape, dtype, data)
    except (TypeError, ValueError):
        return None
    return array if array.nbytes == len(data) and len(shape) <= _MAX_DIMENSIONS else None


def _filled_field(tensor: pb.Tensor) -> str:
    """The field that holds the elements; InvalidInput if there are several, or if it cannot hold the type."""
    if tensor.dtype == pb.DATA_TYPE_STRING:
        allowed = ["string_values"]
    else:
        allowed = ["data", "float_values" if tensor.dtype in _FLOATS else "int_values"]
    filled = [name for name in _FIELDS if getattr(tensor, name)]
    if len(filled) > 1:
        raise _malformed(f"elements stand in {' and '.join(filled)}; expected one of them")
    if filled and filled[0] not in allowed:
        raise _malformed(f"{filled[0]} cannot hold {pb.DataType.Name(tensor.dtype)}; expected {' or '.join(allowed)}")
    return (filled or allowed)[0]


def to_proto(array: Array) -> pb.Tensor:
    """The Tensor that holds an array: strings in `string_values`, the rest in `data`."""
    array = np.asarray(array)
    tensor = pb.Tensor(dtype=data_type(array.dtype), shape=array.shape)
    if array.dtype == object:
        tensor.string_values.extend(array.ravel().tolist())
    else:
        tensor.data = np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()
    return tensor


def _malformed(message: str) -> InvalidInput:
    return InvalidInput(message, reason="TENSOR_MALFORMED")
