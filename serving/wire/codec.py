"""Tensors between numpy and TensorProto, as TensorFlow reads and writes them (tensorflow/core/framework/tensor.cc)."""

import itertools
import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from serving.wire import tensorflow_pb2 as tf
from serving.wire.lengths import length

Array = NDArray[Any]

# Beyond this a shape is refused before anything is allocated: one value may stand for a whole tensor on the wire.
MAX_TENSOR_BYTES = 1 << 30
# numpy's own limit is 64, TensorFlow's 254; no model has as many.
MAX_DIMENSIONS = 64


class TensorError(ValueError):
    """A TensorProto that is no tensor: unknown type, impossible shape, or content that does not fit the shape."""


class ElementType(NamedTuple):
    """How one TensorFlow type is held in numpy and in a TensorProto's typed fields."""

    code: int
    name: str
    numpy: np.dtype[Any]
    field: str


# Names are TensorFlow's own (DataTypeString), which its error messages use.
ELEMENT_TYPES = tuple(
    ElementType(code, name, np.dtype(numpy), field)
    for code, name, numpy, field in (
        (tf.DT_FLOAT, "float", np.float32, "float_val"),
        (tf.DT_DOUBLE, "double", np.float64, "double_val"),
        (tf.DT_INT32, "int32", np.int32, "int_val"),
        (tf.DT_UINT8, "uint8", np.uint8, "int_val"),
        (tf.DT_INT16, "int16", np.int16, "int_val"),
        (tf.DT_INT8, "int8", np.int8, "int_val"),
        (tf.DT_UINT16, "uint16", np.uint16, "int_val"),
        (tf.DT_STRING, "string", object, "string_val"),
        (tf.DT_COMPLEX64, "complex64", np.complex64, "scomplex_val"),
        (tf.DT_COMPLEX128, "complex128", np.complex128, "dcomplex_val"),
        (tf.DT_INT64, "int64", np.int64, "int64_val"),
        (tf.DT_BOOL, "bool", np.bool_, "bool_val"),
        (tf.DT_HALF, "half", np.float16, "half_val"),
        (tf.DT_BFLOAT16, "bfloat16", ml_dtypes.bfloat16, "half_val"),
        (tf.DT_UINT32, "uint32", np.uint32, "uint32_val"),
        (tf.DT_UINT64, "uint64", np.uint64, "uint64_val"),
    )
)
_BY_CODE = {entry.code: entry for entry in ELEMENT_TYPES}
_BY_NUMPY = {entry.numpy: entry for entry in ELEMENT_TYPES}
# A dtype takes microseconds to hash; its number is that of its type, whatever the byte order.
_BY_NUMBER = {entry.numpy.num: entry for entry in ELEMENT_TYPES}
_LITTLE_ENDIAN = {entry.code: entry.numpy.newbyteorder("<") for entry in ELEMENT_TYPES}
# Typed fields that hold the same bytes on the wire as the array in memory, so that a whole array goes in at once.
_PACKED = {
    name: tf.TensorProto.DESCRIPTOR.fields_by_name[name].number
    for name in ("float_val", "double_val", "scomplex_val", "dcomplex_val")
}
_LENGTH_DELIMITED = 2
# Shapes come again and again; reading or writing one takes as long as all the rest of a small tensor.
_MAX_SHAPES = 1024
_MAX_SHAPE_BYTES = 256
_MORE = 0x80


def element_type(code: int) -> ElementType:
    """The element type with TensorFlow's number `code`; TensorError if it cannot cross the wire."""
    try:
        return _BY_CODE[code]
    except KeyError:
        raise TensorError(f"dtype {code} is not supported") from None


def element_type_of(array: Array) -> ElementType:
    """The element type of a numpy array; str and bytes arrays are strings. TensorError if there is none."""
    if (known := _BY_NUMBER.get(array.dtype.num)) is not None:
        return known
    if array.dtype.kind in "SU":
        return _BY_CODE[tf.DT_STRING]
    try:
        return _BY_NUMPY[array.dtype.newbyteorder("=")]
    except KeyError:
        raise TensorError(f"numpy dtype {array.dtype} is not supported") from None


def to_proto(array: Array, *, typed: bool = False) -> tf.TensorProto:
    """A TensorProto of `array`: its bytes in `tensor_content`, or with `typed` its elements in the typed field.

    Strings are always in `string_val`, the one place where every client reads them.
    """
    proto = tf.TensorProto()
    fill_proto(proto, array, typed=typed)
    return proto


def fill_proto(proto: tf.TensorProto, array: Array, *, typed: bool = False) -> None:
    """Writes `array` into an empty TensorProto, as `to_proto` does: within a larger message this saves a copy."""
    entry = element_type_of(array)
    field = _whole_field(entry, typed=typed)
    if field:
        proto.MergeFromString(_beginning(entry.code, array.shape, field) + _memory(array, entry).tobytes())
        return
    proto.MergeFromString(_beginning(entry.code, array.shape, 0))
    if entry.code == tf.DT_STRING:
        proto.string_val.extend(_as_bytes(value) for value in array.ravel())
    elif entry.field == "half_val":
        proto.half_val.extend(np.ascontiguousarray(array).view(np.uint16).ravel().tolist())
    else:
        getattr(proto, entry.field).extend(array.ravel().tolist())


def map_fields(number: int, arrays: Mapping[str, Array], *, typed: bool = False) -> list[Any]:
    """A message's map of tensors, its field `number`, as it is on the wire: in pieces for `bytes.join`, with each array
    as `to_proto`'s.

    Building the messages takes longer than anything else about a small tensor, and copying than about a large one.
    """
    pieces: list[Any] = []
    for name, array in arrays.items():
        entry = element_type_of(array)
        if field := _whole_field(entry, typed=typed):
            pieces += (_map_entry(number, name, entry.code, array.shape, field), _memory(array, entry))
        else:
            content = to_proto(array, typed=typed).SerializeToString()
            pieces += (_entry_of(number, name, len(content)), content)
    return pieces


def _whole_field(entry: ElementType, *, typed: bool) -> int:
    """The number of the field that holds an array's bytes as they are in memory; 0 if its elements go in one by one."""
    if entry.code == tf.DT_STRING:
        return 0
    return _PACKED.get(entry.field, 0) if typed else tf.TensorProto.TENSOR_CONTENT_FIELD_NUMBER


@lru_cache(_MAX_SHAPES)
def _beginning(code: int, shape: tuple[int, ...], field: int) -> bytes:
    """A TensorProto of a type and a shape with no values yet; their bytes must follow if there is a `field` of them."""
    proto = tf.TensorProto(dtype=tf.DataType.ValueType(code))
    for size in shape:
        proto.tensor_shape.dim.add(size=size)
    # A scalar's shape is there, too.
    proto.tensor_shape.SetInParent()
    encoded = proto.SerializeToString()
    if field:
        encoded += _tag(field) + length(_content_bytes(code, shape))
    return encoded


@lru_cache(_MAX_SHAPES)
def _map_entry(number: int, name: str, code: int, shape: tuple[int, ...], field: int) -> bytes:
    """An entry of a map of tensors up to the bytes of `field`."""
    beginning = _beginning(code, shape, field)
    return _entry_of(number, name, len(beginning) + _content_bytes(code, shape)) + beginning


def _entry_of(number: int, name: str, size: int) -> bytes:
    """An entry of a map of messages, up to its message of `size` bytes."""
    key = name.encode()
    entry = b"".join((_tag(1), length(len(key)), key, _tag(2), length(size)))
    return b"".join((_tag(number), length(len(entry) + size), entry))


def _content_bytes(code: int, shape: tuple[int, ...]) -> int:
    return math.prod(shape) * _BY_CODE[code].numpy.itemsize


def _tag(field: int) -> bytes:
    return length(field << 3 | _LENGTH_DELIMITED)


def _memory(array: Array, entry: ElementType) -> Array:
    """The array with its elements in memory as they are on the wire: the same one, if they are."""
    return np.ascontiguousarray(array, _LITTLE_ENDIAN[entry.code])


def to_numpy(proto: tf.TensorProto, *, max_bytes: int = MAX_TENSOR_BYTES) -> Array:
    """The array that a TensorProto holds: strings as an object array of bytes, numbers possibly as a read-only view.

    As in TensorFlow, fewer values than the shape has elements repeat the last one. Raises TensorError for an unknown
    type, a negative or unknown dimension, more than `max_bytes`, or content that does not fit the shape.
    """
    entry = element_type(proto.dtype)
    encoded = proto.tensor_shape.SerializeToString()
    # Dimensions have names, as long as a caller likes.
    read = _read_shape if len(encoded) <= _MAX_SHAPE_BYTES else _read_shape.__wrapped__
    shape, count = read(encoded, entry.numpy.itemsize, max_bytes)
    if entry.code == tf.DT_STRING:
        return _strings(proto, shape, count)
    # Once: each look at a field of bytes copies it.
    if content := proto.tensor_content:
        if len(content) != count * entry.numpy.itemsize:
            raise TensorError(
                f"shape {list(shape)} of {entry.name} needs {count * entry.numpy.itemsize} bytes, not {len(content)}"
            )
        return np.ndarray(shape, _LITTLE_ENDIAN[entry.code], content)
    return _typed_values(proto, entry, count).reshape(shape)


@lru_cache(_MAX_SHAPES)
def _read_shape(encoded: bytes, itemsize: int, max_bytes: int) -> tuple[tuple[int, ...], int]:
    """The dimensions of a TensorShapeProto and the number of elements; TensorError if no tensor can have them."""
    proto = tf.TensorShapeProto.FromString(encoded)
    if proto.unknown_rank:
        raise TensorError("the shape has an unknown rank")
    shape = tuple([dim.size for dim in proto.dim])
    if len(shape) > MAX_DIMENSIONS:
        raise TensorError(f"{len(shape)} dimensions are too many")
    lowest, count = min(shape, default=1), math.prod(shape)
    if lowest < 0:
        raise TensorError(f"shape {list(shape)} has a negative dimension")
    # An empty dimension must not hide a huge one: numpy would still refuse the shape.
    extent = count if lowest else math.prod(max(size, 1) for size in shape)
    if extent * itemsize > max_bytes:
        raise TensorError(f"shape {list(shape)} is larger than {max_bytes} bytes")
    return shape, count


def _strings(proto: tf.TensorProto, shape: tuple[int, ...], count: int) -> Array:
    content = proto.tensor_content
    values = _string_list(content, count) if content else list(proto.string_val)
    return _padded(values, count, np.dtype(object), b"").reshape(shape)


def _string_list(content: bytes, count: int) -> list[bytes]:
    """The strings of a `tensor_content`: all lengths as varints, then all bytes (tsl's EncodeStringList)."""
    lengths, start = [], 0
    for _ in range(count):
        length, start = _read_varint(content, start)
        lengths.append(length)
    ends = list(itertools.accumulate(lengths, initial=start))
    if ends[-1] != len(content):
        raise TensorError(f"{count} strings need {ends[-1]} bytes, not {len(content)}")
    return [content[begin:end] for begin, end in itertools.pairwise(ends)]


def _typed_values(proto: tf.TensorProto, entry: ElementType, count: int) -> Array:
    raw = getattr(proto, entry.field)
    try:
        if entry.field == "half_val":
            values: Array = np.array(raw, np.uint16).view(entry.numpy)
        elif entry.field in ("scomplex_val", "dcomplex_val"):
            values = np.array(raw, entry.numpy.type(0).real.dtype).view(entry.numpy)
        else:
            values = np.array(raw, entry.numpy)
    except (OverflowError, ValueError) as error:
        raise TensorError(f"{entry.field} has values that are no {entry.name}") from error
    return values if len(values) == count else _padded(values, count, entry.numpy, 0)


def _padded(values: Array | list[bytes], count: int, dtype: np.dtype[Any], zero: object) -> Array:
    """`count` elements: the values and, where they are too few, the last of them again, or `zero` if there is none."""
    if len(values) > count:
        raise TensorError(f"the shape has {count} elements, not {len(values)}")
    array = np.empty(count, dtype)
    array[: len(values)] = values
    array[len(values) :] = values[-1] if len(values) else zero
    return array


def _as_bytes(value: object) -> bytes:
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode()
    raise TensorError(f"a string tensor cannot hold {type(value).__name__}")


def _read_varint(content: bytes, place: int) -> tuple[int, int]:
    """The 32-bit varint at `place`, and the place after it."""
    value = 0
    for shift in range(0, 32, 7):
        if place == len(content):
            break
        byte = content[place]
        value |= (byte & ~_MORE) << shift
        place += 1
        if not byte & _MORE:
            return value, place
    raise TensorError("a string's length is cut off or too long")
