"""One line a call: who asked what, how it ended, how long it took. No payloads, no secrets."""

import time

import structlog

from gateway.call import Call
from gateway.errors import GatewayError
from gateway.interceptors.interceptor import Interceptor

log = structlog.get_logger("gateway.access")


class AccessLog(Interceptor):
    """Writes the line when the call ends: of calls that went well up to `calls_per_second`, since a line costs as much
    as a call does otherwise; of the others always. `skipped` in a line says how many went without since the last.
    """

    def __init__(self, calls_per_second: int) -> None:
        self._limit = calls_per_second
        self._second = 0
        self._written = 0
        self._skipped = 0

    def on_end(self, call: Call) -> None:
        """Logs the call: INFO if it went well or the caller is to blame, ERROR if the gateway or the backend is."""
        if call.code == "OK":
            second = int(time.monotonic())
            if second != self._second:
                self._second, self._written = second, 0
            self._written += 1
            if self._written > self._limit:
                self._skipped += 1
                return
        fields = _fields(call)
        if self._skipped:
            fields["skipped"], self._skipped = self._skipped, 0
        ours = call.code in ("INTERNAL", "UNAVAILABLE", "UNKNOWN")
        (log.error if ours else log.info)("call", **fields)


def _fields(call: Call) -> dict[str, object]:
    fields: dict[str, object] = {
        "request_id": call.request_id,
        "method": call.method,
        "code": call.code,
        "client": call.principal.client,
        "peer": call.peer(),
        "ms": round(call.seconds * 1e3, 3),
        "request_bytes": call.request_bytes,
    }
    if call.trace_id:
        fields["trace_id"] = call.trace_id
    if call.model:
        fields |= {"model": call.model, "version": call.version}
    if call.variant:
        fields["variant"] = call.variant
    if call.streaming:
        fields["messages"] = call.messages
    if call.instances:
        fields |= {"instances": call.instances, "failed_instances": call.failed_instances}
    if call.reason:
        fields |= {"reason": call.reason, "message": call.message}
    if isinstance(call.failure, GatewayError) and call.failure.private:
        fields["detail"] = call.failure.private
    elif call.failure is not None and not isinstance(call.failure, GatewayError):
        fields["exc_info"] = call.failure
    return fields
