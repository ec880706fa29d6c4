"""Our copies of foreign messages are what tensorflow, tensorflow-serving-api and tritonclient have."""

from collections.abc import Iterator
from typing import Any

import pytest
from google.protobuf import descriptor_pool
from tensorflow.core.protobuf import error_codes_pb2, meta_graph_pb2  # noqa: F401  # fills the default pool
from tensorflow_serving.apis import model_service_pb2, prediction_log_pb2, prediction_service_pb2  # noqa: F401  # fills the default pool
from tritonclient.grpc import service_pb2  # noqa: F401  # fills the default pool

from serving.wire import open_inference_pb2, tensorflow_error_pb2, tensorflow_pb2, tensorflow_serving_pb2

MODULES = (open_inference_pb2, tensorflow_error_pb2, tensorflow_pb2, tensorflow_serving_pb2)
OURS = [module.DESCRIPTOR for module in MODULES]
THEIRS = descriptor_pool.Default()


def nested(message: Any) -> Iterator[Any]:
    """A message and those within it."""
    yield message
    for inner in message.nested_types:
        yield from nested(inner)


# tensorflow-serving-api has no class for this one.
UNPUBLISHED = {"tensorflow.serving.SSLConfig"}
MESSAGES = [
    inner
    for file in OURS
    for message in file.message_types_by_name.values()
    if message.full_name not in UNPUBLISHED
    for inner in nested(message)
]
ENUMS = [enum for file in OURS for enum in file.enum_types_by_name.values()]
ENUMS += [enum for message in MESSAGES for enum in message.enum_types]
SERVICES = [service for file in OURS for service in file.services_by_name.values()]


def full_name(descriptor: Any) -> str:
    """The name that a descriptor goes by."""
    return descriptor.full_name


def facts(field: Any) -> dict[str, object]:
    """All of a field that shows on the wire, in JSON or in the API."""
    return {
        "name": field.name,
        "number": field.number,
        "type": field.type,
        "repeated": field.is_repeated,
        "required": field.is_required,
        "packed": field.is_packed,
        "presence": field.has_presence,
        "json name": field.json_name,
        "oneof": field.containing_oneof and field.containing_oneof.name,
        "message": field.message_type and field.message_type.full_name,
        "enum": field.enum_type and field.enum_type.full_name,
    }


@pytest.mark.parametrize("ours", MESSAGES, ids=full_name)
def test_messages(ours: Any) -> None:
    """Every field has the same name, number, type, label, JSON name and oneof; a map is a map."""
    theirs = THEIRS.FindMessageTypeByName(ours.full_name)
    assert theirs is not ours
    assert ours.GetOptions().map_entry == theirs.GetOptions().map_entry
    assert ours.fields or ours.nested_types or not theirs.fields
    for field in ours.fields:
        assert facts(field) == facts(theirs.fields_by_name[field.name])


@pytest.mark.parametrize("ours", ENUMS, ids=full_name)
def test_enums(ours: Any) -> None:
    """Every enum value has the same number."""
    theirs = THEIRS.FindEnumTypeByName(ours.full_name)
    assert {value.name: value.number for value in ours.values}.items() <= {
        value.name: value.number for value in theirs.values
    }.items()


@pytest.mark.parametrize("ours", SERVICES, ids=full_name)
def test_services(ours: Any) -> None:
    """Every RPC has the same name, request, response and streaming."""
    theirs = THEIRS.FindServiceByName(ours.full_name)
    for method in ours.methods:
        twin = theirs.methods_by_name[method.name]
        assert (method.input_type.full_name, method.output_type.full_name) == (
            twin.input_type.full_name,
            twin.output_type.full_name,
        )
        assert (method.client_streaming, method.server_streaming) == (twin.client_streaming, twin.server_streaming)
