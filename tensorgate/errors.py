"""What a call to the gateway can fail with."""

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status


class TensorgateError(Exception):
    """A call, or one instance of it, failed.

    `code` is the gRPC status code's name, e.g. INVALID_ARGUMENT; `reason` one word for machines, e.g. IMAGE_UNREADABLE;
    `field` the path of what is wrong in the request; `retry_after` the seconds after which the same call may succeed,
    None if it will not; `request_id` what the gateway's log has it under.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        reason: str = "",
        field: str = "",
        request_id: str = "",
        retry_after: float | None = None,
    ) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.reason = reason
        self.field = field
        self.request_id = request_id
        self.retry_after = retry_after


def from_rpc(error: grpc.RpcError) -> TensorgateError:
    """The error that a failed call stands for, with what its google.rpc details say."""
    translated = TensorgateError(error.code().name, error.details() or "the call failed")
    # Whatever lies between the caller and the gateway may fail without details.
    status = rpc_status.from_call(error)  # type: ignore[arg-type]  # an error of a call is that call
    for detail in status.details if status is not None else ():
        info, request, bad, retry = (
            error_details_pb2.ErrorInfo(),
            error_details_pb2.RequestInfo(),
            error_details_pb2.BadRequest(),
            error_details_pb2.RetryInfo(),
        )
        if detail.Unpack(info):
            translated.reason = info.reason
        elif detail.Unpack(request):
            translated.request_id = request.request_id
        elif detail.Unpack(bad):
            translated.field = bad.field_violations[0].field if bad.field_violations else ""
        elif detail.Unpack(retry):
            translated.retry_after = retry.retry_delay.ToTimedelta().total_seconds()
    return translated
