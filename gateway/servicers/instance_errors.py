"""Errors of one instance of several, or of one request of a stream."""

from gateway import status
from gateway.errors import GatewayError, InvalidInput
from tensorgate.v1 import inference_service_pb2 as pb


def instance_error(error: GatewayError) -> pb.InstanceError:
    """What the caller is told of an instance that failed."""
    answer = pb.InstanceError(
        code=status.number(status.code(error)),
        reason=error.reason,
        message=status.bounded(error.message),
        field=error.field or "",
    )
    if error.retry_after is not None:
        answer.retry_delay.FromMicroseconds(round(error.retry_after * 1e6))
    return answer


def located(error: GatewayError, field: str) -> GatewayError:
    """The error with the instance it is about, unless it is about the backend."""
    if error.field is None and isinstance(error, InvalidInput):
        return type(error)(error.message, reason=error.reason, field=field, metadata=error.metadata)
    return error
