"""gateway.errors and gateway.status"""

import inspect

import grpc
import pytest
from google.rpc import error_details_pb2

from gateway import errors, status

TYPES = [
    value
    for value in vars(errors).values()
    if inspect.isclass(value) and issubclass(value, errors.GatewayError) and value is not errors.GatewayError
]


@pytest.mark.parametrize("error", TYPES)
def test_every_error_has_a_code(error: type[errors.GatewayError]) -> None:
    """Each type has a row of its own in the table, a reason, and a place in the tree that the module draws."""
    assert error in status.CODES
    assert error.reason.isupper()
    assert f"── {error.__name__} " in (errors.__doc__ or "")


def test_reasons() -> None:
    """A type's reason is what ErrorInfo says unless the error brings its own."""
    assert errors.Overloaded("x").reason == "OVERLOADED"
    assert errors.InvalidInput("x", reason="IMAGE_EMPTY").reason == "IMAGE_EMPTY"


def test_unknown_error() -> None:
    """An exception of no known type is INTERNAL and keeps its text to itself."""
    known = status.known(RuntimeError("secret"), "r1")
    assert status.code(known) is grpc.StatusCode.INTERNAL
    assert known.message == "internal error; the log has more under request id r1"


def test_backend_status() -> None:
    """The backend's own status keeps its code and text."""
    assert status.code(errors.BackendStatus("DATA_LOSS", "x")) is grpc.StatusCode.DATA_LOSS


def test_long_texts() -> None:
    """A text is cut where it would not fit in the trailers, between characters, wherever it stands."""
    answer = status.to_status(errors.InvalidInput("é" * 2000, field="x"), "r1")
    assert answer.message == "é" * 512 + "...TRUNCATED"
    assert len(answer.SerializeToString()) < 4096
    exact = status.to_status(errors.InvalidInput("é" * 512), "r1")
    assert exact.message == "é" * 512


def test_details() -> None:
    """ErrorInfo and RequestInfo always come, BadRequest with a field, RetryInfo where a retry may help."""
    error = errors.InvalidInput("wrong", field="instances[1]", metadata={"a": "b"}, retry_after=1.5)
    answer = status.to_status(error, "r1")
    assert (answer.code, answer.message) == (3, "wrong")
    info, request, bad, retry = (
        error_details_pb2.ErrorInfo(),
        error_details_pb2.RequestInfo(),
        error_details_pb2.BadRequest(),
        error_details_pb2.RetryInfo(),
    )
    assert all(detail.Unpack(into) for detail, into in zip(answer.details, (info, request, bad, retry), strict=True))
    assert (info.domain, info.reason, info.metadata["a"]) == ("tensorgate", "INVALID_INPUT", "b")
    assert request.request_id == "r1"
    assert bad.field_violations[0].field == "instances[1]"
    assert retry.retry_delay.ToTimedelta().total_seconds() == 1.5
    assert len(status.to_status(errors.NotReady("x"), "r1").details) == 2
