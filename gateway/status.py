"""The one table from errors to gRPC status codes, and the google.rpc details that go with them."""

import grpc
from google.protobuf import any_pb2, duration_pb2, message
from google.rpc import error_details_pb2, status_pb2

from gateway import errors

DOMAIN = "tensorgate"
# Texts travel in trailers, which have a limit of their own; this is where TensorFlow Serving cuts.
MAX_TEXT_BYTES = 1024
CODES: dict[type[errors.GatewayError], grpc.StatusCode] = {
    errors.InvalidInput: grpc.StatusCode.INVALID_ARGUMENT,
    errors.NotFinite: grpc.StatusCode.INVALID_ARGUMENT,
    errors.InvalidReceipt: grpc.StatusCode.INVALID_ARGUMENT,
    errors.ModelNotFound: grpc.StatusCode.NOT_FOUND,
    errors.Unsupported: grpc.StatusCode.FAILED_PRECONDITION,
    errors.Unauthenticated: grpc.StatusCode.UNAUTHENTICATED,
    errors.CredentialUncheckable: grpc.StatusCode.UNAVAILABLE,
    errors.PermissionDenied: grpc.StatusCode.PERMISSION_DENIED,
    errors.PreprocessingFailed: grpc.StatusCode.INTERNAL,
    errors.RequestTooLarge: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.Overloaded: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.Conflict: grpc.StatusCode.ABORTED,
    errors.PreconditionFailed: grpc.StatusCode.FAILED_PRECONDITION,
    errors.NotReady: grpc.StatusCode.UNAVAILABLE,
    errors.BackendUnavailable: grpc.StatusCode.UNAVAILABLE,
    errors.FeedbackUnavailable: grpc.StatusCode.UNAVAILABLE,
    errors.DeadlineExceeded: grpc.StatusCode.DEADLINE_EXCEEDED,
    errors.BackendFailed: grpc.StatusCode.INTERNAL,
    errors.BackendRejected: grpc.StatusCode.INVALID_ARGUMENT,
    # Each brings its own.
    errors.BackendStatus: grpc.StatusCode.UNKNOWN,
}


def code(error: errors.GatewayError) -> grpc.StatusCode:
    """The status code of an error."""
    if isinstance(error, errors.BackendStatus):
        return grpc.StatusCode[error.code]
    return CODES.get(type(error), grpc.StatusCode.INTERNAL)


def number(status_code: grpc.StatusCode) -> int:
    """The code's number on the wire, which is also its google.rpc.Code."""
    wire: int = status_code.value[0]
    return wire


def known(error: Exception, request_id: str) -> errors.GatewayError:
    """The error as the caller may see it: one that is not a GatewayError keeps its text to itself."""
    if isinstance(error, errors.GatewayError):
        return error
    return errors.GatewayError(f"internal error; the log has more under request id {request_id}")


def to_status(error: errors.GatewayError, request_id: str) -> status_pb2.Status:
    """The google.rpc.Status of an error: ErrorInfo, RequestInfo, and BadRequest or RetryInfo where they apply."""
    text = bounded(error.message)
    details: list[message.Message] = [
        error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=error.metadata),
        error_details_pb2.RequestInfo(request_id=request_id),
    ]
    if error.field is not None:
        violation = error_details_pb2.BadRequest.FieldViolation(field=error.field, description=text)
        details.append(error_details_pb2.BadRequest(field_violations=[violation]))
    if error.retry_after is not None:
        delay = duration_pb2.Duration()
        delay.FromMicroseconds(round(error.retry_after * 1e6))
        details.append(error_details_pb2.RetryInfo(retry_delay=delay))
    packed = []
    for detail in details:
        packed.append(any_pb2.Any())
        packed[-1].Pack(detail)
    return status_pb2.Status(code=number(code(error)), message=text, details=packed)


def bounded(text: str) -> str:
    """The text, cut where it would be too long for a trailer or a line of the log."""
    content = text.encode()
    if len(content) <= MAX_TEXT_BYTES:
        return text
    return content[:MAX_TEXT_BYTES].decode(errors="ignore") + "...TRUNCATED"
