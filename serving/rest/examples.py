"""tf.Examples from JSON, as TensorFlow Serving reads them (json_tensor.cc): {"feature": value or list of values, …}."""

from typing import Any

from serving.rest.errors import BadJson
from serving.rest.json_text import FLOAT_MAX, quoted, type_name
from serving.rest.tensors import decoded, is_base64
from serving.wire import tensorflow_pb2 as tf

_INT64 = range(-(2**63), 2**63)
_KINDS = {"bytes_list": "bytes", "float_list": "float", "int64_list": "int64"}


def example(value: Any) -> tf.Example:
    """The Example that an object stands for; BadJson."""
    if type(value) is not dict:
        raise BadJson(f"Example must be JSON object but got JSON {type_name(value)}")
    made = tf.Example()
    for name, content in value.items():
        # Mentioned, it is there, even if it is empty.
        feature = made.features.feature[name]
        for element in content if type(content) is list else [content]:
            _add(feature, name, element)
    return made


def _add(feature: tf.Feature, name: str, element: Any) -> None:
    kind, value = _element(name, element)
    if feature.WhichOneof("kind") not in (None, kind):
        expected = _KINDS[feature.WhichOneof("kind") or ""]
        raise BadJson(f"Unexpected element type in feature: {name} expecting type: {expected}")
    getattr(feature, kind).value.append(value)


def _element(name: str, element: Any) -> tuple[str, Any]:
    """The kind of list that an element belongs to, and what is put there."""
    if type(element) is str:
        return "bytes_list", element.encode()
    if is_base64(element):
        return "bytes_list", decoded(element)
    if type(element) in (bool, int):
        if element not in _INT64:
            raise BadJson(f"Feature: {name} has uint64 element. Only int64 is supported.")
        return "int64_list", int(element)
    if type(element) is float:
        if FLOAT_MAX < abs(element) < float("inf"):
            raise BadJson(f"Cannot convert JSON value: {quoted(element)} to float without loss of precision.")
        return "float_list", element
    raise BadJson(f"Feature: {name} has element with unexpected JSON type: {type_name(element)}")
