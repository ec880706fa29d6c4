"""JSON values to arrays, as TensorFlow Serving does it (json_tensor.cc).

What is regular, nearly all there is, goes through numpy whole. What is not is walked element by element, which finds
and names what is wrong; or finds nothing, as with base64.
"""

import base64
import binascii
from itertools import chain
from typing import Any

import numpy as np

from serving.rest.errors import BadJson, Unconvertible
from serving.rest.json_text import quoted, type_name
from serving.wire.codec import MAX_DIMENSIONS, Array, ElementType

_BASE64_KEY = "b64"
_FLOATS = ("float", "double")
_INTEGERS = ("int32", "int16", "int8", "uint8", "int64", "uint32", "uint64")
_WHITESPACE = str.maketrans("", "", " \t\r\n")
_INT64_MIN, _UINT64_MAX = -(2**63), 2**64 - 1


def to_array(value: Any, entry: ElementType, *, max_dimensions: int = MAX_DIMENSIONS) -> Array:
    """The array that a value, a scalar or lists of lists, stands for; BadJson or Unconvertible."""
    shape = _shape(value)
    if len(shape) > max_dimensions:
        raise BadJson(f"lists are nested deeper than {max_dimensions} levels")
    leaves = _leaves(value, shape)
    array = None if leaves is None else _whole(leaves, entry)
    if array is None:
        found: list[Any] = []
        _walk(value, 0, shape, entry, found)
        # Filled and not given to np.array, which would look into strings.
        array = np.empty(len(found), entry.numpy)
        array[:] = found
    return array.reshape(shape)


def is_base64(value: Any) -> bool:
    """Whether a value is {"b64": "…"}."""
    return type(value) is dict and value.keys() == {_BASE64_KEY} and type(value[_BASE64_KEY]) is str


def _shape(value: Any) -> tuple[int, ...]:
    """The shape, as far as first elements tell."""
    shape = []
    while type(value) is list:
        shape.append(len(value))
        if not value:
            break
        value = value[0]
    return tuple(shape)


def _leaves(value: Any, shape: tuple[int, ...]) -> list[Any] | None:
    """The elements in order; None if lists differ in length."""
    if not shape:
        return [value]
    for size in shape[1:]:
        if not all(type(item) is list and len(item) == size for item in value):
            return None
        value = list(chain.from_iterable(value))
    return list(value)


def _whole(leaves: list[Any], entry: ElementType) -> Array | None:
    """The elements as a one-dimensional array; None if not all are, at first sight, of the type."""
    types = set(map(type, leaves))
    if entry.name in _FLOATS and types <= {float, int}:
        return _whole_floats(leaves, entry, integers=int in types)
    if entry.name in _INTEGERS and types <= {int}:
        try:
            return np.array(leaves, entry.numpy)
        except OverflowError:
            return None
    if entry.name == "bool" and types <= {bool}:
        return np.array(leaves, np.bool_)
    if entry.name == "string" and types <= {str}:
        return np.array([leaf.encode() for leaf in leaves], object)
    return None


def _whole_floats(leaves: list[Any], entry: ElementType, *, integers: bool) -> Array | None:
    try:
        doubles = np.array(leaves, np.float64)
    except OverflowError:
        return None
    finite = np.abs(doubles[np.isfinite(doubles)])
    if finite.size and finite.max() > (_max_integer(entry) if integers else np.finfo(entry.numpy).max):
        return None
    return doubles.astype(entry.numpy)


def _walk(value: Any, level: int, shape: tuple[int, ...], entry: ElementType, found: list[Any]) -> None:
    """Appends the elements below `value` to `found`, or says what is wrong with the first that is."""
    if type(value) is not list:
        if level != len(shape):
            raise BadJson(
                f"JSON Value: {quoted(value)} found at incorrect level: {level + 1} in the JSON DOM. Expected at "
                f"level: {len(shape)}"
            )
        found.append(_element(value, entry))
        return
    if level >= len(shape):
        raise BadJson(f"Encountered list at unexpected level: {level} expected < {len(shape)}")
    if len(value) != shape[level]:
        raise BadJson(
            f"Encountered list at unexpected size: {len(value)} at level: {level} expected size: {shape[level]}"
        )
    for item in value:
        _walk(item, level + 1, shape, entry, found)


def _element(value: Any, entry: ElementType) -> Any:
    if type(value) is dict and entry.name == "string":
        return decoded(value)
    if type(value) is dict:
        raise _wrong_type(value, entry)
    if entry.name in _FLOATS:
        return _float(value, entry)
    if entry.name in _INTEGERS:
        limits = np.iinfo(entry.numpy)
        # TFS lets what 8 or 16 bits cannot hold wrap around.
        if type(value) is not int or not limits.min <= value <= limits.max:
            raise _wrong_type(value, entry)
        return value
    if entry.name == "string" and type(value) is str:
        return value.encode()
    if entry.name == "bool" and type(value) is bool:
        return value
    if entry.name in ("string", "bool"):
        raise _wrong_type(value, entry)
    raise Unconvertible(f"Conversion of JSON Value: {quoted(value)} to type: {entry.name}")


def decoded(value: Any) -> bytes:
    """The bytes of {"b64": "…"}, padded or not; BadJson."""
    if not is_base64(value):
        raise BadJson(f"JSON Value: {quoted(value)} not formatted correctly for base64 data")
    text = value[_BASE64_KEY].translate(_WHITESPACE).rstrip("=")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadJson("Unable to base64 decode") from error


def _float(value: Any, entry: ElementType) -> float:
    if type(value) not in (int, float):
        raise _wrong_type(value, entry)
    # To RapidJSON an integer of more than 64 bits is a double.
    integer = type(value) is int and _INT64_MIN <= value <= _UINT64_MAX
    number = float(value)
    limit = _max_integer(entry) if integer else float(np.finfo(entry.numpy).max)
    if np.isfinite(number) and abs(value if integer else number) > limit:
        raise BadJson(f"Cannot convert JSON value: {quoted(value)} to {entry.name} without loss of precision.")
    return number


def _max_integer(entry: ElementType) -> int:
    """The integers up to which all are floats."""
    return int(2 ** (np.finfo(entry.numpy).nmant + 1) - 1)


def _wrong_type(value: Any, entry: ElementType) -> BadJson:
    return BadJson(f"JSON Value: {quoted(value)} Type: {type_name(value)} is not of expected type: {entry.name}")
