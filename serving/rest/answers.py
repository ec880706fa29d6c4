"""The services' answers as JSON, laid out to the byte as TensorFlow Serving's (json_tensor.cc).

Its writer indents by four spaces, but leaves the arrays within a row on one line. A text's `depth` is the number of
objects and arrays around it.
"""

import base64
import math
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
from google.protobuf.json_format import MessageToJson
from google.protobuf.message import Message

from serving.rest.errors import Unprintable
from serving.rest.json_text import decimals, string
from serving.wire import tensorflow_serving_pb2 as tfs
from serving.wire.codec import Array, element_type_of

_BYTES_SUFFIX = "_bytes"
_INTEGERS = ("int32", "int16", "int8", "uint8", "int64", "uint32", "uint64")

_Join = Callable[[Sequence[str], int], str]


def rows(outputs: Mapping[str, Array]) -> str:
    """`predictions`: a value for each row, or an object by name if there are several outputs; Unprintable."""
    size = _batch_size(outputs)
    if len(outputs) == 1:
        ((alias, array),) = outputs.items()
        values = _nested(alias, array, 1, 2, _on_one_line)
        return _answer("predictions", f"[{', '.join(values)}\n    ]")
    columns = {alias: _nested(alias, array, 1, 3, _on_one_line) for alias, array in sorted(outputs.items())}
    objects = [_object({alias: values[row] for alias, values in columns.items()}, 2) for row in range(size)]
    return _answer("predictions", _on_lines(objects, 1))


def columns(outputs: Mapping[str, Array]) -> str:
    """`outputs`: the tensor, or an object of tensors by name if there are several; Unprintable."""
    if not outputs:
        raise Unprintable("Cannot convert empty tensor map to JSON")
    if len(outputs) == 1:
        ((alias, array),) = outputs.items()
        return _answer("outputs", _nested(alias, array, 0, 1, _on_lines)[0])
    tensors = {alias: _nested(alias, array, 0, 2, _on_lines)[0] for alias, array in sorted(outputs.items())}
    return _answer("outputs", _object(tensors, 1))


def classification(result: tfs.ClassificationResult) -> str:
    """`results`: for each example its classes, each [label, score]."""
    examples = []
    for classes in (entry.classes for entry in result.classifications):
        scores = _floats(entry.score for entry in classes)
        examples.append(
            _on_one_line([f"[{string(entry.label)}, {score}]" for entry, score in zip(classes, scores, strict=True)], 2)
        )
    return _answer("results", f"[{', '.join(examples)}\n    ]")


def regression(result: tfs.RegressionResult) -> str:
    """`results`: a value for each example."""
    return _answer("results", _on_one_line(_floats(entry.value for entry in result.regressions), 1))


def status(response: tfs.GetModelStatusResponse) -> str:
    """The states of versions."""
    return _message(response) + "\n"


def metadata(response: tfs.GetModelMetadataResponse) -> str:
    """The signatures of a model."""
    signatures = tfs.SignatureDefMap()
    response.metadata["signature_def"].Unpack(signatures)
    spec, definitions = (_message(message) for message in (response.model_spec, signatures))
    return f'{{\n"model_spec":{spec}\n,\n"metadata": {{"signature_def": {definitions}\n}}\n}}\n'


def error(text: str) -> str:
    """What went wrong."""
    return _answer("error", string(text))


def _answer(key: str, text: str) -> str:
    return _object({key: text}, 0)


def _message(message: Message) -> str:
    return MessageToJson(
        message,
        indent=1,
        preserving_proto_field_name=True,
        always_print_fields_with_no_presence=True,
        ensure_ascii=False,
    )


def _batch_size(outputs: Mapping[str, Array]) -> int:
    if not outputs:
        raise Unprintable("Cannot convert empty tensor map to JSON")
    expected = 0
    for alias, array in outputs.items():
        if not array.ndim:
            raise Unprintable(f"Tensor name: {alias} has no shape information ")
        size = len(array)
        if not size:
            raise Unprintable(f"Tensor name: {alias} has invalid batch size: {size}")
        if expected not in (0, size):
            raise Unprintable(f"Tensor name: {alias} has inconsistent batch size: {size} expecting: {expected}")
        expected = size
    return expected


def _nested(alias: str, array: Array, outer: int, depth: int, join: _Join) -> list[str]:
    """The texts, each to stand at `depth`, of what lies below the first `outer` dimensions; Unprintable."""
    texts = _elements(alias, array, depth + array.ndim - outer)
    for axis in reversed(range(outer, array.ndim)):
        size = array.shape[axis]
        texts = [
            join(texts[index * size : (index + 1) * size], depth + axis - outer)
            for index in range(math.prod(array.shape[:axis]))
        ]
    return texts


def _elements(alias: str, array: Array, depth: int) -> list[str]:
    entry, flat = element_type_of(array), array.ravel()
    if entry.name in ("float", "double"):
        return decimals(flat)
    if entry.name in _INTEGERS:
        return list(map(str, flat.tolist()))
    if entry.name == "bool":
        return ["true" if value else "false" for value in flat.tolist()]
    if entry.name != "string":
        raise Unprintable(f"Failed to write JSON value for tensor type: {entry.name}")
    if alias.endswith(_BYTES_SUFFIX):
        return [_object({"b64": f'"{base64.b64encode(value).decode()}"'}, depth) for value in flat.tolist()]
    # What is no UTF-8 must not cost the caller all the others.
    return [string(value.decode(errors="replace")) for value in flat.tolist()]


def _floats(values: Iterable[float]) -> list[str]:
    return decimals(np.fromiter(values, np.float32))


def _object(members: Mapping[str, str], depth: int) -> str:
    inner = ",".join(f"\n{_indent(depth + 1)}{string(key)}: {text}" for key, text in members.items())
    return f"{{{inner}\n{_indent(depth)}}}"


def _on_lines(texts: Sequence[str], depth: int) -> str:
    if not texts:
        return "[]"
    inner = ",".join(f"\n{_indent(depth + 1)}{text}" for text in texts)
    return f"[{inner}\n{_indent(depth)}]"


def _on_one_line(texts: Sequence[str], _depth: int) -> str:
    return f"[{', '.join(texts)}]"


def _indent(depth: int) -> str:
    return "    " * depth
