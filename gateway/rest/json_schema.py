"""JSON schemas: of protobuf messages in their JSON form, and of tensors."""

from typing import Any

import numpy as np
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from gateway.backend import TensorSpec

Schema = dict[str, Any]

BASE64 = {"type": "string", "contentEncoding": "base64"}
IMAGE: Schema = {
    "type": "object",
    "description": "An encoded image, preprocessed as the model's contract says.",
    "properties": {"b64": BASE64},
    "required": ["b64"],
    "additionalProperties": False,
}
_NUMBER = {"anyOf": [{"type": "number"}, {"enum": ["NaN", "Infinity", "-Infinity"]}]}
_INTEGER = {"type": "integer"}
_LONG = {"type": ["string", "integer"], "format": "int64"}
_SCALARS: dict[int, Schema] = {
    FieldDescriptor.CPPTYPE_BOOL: {"type": "boolean"},
    FieldDescriptor.CPPTYPE_STRING: {"type": "string"},
    FieldDescriptor.CPPTYPE_FLOAT: _NUMBER,
    FieldDescriptor.CPPTYPE_DOUBLE: _NUMBER,
    FieldDescriptor.CPPTYPE_INT32: _INTEGER,
    FieldDescriptor.CPPTYPE_UINT32: _INTEGER,
    FieldDescriptor.CPPTYPE_INT64: _LONG,
    FieldDescriptor.CPPTYPE_UINT64: _LONG,
}
# Messages whose JSON is not an object of their fields.
_WELL_KNOWN: dict[str, Schema] = {
    "google.protobuf.Duration": {"type": "string", "examples": ["1.5s"]},
    "google.protobuf.Timestamp": {"type": "string", "format": "date-time"},
}


def add_message(message: Descriptor, schemas: dict[str, Schema]) -> Schema:
    """A reference to a message's schema, which is added to `schemas` with those of all that it holds."""
    if message.full_name in _WELL_KNOWN:
        return _WELL_KNOWN[message.full_name]
    if message.full_name not in schemas:
        schema = schemas[message.full_name] = {"type": "object", "properties": {}}
        schema["properties"] = {field.json_name: _field(field, schemas) for field in message.fields}
    return {"$ref": f"#/components/schemas/{message.full_name}"}


def _field(field: FieldDescriptor, schemas: dict[str, Schema]) -> Schema:
    inner = field.message_type
    if inner is not None and inner.GetOptions().map_entry:
        return {"type": "object", "additionalProperties": _field(inner.fields_by_name["value"], schemas)}
    if inner is not None:
        schema = add_message(inner, schemas)
    elif field.enum_type is not None:
        schema = {"enum": [value.name for value in field.enum_type.values]}
    else:
        schema = BASE64 if field.type == FieldDescriptor.TYPE_BYTES else _SCALARS[field.cpp_type]
    return {"type": "array", "items": schema} if field.is_repeated else schema


def tensor(spec: TensorSpec, *, rows: bool) -> Schema:
    """A tensor as nested lists; with `rows` without its first dimension."""
    shape = spec.shape
    schema = _element(spec.dtype)
    if shape is None:
        return {"description": f"{spec.dtype} of any shape"}
    for size in reversed(shape[1:] if rows else shape):
        schema = {"type": "array", "items": schema}
        if size >= 0:
            schema |= {"minItems": size, "maxItems": size}
    return schema


def _element(dtype: np.dtype[Any]) -> Schema:
    if dtype.hasobject:
        return {"anyOf": [{"type": "string"}, {"type": "object", "properties": {"b64": BASE64}, "required": ["b64"]}]}
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        return {"type": "integer", "minimum": int(limits.min), "maximum": int(limits.max)}
    return {"type": "boolean"} if dtype.kind == "b" else {"type": "number"}
