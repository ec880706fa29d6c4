"""The ASGI application: finds a request's method, reads its body, has the interceptors and the servicer answer."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import grpc
import grpc.aio
from google.rpc import status_pb2
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from gateway.errors import GatewayError, InvalidInput, Overloaded, RequestTooLarge
from gateway.rest.context import Aborted, HttpContext
from gateway.rest.failures import Failure, plain
from serving.rest.bodies import unzipped
from serving.rest.errors import BadJson
from serving.rest.paths import Target, target
from serving.transport.asgi.registry import CallDetails, Registry
from serving.wire.errors import ServingError

Behaviour = Callable[[bytes, HttpContext], Awaitable[bytes]]
"""Answers a body."""
# What curl sends where nobody says what the body is, as in TensorFlow Serving's own documentation.
_UNSAID = ("", "application/x-www-form-urlencoded")
RETRY_AFTER = 1.0


@dataclass(frozen=True, slots=True)
class Route:
    """What a path asks for."""

    method: str
    """The name by which interceptors know it."""
    failed: Callable[[Failure], bytes]
    target: Target | None = None


class RestApplication:
    """Serves `methods` by name with `chain` around each; `pages` are for anybody who asks for their paths."""

    def __init__(
        self,
        methods: Mapping[str, Behaviour],
        pages: Mapping[str, Response],
        chain: grpc.aio.ServerInterceptor,
        *,
        max_request_bytes: int,
        max_bytes_in_flight: int,
        body_timeout: float,
    ) -> None:
        self._registry = Registry([chain])
        self._registry.add_generic_rpc_handlers([_Methods(methods, max_request_bytes)])
        self._names = frozenset(methods)
        self._pages = pages
        self._max_request_bytes = max_request_bytes
        self._max_bytes_in_flight = max_bytes_in_flight
        self._body_timeout = body_timeout
        self._bytes_arriving = 0
        self._stopping = False

    def stop(self) -> None:
        """Takes no more calls; those under way go on."""
        self._stopping = True

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        method: str = scope["method"]
        path = scope["raw_path"].decode("latin-1")
        if path in self._pages and method in ("GET", "HEAD"):
            await self._pages[path](scope, receive, send)
            return
        try:
            route = self._route(method, path)
        except ServingError as error:
            await _failed(Route("", Failure.tensorflow), plain(error.code, error.text))(scope, receive, send)
            return
        if route is None:
            await Response("Not Found\n", 404, media_type="text/plain")(scope, receive, send)
            return
        if self._stopping:
            answer = _failed(route, plain(grpc.StatusCode.UNAVAILABLE, "the server is stopping"))
            answer.headers["connection"] = "close"
            await answer(scope, receive, send)
            return
        response = await self._answer(route, HttpContext(Headers(scope=scope), scope["client"], route.target), receive)
        if response is not None:
            await response(scope, receive, send)

    def _route(self, method: str, path: str) -> Route | None:
        """Whose business a path is; ServingError for one that is nearly right."""
        if path.lower().startswith("/v1/models"):
            found = target(method, path)
            return Route(f"/v1/models/{{model}}:{found.method}", Failure.tensorflow, found)
        if path not in self._names:
            return None
        return Route(path, Failure.connect if method == "POST" else Failure.tensorflow)

    async def _answer(self, route: Route, context: HttpContext, receive: Receive) -> Response | None:
        """The answer; None if nobody waits for it."""
        body = bytearray()
        try:
            if not await self._read(body, context, receive):
                return None
            response = await self._called(route, b"" if context.failure else bytes(body), context, receive)
        finally:
            self._bytes_arriving -= len(body)
        if response is not None and context.request_id:
            response.headers["x-request-id"] = context.request_id
        if response is not None and context.failure is not None:
            # What is left of the body is nobody's.
            response.headers["connection"] = "close"
        return response

    async def _called(self, route: Route, body: bytes, context: HttpContext, receive: Receive) -> Response | None:
        handler = self._registry.known(route.method) or await self._registry.handler(
            CallDetails(route.method, context.invocation_metadata())
        )
        try:
            async with asyncio.timeout(context.time_remaining()):
                answer = await _unless_gone(handler.unary_unary(body, context), receive)
        except Aborted as error:
            return _failed(route, Failure(error.code, status_pb2.Status.FromString(error.details)))
        except TimeoutError:
            return _failed(route, plain(grpc.StatusCode.DEADLINE_EXCEEDED, "the deadline has passed"))
        return None if answer is None else Response(answer, media_type="application/json")

    async def _read(self, body: bytearray, context: HttpContext, receive: Receive) -> bool:
        """Reads the request's body, or says in `context` why not; False if the client has gone."""
        announced = context.headers.get("content-length", "0")
        context.failure = context.failure or self._too_much(int(announced) if announced.isdigit() else 0)
        try:
            async with asyncio.timeout(self._body_timeout):
                while context.failure is None:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        return False
                    chunk: bytes = message.get("body", b"")
                    body += chunk
                    self._bytes_arriving += len(chunk)
                    context.failure = self._too_much(len(body))
                    if not message.get("more_body", False):
                        break
        except TimeoutError:
            context.failure = InvalidInput(
                f"the body did not come within {self._body_timeout:g} s", reason="REQUEST_UNREADABLE"
            )
        return True

    def _too_much(self, size: int) -> GatewayError | None:
        if size > self._max_request_bytes:
            return RequestTooLarge(
                f"the request has more than {self._max_request_bytes} bytes, as many as it may have",
                metadata={"max_request_bytes": str(self._max_request_bytes)},
            )
        if self._bytes_arriving > max(self._max_bytes_in_flight, size):
            return Overloaded(
                f"requests of {self._bytes_arriving} bytes are being answered; retry later", retry_after=RETRY_AFTER
            )
        return None


class _Methods(grpc.GenericRpcHandler):
    """The methods as the interceptors' chain takes them."""

    def __init__(self, methods: Mapping[str, Behaviour], max_bytes: int) -> None:
        self._handlers = {name: _handler(behaviour, max_bytes) for name, behaviour in methods.items()}

    def service(self, handler_call_details: Any) -> Any:
        """The handler of a method."""
        return self._handlers.get(handler_call_details.method)


def _handler(behaviour: Behaviour, max_bytes: int) -> Any:
    async def answer(raw: bytes, context: HttpContext) -> bytes:
        if context.failure is not None:
            raise context.failure
        return await behaviour(_content(raw, context.headers, max_bytes), context)

    answering: Any = answer
    return grpc.unary_unary_rpc_method_handler(answering, _same, _same)


def _same(content: bytes) -> bytes:
    return content


def _content(raw: bytes, headers: Headers, max_bytes: int) -> bytes:
    """The body as its sender had it; InvalidInput if it is no JSON by what the headers say, or no gzip."""
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if raw and kind != "application/json" and kind not in _UNSAID:
        raise InvalidInput(f"the body is {kind[:100]!r}; expected application/json", reason="CONTENT_TYPE_UNSUPPORTED")
    encoding = headers.get("content-encoding", "identity").strip().lower()
    if encoding == "identity":
        return raw
    if encoding != "gzip":
        raise InvalidInput(
            f"the body's encoding is {encoding[:100]!r}; expected gzip or none", reason="CONTENT_TYPE_UNSUPPORTED"
        )
    try:
        return unzipped(raw, max_bytes)
    except BadJson as error:
        raise InvalidInput(error.text, reason="REQUEST_UNREADABLE") from error


def _failed(route: Route, failure: Failure) -> Response:
    return Response(route.failed(failure), failure.http_status, failure.headers, "application/json")


async def _unless_gone(answer: Awaitable[bytes], receive: Receive) -> bytes | None:
    """The answer, or None as soon as the client has gone."""
    answering = asyncio.ensure_future(answer)
    leaving = asyncio.ensure_future(receive())
    try:
        await asyncio.wait((answering, leaving), return_when=asyncio.FIRST_COMPLETED)
        return await answering if answering.done() else None
    finally:
        for task in (answering, leaving):
            task.cancel()
        # Until it has ended the call has its places.
        await asyncio.wait((answering, leaving))
