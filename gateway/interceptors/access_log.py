"""One line a call: who asked what, how it ended, how long it took. No payloads, no secrets."""

import structlog

from gateway.call import Call
from gateway.errors import GatewayError
from gateway.interceptors.interceptor import Interceptor

log = structlog.get_logger("gateway.access")


class AccessLog(Interceptor):
    """Writes the line when the call ends."""

    def on_end(self, call: Call) -> None:
        """Logs the call: INFO if it went well or the caller is to blame, ERROR if the gateway or the backend is."""
        fields: dict[str, object] = {
            "request_id": call.request_id,
            "method": call.method,
            "code": call.code,
            "client": call.principal.client,
            "peer": call.peer,
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
        ours = call.code in ("INTERNAL", "UNAVAILABLE", "UNKNOWN")
        (log.error if ours else log.info)("call", **fields)
