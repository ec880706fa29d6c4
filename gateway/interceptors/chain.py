"""Runs a call through the interceptors and turns what it raises into a status.

The chain takes requests as bytes and parses them itself: a caller who may not, or who sends too much, costs no parsing.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

import grpc
import grpc.aio
from google.protobuf.message import DecodeError
from grpc_status import rpc_status

from gateway import status
from gateway.call import Call, current_call
from gateway.errors import InvalidInput, RequestTooLarge
from gateway.interceptors.request_id import HEADER


class Interceptor(Protocol):
    """One concern around every call."""

    async def on_start(self, call: Call) -> None:
        """Before the servicer; a GatewayError refuses the call."""

    def on_end(self, call: Call) -> None:
        """After the servicer, whatever came of it, if `on_start` was reached; `call` says how it ended."""


class Chain(grpc.aio.ServerInterceptor):
    """The interceptors around every unary method, but for services that need none (health)."""

    def __init__(
        self, interceptors: Sequence[Interceptor], *, max_request_bytes: int, exempt: Sequence[str] = ()
    ) -> None:
        self._interceptors = tuple(interceptors)
        self._max_request_bytes = max_request_bytes
        self._exempt = tuple(f"/{service}/" for service in exempt)
        self._handlers: dict[str, Any] = {}

    async def intercept_service(
        self, continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]], handler_call_details: Any
    ) -> Any:
        """The method's handler with the interceptors around it, made once per method."""
        method: str = handler_call_details.method
        if method in self._handlers:
            return self._handlers[method]
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        if not method.startswith(self._exempt):
            handler = self._around(method, handler)
        self._handlers[method] = handler
        return handler

    def _around(self, method: str, handler: Any) -> Any:
        if handler.unary_unary is None:
            raise TypeError(f"{method}: only unary methods have interceptors")

        async def unary(raw: bytes, context: Any) -> bytes:
            remaining = context.time_remaining()
            call = Call(
                method,
                _text_metadata(context.invocation_metadata()),
                context.peer(),
                None if remaining is None else time.monotonic() + remaining,
                auth_context=context.auth_context,
                request_bytes=len(raw),
            )
            current_call.set(call)
            reached: list[Interceptor] = []
            failure: Exception | None = None
            response = b""
            try:
                for interceptor in self._interceptors:
                    reached.append(interceptor)
                    await interceptor.on_start(call)
                response = handler.response_serializer(
                    await handler.unary_unary(self._parse(raw, handler.request_deserializer), context)
                )
            except asyncio.CancelledError:
                # The caller has gone, or its time is over: nobody is left to answer.
                expired = call.deadline is not None and time.monotonic() >= call.deadline
                call.code = "DEADLINE_EXCEEDED" if expired else "CANCELLED"
                raise
            except Exception as error:
                call.failure = failure = error
                known = status.known(error, call.request_id)
                call.code, call.reason, call.message = status.code(known).name, known.reason, known.message
            finally:
                for interceptor in reversed(reached):
                    interceptor.on_end(call)
            request_id = (HEADER, call.request_id)
            if failure is None:
                context.set_trailing_metadata((request_id,))
                return response
            answer = rpc_status.to_status(status.to_status(status.known(failure, call.request_id), call.request_id))
            await context.abort(answer.code, answer.details, (*answer.trailing_metadata, request_id))
            raise AssertionError  # abort raises

        return grpc.unary_unary_rpc_method_handler(unary)

    def _parse(self, raw: bytes, deserializer: Callable[[bytes], Any]) -> Any:
        if len(raw) > self._max_request_bytes:
            raise RequestTooLarge(
                f"the request has {len(raw)} bytes; expected {self._max_request_bytes} at most",
                metadata={"max_request_bytes": str(self._max_request_bytes)},
            )
        try:
            return deserializer(raw)
        except DecodeError:
            raise InvalidInput("the request is not a message of this method", reason="REQUEST_UNREADABLE") from None


def _text_metadata(metadata: Any) -> dict[str, str]:
    """The text entries by key; the first of several wins, binary ones are nobody's business here."""
    entries: dict[str, str] = {}
    for key, value in metadata or ():
        if isinstance(value, str):
            entries.setdefault(key, value)
    return entries
