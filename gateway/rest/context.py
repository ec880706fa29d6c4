"""An HTTP request as interceptors and servicers see it, who know gRPC's contexts."""

import time
from collections.abc import Sequence
from typing import Any, NoReturn

import grpc
from starlette.datastructures import Headers

from gateway.errors import GatewayError, InvalidInput
from serving.rest.paths import Target

TIMEOUT = "connect-timeout-ms"
_MAX_TIMEOUT_DIGITS = 10


class Aborted(Exception):
    """The call ended with a status; the details are a serialized google.rpc.Status."""

    def __init__(self, code: grpc.StatusCode, details: bytes) -> None:
        super().__init__(code.name)
        self.code = code
        self.details = details


class HttpContext:
    """The part of grpc.aio.ServicerContext that the gateway uses.

    `failure` is what is wrong with the request as HTTP brought it; it is told to who has passed the interceptors.
    """

    def __init__(self, headers: Headers, client: tuple[str, int] | None, target: Target | None = None) -> None:
        self.headers = headers
        self.target = target
        self.failure: GatewayError | None = None
        self.request_id = ""
        self._client = client
        self._deadline: float | None = None
        given = headers.get(TIMEOUT)
        if given is not None and given.isascii() and given.isdigit() and len(given) <= _MAX_TIMEOUT_DIGITS:
            self._deadline = time.monotonic() + int(given) / 1e3
        elif given is not None:
            self.failure = InvalidInput(
                f"the header {TIMEOUT} is {given[:20]!r}; expected milliseconds in {_MAX_TIMEOUT_DIGITS} digits at most"
            )

    def invocation_metadata(self) -> Sequence[tuple[str, str]]:
        """The headers."""
        return self.headers.items()

    def peer(self) -> str:
        """Where the request comes from, in gRPC's words."""
        if self._client is None:
            return "unknown"
        host, port = self._client
        return f"ipv6:[{host}]:{port}" if ":" in host else f"ipv4:{host}:{port}"

    def time_remaining(self) -> float | None:
        """Seconds until the caller gives up; None if never."""
        return None if self._deadline is None else max(self._deadline - time.monotonic(), 0.0)

    def auth_context(self) -> dict[str, Any]:
        """Nothing: nobody is asked for a certificate on this port."""
        return {}

    def set_trailing_metadata(self, metadata: Sequence[tuple[str, str | bytes]]) -> None:
        """Takes the request's id."""
        self.request_id = str(dict(metadata).get("x-request-id", ""))

    async def abort(
        self, code: grpc.StatusCode, _details: str = "", trailing_metadata: Sequence[tuple[str, str | bytes]] = ()
    ) -> NoReturn:
        """Ends the call with a status."""
        self.set_trailing_metadata(trailing_metadata)
        details = dict(trailing_metadata).get("grpc-status-details-bin", b"")
        raise Aborted(code, details if isinstance(details, bytes) else b"")
