"""Any bytes on any method of any protocol are answered with a documented code, and the gateway stays up."""

from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serving.wire import open_inference_pb2 as oip
from serving.wire import tensorflow_serving_pb2 as tfs
from tensorgate.v1 import inference_service_pb2 as pb
from tests.integration.conftest import TIMEOUT, Gateway

# What a request can be answered with, whatever is in it. INTERNAL and UNKNOWN are nobody's fault but ours.
DOCUMENTED = {"OK", "INVALID_ARGUMENT", "NOT_FOUND", "FAILED_PRECONDITION", "RESOURCE_EXHAUSTED", "UNIMPLEMENTED"}
EXAMPLES = 12
FIELD = FieldDescriptor
# Names that lead somewhere, so that examples get beyond the first check.
TEXTS = st.sampled_from(
    [
        "",
        "digits",
        "image",
        "1",
        "serving_default",
        "contract",
        "probabilities",
        "label",
        "FP32",
        "BYTES",
        "signature_def",
    ]
) | st.text(max_size=8)
NUMBERS = st.sampled_from([0, 1, 2, 28, -1])
KINDS: dict[int, st.SearchStrategy[Any]] = {
    FIELD.TYPE_STRING: TEXTS,
    FIELD.TYPE_BYTES: st.binary(max_size=16) | st.just(b"\0" * 3136),
    FIELD.TYPE_BOOL: st.booleans(),
    FIELD.TYPE_FLOAT: st.floats(width=32),
    FIELD.TYPE_DOUBLE: st.floats(),
    FIELD.TYPE_INT32: NUMBERS | st.integers(-(2**31), 2**31 - 1),
    FIELD.TYPE_INT64: NUMBERS | st.integers(-(2**63), 2**63 - 1),
    FIELD.TYPE_UINT32: st.integers(0, 2**32 - 1),
    FIELD.TYPE_UINT64: st.integers(0, 2**64 - 1),
}


def value(draw: Callable[..., Any], field: Any, depth: int) -> Any:
    """A value of a field."""
    if field.type == FIELD.TYPE_ENUM:
        return draw(st.sampled_from([entry.number for entry in field.enum_type.values]) | st.integers(0, 99))
    return draw(KINDS[field.type])


def fill(draw: Callable[..., Any], message: Message, depth: int = 0) -> None:
    """Fills in any of a message's fields, down to some depth."""
    descriptor: Descriptor = message.DESCRIPTOR
    for field in descriptor.fields:
        if draw(st.integers(0, 3)) == 0 or (field.message_type and depth > 5):
            continue
        entry = field.message_type
        if entry and entry.GetOptions().map_entry:
            target = getattr(message, field.name)
            key = value(draw, entry.fields_by_name["key"], depth)
            if entry.fields_by_name["value"].message_type:
                fill(draw, target[key], depth + 1)
            else:
                target[key] = value(draw, entry.fields_by_name["value"], depth)
        elif field.is_repeated:
            for _ in range(draw(st.integers(0, 2))):
                if entry:
                    fill(draw, getattr(message, field.name).add(), depth + 1)
                else:
                    getattr(message, field.name).append(value(draw, field, depth))
        elif entry:
            getattr(message, field.name).SetInParent()
            fill(draw, getattr(message, field.name), depth + 1)
        else:
            setattr(message, field.name, value(draw, field, depth))


@st.composite
def messages(draw: Callable[..., Any], kind: type[Message]) -> bytes:
    """A message of a type with any content, or that with a few bytes changed, or any bytes."""
    message = kind()
    fill(draw, message)
    raw = bytearray(message.SerializeToString())
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 3])) if raw else 0):
        raw[draw(st.integers(0, len(raw) - 1))] = draw(st.integers(0, 255))
    return bytes(raw) if draw(st.integers(0, 7)) else draw(st.binary(max_size=64))


METHODS = [
    (f"/{service.full_name}/{method.name}", getattr(module, method.input_type.name), method.client_streaming)
    for module in (pb, tfs, oip)
    for service in module.DESCRIPTOR.services_by_name.values()
    for method in service.methods
]


@pytest.fixture(scope="module")
def ask(shared_gateway: Gateway) -> Iterator[Callable[..., str]]:
    """What a call of a method with some bytes ends with."""
    metadata = [("authorization", f"Bearer {shared_gateway.key}")]
    with grpc.insecure_channel(shared_gateway.address) as channel:

        def ask(path: str, raw: bytes, streaming: bool) -> str:
            try:
                if streaming:
                    for _ in channel.stream_stream(path)(iter([raw, raw]), metadata=metadata, timeout=TIMEOUT):
                        pass
                else:
                    channel.unary_unary(path)(raw, metadata=metadata, timeout=TIMEOUT)
            except grpc.RpcError as error:
                name: str = error.code().name
                return name
            return "OK"

        yield ask


@pytest.mark.parametrize(("path", "kind", "streaming"), METHODS, ids=lambda value: value if "/" in str(value) else "")
def test_any_message(
    ask: Callable[..., str], shared_gateway: Gateway, path: str, kind: type[Message], streaming: bool
) -> None:
    """Any message is answered with a code that is documented for what is wrong with it."""
    documented = DOCUMENTED | ({"PERMISSION_DENIED"} if path.endswith("HandleReloadConfigRequest") else set())

    @settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck), database=None)
    @given(raw=messages(kind))
    def check(raw: bytes) -> None:
        assert ask(path, raw, streaming) in documented

    check()
    assert shared_gateway.process.running
    assert not [line for line in shared_gateway.calls() if line["code"] in ("INTERNAL", "UNKNOWN")]
