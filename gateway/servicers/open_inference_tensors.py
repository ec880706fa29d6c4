"""Tensors between the Open Inference Protocol and numpy."""

import math
import struct
import sys
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

import ml_dtypes
import numpy as np

from gateway.backend import Array, type_name
from gateway.errors import InvalidInput, Unsupported
from serving.wire import open_inference_pb2 as oip
from serving.wire.lengths import length

# Type of the elements and the field of InferTensorContents that holds them; 16-bit floats travel raw only.
_TYPES: dict[str, tuple["np.dtype[Any]", str]] = {
    "BOOL": (np.dtype(np.bool_), "bool_contents"),
    "UINT8": (np.dtype(np.uint8), "uint_contents"),
    "UINT16": (np.dtype(np.uint16), "uint_contents"),
    "UINT32": (np.dtype(np.uint32), "uint_contents"),
    "UINT64": (np.dtype(np.uint64), "uint64_contents"),
    "INT8": (np.dtype(np.int8), "int_contents"),
    "INT16": (np.dtype(np.int16), "int_contents"),
    "INT32": (np.dtype(np.int32), "int_contents"),
    "INT64": (np.dtype(np.int64), "int64_contents"),
    "FP16": (np.dtype(np.float16), ""),
    "BF16": (np.dtype(ml_dtypes.bfloat16), ""),
    "FP32": (np.dtype(np.float32), "fp32_contents"),
    "FP64": (np.dtype(np.float64), "fp64_contents"),
    "BYTES": (np.dtype(object), "bytes_contents"),
}
_NAMES = {dtype: name for name, (dtype, _) in _TYPES.items()}
_BY_NUMBER = {dtype.num: name for dtype, name in _NAMES.items()}
_LENGTH = struct.Struct("<I")
_MAX_DIMENSIONS = 32
_BIG_ENDIAN = ">" if sys.byteorder == "little" else "="
# Fields of ModelInferResponse: id and raw_output_contents.
_ID, _RAW_CONTENTS = b"\x1a", b"\x32"

Output = Array | list[str]
"""A tensor, or texts: BYTES of shape [n]."""
_Layout = tuple[tuple[str, str, tuple[int, ...]], ...]


def datatype(dtype: "np.dtype[Any]") -> str:
    """The protocol's name of a numpy type; empty for one that it does not carry."""
    return _NAMES.get(dtype, "")


def inputs(request: oip.ModelInferRequest) -> dict[str, Array]:
    """The arrays of a request by name; BYTES as an object array of bytes. InvalidInput says what does not fit."""
    raw = request.raw_input_contents
    if raw and len(raw) != len(request.inputs):
        raise _malformed(f"there are {len(request.inputs)} inputs and {len(raw)} raw_input_contents", "inputs")
    arrays: dict[str, Array] = {}
    for place, tensor in enumerate(request.inputs):
        field = f"inputs[{place}]"
        if tensor.name in arrays:
            raise _malformed(f"the input {tensor.name[:100]!r} comes twice", field)
        if "shared_memory_region" in tensor.parameters:
            raise InvalidInput(
                "the input lies in shared memory; expected its contents", reason="SHARED_MEMORY", field=field
            )
        if raw and tensor.HasField("contents"):
            raise _malformed("an input has contents beside raw_input_contents; expected one of them", field)
        arrays[tensor.name] = _to_numpy(tensor, raw[place] if raw else None, field)
    return arrays


def response(model: str, version: str, id_: str, outputs: Mapping[str, Output], *, raw: bool) -> bytes:
    """A ModelInferResponse on the wire: outputs in raw_output_contents if `raw`, else in typed contents if all can be.

    Unsupported for a type that does not travel.
    """
    layout = tuple([(name, *_described(name, output)) for name, output in outputs.items()])
    if not raw and all(_TYPES[kind][1] for _, kind, _ in layout):
        message = _without_contents(model, version, layout)
        message.id = id_
        for tensor, output in zip(message.outputs, outputs.values(), strict=True):
            values = [text.encode() for text in output] if isinstance(output, list) else output.ravel().tolist()
            getattr(tensor.contents, _TYPES[tensor.datatype][1]).extend(values)
        return message.SerializeToString()
    parts = [_beginning(model, version, layout)]
    if id_:
        encoded = id_.encode()
        parts += (_ID, length(len(encoded)), encoded)
    for output in outputs.values():
        content = _raw(output)
        parts += (_RAW_CONTENTS, length(len(content)), content)
    return b"".join(parts)


def _described(name: str, output: Output) -> tuple[str, tuple[int, ...]]:
    """The datatype and the shape of an output."""
    if isinstance(output, list):
        return "BYTES", (len(output),)
    # A dtype takes long to hash, its number does not; some types have two.
    kind = _BY_NUMBER.get(output.dtype.num) or datatype(output.dtype)
    if not kind:
        raise Unsupported(f"the output {name!r} is {type_name(output.dtype)}, which this protocol does not carry")
    return kind, output.shape


def _without_contents(model: str, version: str, layout: _Layout) -> oip.ModelInferResponse:
    message = oip.ModelInferResponse(model_name=model, model_version=version)
    for name, kind, shape in layout:
        message.outputs.add(name=name, datatype=kind, shape=shape)
    return message


@lru_cache(1024)
def _beginning(model: str, version: str, layout: _Layout) -> bytes:
    """A response but for its id and its contents: the same from call to call."""
    return _without_contents(model, version, layout).SerializeToString()


def _raw(output: Output) -> bytes:
    if isinstance(output, list):
        return _joined([text.encode() for text in output])
    if output.dtype == object:
        return _joined(output.ravel().tolist())
    if output.dtype.byteorder == _BIG_ENDIAN:
        output = output.astype(output.dtype.newbyteorder("<"))
    return output.tobytes()


def _joined(values: list[bytes]) -> bytes:
    return b"".join([_LENGTH.pack(len(value)) + value for value in values])


def _to_numpy(tensor: oip.ModelInferRequest.InferInputTensor, raw: bytes | None, field: str) -> Array:
    if tensor.datatype not in _TYPES:
        raise InvalidInput(
            f"the datatype {tensor.datatype[:100]!r} is not known; expected one of {', '.join(_TYPES)}",
            reason="TENSOR_TYPE_UNKNOWN",
            field=f"{field}.datatype",
        )
    dtype, contents = _TYPES[tensor.datatype]
    shape = tuple(tensor.shape)
    if len(shape) > _MAX_DIMENSIONS or any(size < 0 for size in shape):
        raise _malformed(f"the shape {list(shape[:_MAX_DIMENSIONS])} is impossible", f"{field}.shape")
    count = math.prod(shape)
    try:
        if raw is not None and tensor.datatype != "BYTES":
            _check_length(shape, len(raw), count * dtype.itemsize, "bytes", field)
            return np.frombuffer(raw, dtype.newbyteorder("<")).reshape(shape)
        values = list(_strings(raw, field)) if raw is not None else _typed_values(tensor, contents, field)
        _check_length(shape, len(values), count, "elements", field)
        if dtype.hasobject:
            array = np.empty(count, object)
            array[:] = values
            return array.reshape(shape)
        return np.array(values, dtype).reshape(shape)
    except (OverflowError, ValueError):
        # Or an empty dimension hides one that is too large for numpy.
        raise _malformed(f"a value is out of the range of {tensor.datatype}", field) from None


def _typed_values(tensor: oip.ModelInferRequest.InferInputTensor, wanted: str, field: str) -> list[Any]:
    filled = [descriptor.name for descriptor, _ in tensor.contents.ListFields()]
    if any(name != wanted for name in filled):
        expected = f"contents.{wanted}" if wanted else "raw_input_contents"
        raise _malformed(f"{tensor.datatype} cannot stand in {', '.join(filled)}; expected {expected}", field)
    # From a list: from a protobuf container numpy would wrap around what is out of range.
    return list(getattr(tensor.contents, wanted)) if wanted else []


def _strings(raw: bytes, field: str) -> Iterator[bytes]:
    """The elements of raw BYTES: each after its length, four bytes, little-endian."""
    place = 0
    while place < len(raw):
        start = place + _LENGTH.size
        length = _LENGTH.unpack_from(raw, place)[0] if start <= len(raw) else len(raw)
        place = start + length
        if place > len(raw):
            raise _malformed("an element of BYTES is cut short; expected 4 bytes of length before each", field)
        yield raw[start:place]


def _check_length(shape: tuple[int, ...], there: int, expected: int, unit: str, field: str) -> None:
    if there != expected:
        raise _malformed(f"the shape {list(shape)} needs {expected} {unit}, there are {there}", field)


def _malformed(message: str, field: str) -> InvalidInput:
    return InvalidInput(message, reason="TENSOR_MALFORMED", field=field)
