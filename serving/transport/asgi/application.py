"""The ASGI application: finds a call's method, runs it, and sees to it that the call ends with a status."""

import asyncio
import contextlib
import inspect
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

import grpc
import grpc.aio

from serving.on_loop import OnLoop
from serving.transport.asgi.call import Call, Scope, Send
from serving.transport.asgi.errors import CallError, ClientGoneError
from serving.transport.asgi.registry import CallDetails, Registry
from serving.transport.asgi.requests import Receive, Requests

logger = logging.getLogger(__name__)

# Seconds between two questions whether the clients of calls under way are still there. The host says so by itself while
# a request has not ended; afterwards it must be asked.
PROBE_INTERVAL = 0.25


class GrpcApplication(OnLoop):
    """Serves what registers, with `interceptors` around it, to an ASGI host over HTTP/2.

    A message beyond `max_message_bytes` (-1: any) is answered with RESOURCE_EXHAUSTED.
    """

    def __init__(
        self,
        registrations: Sequence[Callable[[grpc.aio.Server], None]],
        *,
        interceptors: Sequence[grpc.aio.ServerInterceptor] = (),
        max_message_bytes: int = -1,
    ) -> None:
        self._registry = Registry(interceptors)
        for register in registrations:
            register(self._registry)
        self._max_message_bytes = max_message_bytes
        self._calls: set[Call] = set()
        self._probing: asyncio.TimerHandle | None = None
        self._idle = asyncio.Event()
        """Set once no call is under way and none will be taken."""
        self._stopping = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        headers = dict(scope["headers"])
        refusal = _not_grpc(scope, headers)
        if refusal is not None:
            await _refuse(send, *refusal)
            return
        call = Call(scope, headers, receive, send, self._loop)
        self._enter(call)
        try:
            requests = call.open(self._max_message_bytes)
            handler = self._registry.known(scope["path"])
            if handler is None or self._stopping or scope.get("query_string"):
                handler = await self._find(call, scope)
            call.deserializer, call.serializer = handler.request_deserializer, handler.response_serializer
            if handler.unary_unary is not None:
                request = call.parsed(await requests.only())
                await call.answer(await handler.unary_unary(request, call))
            else:
                await _run_streaming(handler, call, requests)
        except asyncio.CancelledError as error:
            await call.cancelled_by(error)
        except CallError as error:
            if error.__cause__:
                logger.exception("%s failed", scope["path"])
            await call.fail(error.code, error.details)
        except grpc.aio.AbortError:
            await call.end()
        except ClientGoneError:
            pass
        except Exception:
            logger.exception("%s failed", scope["path"])
            await call.fail(grpc.StatusCode.UNKNOWN, "the method failed unexpectedly")
        finally:
            self._leave(call)

    async def stop(self, grace: float | None) -> None:
        """Refuses calls from now on, waits up to `grace` seconds for those under way, and then ends them."""
        self._stopping = True
        if not self._calls:
            self._idle.set()
        if grace:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._idle.wait(), grace)
        for call in tuple(self._calls):
            call.cut_short(grpc.StatusCode.UNAVAILABLE)
        await self._idle.wait()

    async def _find(self, call: Call, scope: Scope) -> Any:
        """The handler of the call's method; CallError if there is none."""
        if self._stopping:
            raise CallError(grpc.StatusCode.UNAVAILABLE, "the server is stopping")
        handler = None
        if not scope.get("query_string"):
            handler = await self._registry.handler(CallDetails(scope["path"], call.invocation_metadata()))
        if handler is None:
            raise CallError(grpc.StatusCode.UNIMPLEMENTED, "Method not found!")
        return handler

    def _enter(self, call: Call) -> None:
        self._calls.add(call)
        if self._stopping:
            self._idle.clear()
        if self._probing is None:
            self._probing = self._loop.call_later(PROBE_INTERVAL, self._probe)

    def _leave(self, call: Call) -> None:
        self._calls.discard(call)
        if self._stopping and not self._calls:
            self._idle.set()
        call.close()

    def _probe(self) -> None:
        self._probing = None
        for call in self._calls:
            call.probe()
        if self._calls:
            self._probing = self._loop.call_later(PROBE_INTERVAL, self._probe)


async def _run_streaming(handler: Any, call: Call, requests: Requests) -> None:
    """Runs a method of which at least one side streams."""
    request = _stream(call, requests) if handler.request_streaming else call.parsed(await requests.only())
    if not handler.response_streaming:
        await call.answer(await handler.stream_unary(request, call))
        return
    responses = (handler.stream_stream or handler.unary_stream)(request, call)
    if inspect.isawaitable(responses):
        await responses
    else:
        async with contextlib.aclosing(responses):
            async for response in responses:
                await call.write(response)
    await call.end()


async def _stream(call: Call, requests: Requests) -> AsyncIterator[Any]:
    while (message := await requests.next()) is not None:
        yield call.parsed(message)


def _not_grpc(scope: Scope, headers: Mapping[bytes, bytes]) -> tuple[int, str] | None:
    """HTTP's status and a text, if the request is none of gRPC's."""
    content_type = headers.get(b"content-type", b"")
    if not content_type.startswith(b"application/grpc") or content_type[16:17] not in (b"", b"+", b";"):
        return 415, "expected content-type application/grpc"
    if scope["method"] != "POST":
        return 405, "expected POST"
    if scope["http_version"].startswith("1") and b"x-grpc-web" not in headers:
        return 505, "expected HTTP/2"
    return None


async def _refuse(send: Send, status: int, text: str) -> None:
    body = f"{text}\n".encode()
    headers = [(b"content-type", b"text/plain"), (b"content-length", str(len(body)).encode())]
    if status == 405:  # noqa: PLR2004  # Method Not Allowed, which must say what is
        headers.append((b"allow", b"POST"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
