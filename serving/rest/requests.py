"""REST bodies to the messages of the gRPC services, as TensorFlow Serving does it (json_tensor.cc)."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from serving.rest.errors import BadJson
from serving.rest.examples import example
from serving.rest.json_text import parse, quoted
from serving.rest.tensors import is_base64, to_array
from serving.wire import tensorflow_pb2 as tf
from serving.wire import tensorflow_serving_pb2 as tfs
from serving.wire.codec import MAX_DIMENSIONS, Array, ElementType, TensorError, element_type, fill_proto
from serving.wire.errors import ServingError

_SIGNATURE, _INSTANCES, _INPUTS = "signature_name", "instances", "inputs"
_CONTEXT, _EXAMPLES = "context", "examples"

InputsOf = Callable[[str], Mapping[str, tf.TensorInfo]]
"""The inputs of a signature by its key, the default one's for ""; may raise a ServingError."""


class PredictBody(NamedTuple):
    """What a Predict's body holds; `rows` says in which format the answer is to be."""

    signature: str
    inputs: dict[str, Array]
    rows: bool

    def message(self, spec: tfs.ModelSpec) -> tfs.PredictRequest:
        """The request of the gRPC service that asks the same of the model in `spec`."""
        request = tfs.PredictRequest(model_spec=spec)
        request.model_spec.signature_name = self.signature
        for alias, array in self.inputs.items():
            fill_proto(request.inputs[alias], array)
        return request


def read_predict(body: bytes, inputs_of: InputsOf) -> PredictBody:
    """The tensors of a body; BadJson, Unconvertible or what `inputs_of` raises."""
    document = _document(body)
    signature = _signature(document)
    types = {alias: _element_type(info) for alias, info in sorted(inputs_of(signature).items())}
    if not types:
        raise BadJson(f"Failed to get input map for signature: {signature or 'DEFAULT'}")
    if any(entry.name == "double" for entry in types.values()):
        document = parse(body, exact=True)
    if _INSTANCES not in document and _INPUTS not in document:
        raise BadJson(f"Missing '{_INPUTS}' or '{_INSTANCES}' key")
    if _INSTANCES in document and _INPUTS in document:
        raise BadJson(
            f"JSON Value: {quoted(document)} Not formatted correctly expecting only one of '{_INPUTS}' or "
            f"'{_INSTANCES}' keys to exist "
        )
    if _INPUTS in document:
        return PredictBody(signature, _columns(document[_INPUTS], types), rows=False)
    instances = document[_INSTANCES]
    if type(instances) is not list:
        raise BadJson(f"JSON Value: {quoted(document)} Excepting '{_INSTANCES}' to be an list/array")
    if not instances:
        raise BadJson(f"JSON Value: {quoted(document)} No values in '{_INSTANCES}' array")
    return PredictBody(signature, _rows(instances, types), rows=True)


def read_examples(body: bytes, request: tfs.ClassificationRequest | tfs.RegressionRequest) -> None:
    """Fills a request with the signature and the tf.Examples of a body; BadJson."""
    document = _document(body)
    request.model_spec.signature_name = _signature(document)
    listed: Any = request.input.example_list
    if _CONTEXT in document:
        listed = request.input.example_list_with_context
        listed.context.CopyFrom(example(document[_CONTEXT]))
    if _EXAMPLES not in document:
        raise BadJson(
            f"JSON Value: {quoted(document)} When method is classify, key '{_EXAMPLES}' is expected and was not found"
        )
    entries = document[_EXAMPLES]
    if type(entries) is not list:
        raise BadJson(f"JSON Value: {quoted(document)} Expecting '{_EXAMPLES}' value to be an list/array")
    if not entries:
        raise BadJson(f"JSON Value: {quoted(document)} '{_EXAMPLES}' value is an empty array")
    listed.examples.extend(map(example, entries))


def _document(body: bytes) -> dict[str, Any]:
    document = parse(body)
    if type(document) is not dict:
        raise BadJson(f"JSON Value: {quoted(document)} Is not object")
    return document


def _signature(document: dict[str, Any]) -> str:
    signature = document.get(_SIGNATURE, "")
    if type(signature) is not str:
        raise BadJson(
            f"JSON Value: {quoted(document)} not formatted correctly. '{_SIGNATURE}' key must be a string value."
        )
    return signature


def _element_type(info: tf.TensorInfo) -> ElementType:
    try:
        return element_type(info.dtype)
    except TensorError as error:
        raise BadJson(str(error)) from error


def _columns(value: Any, types: Mapping[str, ElementType]) -> dict[str, Array]:
    """The tensors of `inputs`: one for each name, or the only one's value alone."""
    if type(value) is not dict or is_base64(value):
        if len(types) > 1:
            raise BadJson(
                "inputs is a plain value/list, but expecting an object as multiple input tensors required as per "
                "tensorinfo_map"
            )
        return {alias: to_array(value, entry) for alias, entry in types.items()}
    for alias in types:
        if alias not in value:
            raise BadJson(f"Missing named input: {alias} in 'inputs' object.")
    return {alias: to_array(value[alias], entry) for alias, entry in types.items()}


def _rows(instances: list[Any], types: Mapping[str, ElementType]) -> dict[str, Array]:
    """The tensors of `instances`, with a row for each: an object of all names, or the only one's value."""
    if type(instances[0]) is not dict and len(types) > 1:
        raise BadJson(
            "instances is a plain list, but expecting list of objects as multiple input tensors required as per "
            "tensorinfo_map"
        )
    if not _is_object(instances[0]):
        return _plain_rows(instances, types)
    if all(type(instance) is dict and instance.keys() == types.keys() for instance in instances):
        try:
            return {
                alias: to_array([instance[alias] for instance in instances], entry) for alias, entry in types.items()
            }
        except ServingError:
            # Said of the row that it is in, below.
            pass
    return _named_rows(instances, types)


def _plain_rows(instances: list[Any], types: Mapping[str, ElementType]) -> dict[str, Array]:
    alias, entry = next(iter(types.items()))
    try:
        return {alias: to_array(instances, entry)}
    except ServingError:
        # Said of the row that it is in, below.
        pass
    rows = _Rows(types)
    for index, instance in enumerate(instances):
        if _is_object(instance):
            raise BadJson(f"Expecting value/list but got object at item {index} of input list")
        try:
            rows.add(alias, instance)
        except ServingError as error:
            raise BadJson(f"Failed to process element: {index} of 'instances' list. Error: {_status(error)}") from error
    return rows.arrays()


def _named_rows(instances: list[Any], types: Mapping[str, ElementType]) -> dict[str, Array]:
    rows = _Rows(types)
    for index, instance in enumerate(instances):
        if not _is_object(instance):
            raise BadJson(f"Expecting object but got list at item {index} of input list")
        for alias, value in instance.items():
            try:
                rows.add(alias, value)
            except ServingError as error:
                raise BadJson(
                    f"Failed to process element: {index} key: {alias} of 'instances' list. Error: {_status(error)}"
                ) from error
        if instance.keys() != types.keys():
            raise BadJson(
                f"Failed to process element: {index} of 'instances' list. JSON object: {quoted(instance)} keys must "
                f"be equal to: {','.join(types)}"
            )
    return rows.arrays()


class _Rows:
    """Rows gathered one by one, each of the shape of the first."""

    def __init__(self, types: Mapping[str, ElementType]) -> None:
        self._types = types
        self._rows: dict[str, list[Array]] = {}

    def add(self, alias: str, value: Any) -> None:
        """Adds a row; BadJson or Unconvertible."""
        if alias not in self._types:
            raise BadJson(f"JSON object: does not have named input: {alias}")
        # The rows gain a dimension.
        row = to_array(value, self._types[alias], max_dimensions=MAX_DIMENSIONS - 1)
        first = self._rows.setdefault(alias, [row])[0]
        if row.size != first.size:
            raise BadJson(f"Expecting tensor size: {first.size} but got: {row.size}")
        if row.shape != first.shape:
            raise BadJson(f"Expecting shape {_text(first.shape)} but got: {_text(row.shape)}")
        if row is not first:
            self._rows[alias].append(row)

    def arrays(self) -> dict[str, Array]:
        """The tensors, with the rows along the first dimension."""
        return {alias: np.stack(rows) for alias, rows in self._rows.items()}


def _is_object(value: Any) -> bool:
    return type(value) is dict and not is_base64(value)


def _text(shape: tuple[int, ...]) -> str:
    return f"[{','.join(map(str, shape))}]"


def _status(error: ServingError) -> str:
    return f"{error.code.name}: {error}"
