"""One call: what the servicer is given as its context, and how the answer is sent."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping, Sequence
from typing import Any, NoReturn

import grpc
import grpc.aio

from serving.transport.asgi.errors import CallError
from serving.transport.asgi.framing import ACCEPTED_ENCODINGS, Frames, framed
from serving.transport.asgi.headers import Headers, Metadata, quoted, timeout_seconds, to_headers, to_metadata
from serving.transport.asgi.peer import auth_context, identity, peer
from serving.transport.asgi.requests import Receive, Requests

Scope = MutableMapping[str, Any]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_ENCODINGS = {
    grpc.Compression.NoCompression: b"identity",
    grpc.Compression.Deflate: b"deflate",
    grpc.Compression.Gzip: b"gzip",
}
# Seconds; event loops count no further than months.
_LONGEST_TIMER = 30 * 24 * 3600.0
_CONTENT_TYPE = (b"content-type", b"application/grpc")
_ACCEPT_ENCODING = (b"grpc-accept-encoding", ACCEPTED_ENCODINGS)
_CODES = {code.value[0]: code for code in grpc.StatusCode}
_STATUS = {code: (b"grpc-status", str(code.value[0]).encode()) for code in grpc.StatusCode}
_OK = _STATUS[grpc.StatusCode.OK]
_WELL = (None, grpc.StatusCode.OK)
# How most answers start; hosts only read it.
_START = {
    "type": "http.response.start",
    "status": 200,
    "headers": [_CONTENT_TYPE, _ACCEPT_ENCODING],
    "trailers": True,
}


class Call(grpc.aio.ServicerContext[Any, Any]):
    """The context of a call that runs in the current task; `headers` are the scope's by name."""

    # How every call begins; here, as most calls end with most of it unchanged.
    _requests: Requests | None = None
    _metadata: Metadata = ()
    _encoding = b"identity"
    _compress_next = True
    _initial: Headers | None = None
    _trailing: Metadata = ()
    _trailing_headers: Sequence[tuple[bytes, bytes]] = ()
    _code: grpc.StatusCode | None = None
    _details = ""
    _aborted: grpc.aio.AbortError | None = None
    _ended = False
    _cut_short: grpc.StatusCode | None = None
    _callbacks: Sequence[Callable[[Any], None]] = ()
    _deadline: float | None = None
    _timer: asyncio.TimerHandle | None = None
    deserializer: Callable[[bytes], Any] | None = None
    serializer: Callable[[Any], bytes] | None = None

    def __init__(
        self,
        scope: Scope,
        headers: Mapping[bytes, bytes],
        receive: Receive,
        send: Send,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._scope = scope
        self._headers = headers
        self._receive = receive
        self._send = send
        self._loop = loop
        self._task = asyncio.current_task(loop)

    # What the application does with a call.

    def open(self, max_message_bytes: int) -> Requests:
        """Reads the headers and starts the clock; CallError if they are none of gRPC's."""
        headers = self._headers
        if b"grpc-timeout" in headers:
            seconds = timeout_seconds(headers[b"grpc-timeout"])
            self._deadline = time.monotonic() + seconds
            self._timer = self._loop.call_later(
                min(seconds, _LONGEST_TIMER), self.cut_short, grpc.StatusCode.DEADLINE_EXCEEDED
            )
        self._metadata = to_metadata(self._scope["headers"])
        frames = Frames(max_message_bytes, headers.get(b"grpc-encoding", b"identity"))
        self._requests = Requests(self._receive, frames, self._client_gone, self._loop)
        return self._requests

    def probe(self) -> None:
        """Asks the host whether the client is still there."""
        if self._requests is not None:
            self._requests.probe()

    def cut_short(self, code: grpc.StatusCode) -> None:
        """Cancels what the servicer does; the call ends with `code`."""
        if not self._ended and self._cut_short is None:
            self._cut_short = code
            assert self._task is not None
            self._task.cancel()

    async def cancelled_by(self, error: asyncio.CancelledError) -> None:
        """Ends the call after its task was cancelled; raises `error` again if nobody here did so."""
        if self._cut_short is None or self._task is None:
            raise error
        self._task.uncancel()
        if self._cut_short is grpc.StatusCode.CANCELLED:
            self._code, self._ended = grpc.StatusCode.CANCELLED, True
            return
        details = {
            grpc.StatusCode.DEADLINE_EXCEEDED: "the deadline has passed",
            grpc.StatusCode.UNAVAILABLE: "the server is stopping",
        }[self._cut_short]
        await self.fail(self._cut_short, details)

    async def fail(self, code: grpc.StatusCode, details: str) -> None:
        """Ends the call with `code`, unless it has ended."""
        if not self._ended:
            self._code, self._details = code, details
            await self.end()

    def answer(self, response: Any) -> Awaitable[None]:
        """Ends the call well with its one response, or as the servicer set by `set_code`."""
        if self._aborted is not None or self._ended or self._code not in _WELL:
            return self.end()
        return self._end(self._framed(response))

    async def end(self) -> None:
        """Ends the call with the status that is set, OK if none is; unless it has ended."""
        if not self._ended:
            await self._end(b"")

    async def _end(self, body: bytes) -> None:
        self._ended = True
        send = self._send
        try:
            if self._initial is None and self._code not in _WELL:
                # "Trailers-Only": one block of headers says it all.
                headers = [_CONTENT_TYPE, _ACCEPT_ENCODING, *self._status()]
                await send({"type": "http.response.start", "status": 200, "headers": headers})
                await send({"type": "http.response.body"})
                return
            if self._initial is None:
                await send(_START if self._encoding == b"identity" else self._start(()))
            await send({"type": "http.response.body", "body": body})
            await send({"type": "http.response.trailers", "headers": self._status()})
        except OSError:
            self._code = grpc.StatusCode.CANCELLED

    def close(self) -> None:
        """Lets go of what the call held and tells who asked to be told."""
        self._ended = True
        if self._timer is not None:
            self._timer.cancel()
        if self._requests is not None:
            # They know each other, and the task's context may know this call: apart, they go at once and not when
            # cycles are looked for.
            self._requests.close()
            self._requests = None
        self._task = None
        for callback in self._callbacks:
            callback(self)

    # What the servicer does with it: grpc.aio.ServicerContext.

    async def read(self) -> Any:
        """The next request of a streaming call, grpc.aio.EOF after the last."""
        self._check()
        assert self._requests is not None
        message = await self._requests.next()
        return grpc.aio.EOF if message is None else self.parsed(message)

    async def write(self, message: Any) -> None:
        """Sends a response of a streaming call; returns once the host has taken it."""
        self._check()
        await self._send_streaming(self._framed(message))

    async def send_initial_metadata(self, initial_metadata: Iterable[tuple[str, str | bytes]]) -> None:
        """Sends the headers now."""
        self._check()
        if self._initial is not None:
            raise grpc.aio.UsageError("the initial metadata was already sent")
        # Hosts send headers with the first of the body.
        await self._send_streaming(b"", initial_metadata)

    async def abort(
        self,
        code: grpc.StatusCode,
        details: str = "",
        trailing_metadata: Iterable[tuple[str, str | bytes]] = (),
    ) -> NoReturn:
        """Ends the call with `code`; raises AbortError."""
        if self._aborted is not None:
            raise grpc.aio.UsageError("the call was already aborted")
        self._check()
        if code is grpc.StatusCode.OK:
            code, details = grpc.StatusCode.UNKNOWN, "aborted with the status OK"
        trailing = tuple(trailing_metadata)
        if trailing:
            self.set_trailing_metadata(trailing)
        self._code, self._details = code, details or self._details
        self._aborted = grpc.aio.AbortError("Locally aborted.")
        await self.end()
        raise self._aborted

    async def abort_with_status(self, status: Any) -> NoReturn:
        """Ends the call with a grpc.Status; raises AbortError."""
        await self.abort(status.code, status.details, status.trailing_metadata or ())

    def invocation_metadata(self) -> Metadata:  # type: ignore[override]  # a tuple, as grpcio's own
        """What the caller sent along."""
        return self._metadata

    def set_trailing_metadata(self, trailing_metadata: Iterable[tuple[str, str | bytes]]) -> None:
        """What to send along with the status; ValueError if HTTP/2 or gRPC would not carry it."""
        trailing = tuple(trailing_metadata)
        self._trailing_headers = to_headers(trailing)
        self._trailing = trailing

    def trailing_metadata(self) -> Metadata:  # type: ignore[override]  # a tuple, as grpcio's own
        """What is sent along with the status."""
        return self._trailing

    def set_code(self, code: grpc.StatusCode | int) -> None:
        """The status that the call ends with; unless it is OK the response is discarded."""
        self._code = _CODES[code] if isinstance(code, int) else code

    def code(self) -> grpc.StatusCode | None:  # type: ignore[override]  # None as grpcio's own
        """The status as far as one is set."""
        return self._code

    def set_details(self, details: str) -> None:
        """The text of the status."""
        self._details = details

    def details(self) -> str:
        """The text of the status."""
        return self._details

    def set_compression(self, compression: grpc.Compression) -> None:
        """Compresses the responses, if the caller accepts that; before the first of them."""
        if self._initial is not None:
            raise RuntimeError("set_compression comes before the initial metadata is sent")
        encoding = _ENCODINGS[compression]
        accepted = {name.strip() for name in self._headers.get(b"grpc-accept-encoding", b"").split(b",")}
        self._encoding = encoding if encoding in accepted else b"identity"

    def disable_next_message_compression(self) -> None:
        """Sends the next response as it is."""
        self._compress_next = False

    def peer(self) -> str:
        """The caller's address as gRPC writes it, e.g. ipv4:127.0.0.1:4242."""
        return peer(self._scope)

    def peer_identities(self) -> Iterable[bytes] | None:
        """The names in the caller's certificate, if it was verified."""
        return identity(self.auth_context())[1]

    def peer_identity_key(self) -> str | None:
        """Under which key of the auth context the identities are."""
        return identity(self.auth_context())[0]

    def auth_context(self) -> Mapping[str, Iterable[bytes]]:
        """What TLS says of the caller, under gRPC's keys."""
        return auth_context(self._scope)

    def time_remaining(self) -> float | None:  # type: ignore[override]  # None is what grpcio documents and gives
        """Seconds until the caller gives up, at least 0; None if it never does."""
        return None if self._deadline is None else max(0.0, self._deadline - time.monotonic())

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        """Has `callback` called with this context when the call is over."""
        self._callbacks = (*self._callbacks, callback)

    def done(self) -> bool:
        """Whether the call has ended."""
        return self._ended

    def cancelled(self) -> bool:
        """Whether the caller has gone."""
        return self._code is grpc.StatusCode.CANCELLED

    def parsed(self, message: bytes) -> Any:
        """The request in `message`; CallError if it is none."""
        if self.deserializer is None:
            return message
        try:
            return self.deserializer(message)
        except Exception:
            raise CallError(grpc.StatusCode.INTERNAL, "the request is not a message of this method") from None

    def _framed(self, response: Any) -> bytes:
        try:
            message = response if self.serializer is None else self.serializer(response)
        except Exception as error:
            raise CallError(grpc.StatusCode.INTERNAL, "the response cannot be serialised") from error
        if self._encoding == b"identity":
            return framed(message)
        encoding, self._compress_next = (self._encoding if self._compress_next else b"identity"), True
        return framed(message, encoding)

    def _check(self) -> None:
        """A servicer that went on after abort is stopped."""
        if self._aborted is not None:
            raise self._aborted
        if self._ended:
            raise grpc.aio.UsageError("the call has ended")

    def _client_gone(self) -> None:
        self.cut_short(grpc.StatusCode.CANCELLED)

    def _status(self) -> Headers:
        # Looking up a member of an enumeration runs Python.
        status = _OK if self._code in _WELL else _STATUS[self._code]
        if not self._details:
            return [status, *self._trailing_headers]
        return [status, (b"grpc-message", quoted(self._details)), *self._trailing_headers]

    def _start(self, metadata: Iterable[tuple[str, str | bytes]]) -> dict[str, Any]:
        self._initial = to_headers(metadata)
        headers = [_CONTENT_TYPE, _ACCEPT_ENCODING, *self._initial]
        if self._encoding != b"identity":
            headers.append((b"grpc-encoding", self._encoding))
        return {"type": "http.response.start", "status": 200, "headers": headers, "trailers": True}

    async def _send_streaming(self, body: bytes, metadata: Iterable[tuple[str, str | bytes]] = ()) -> None:
        try:
            if self._initial is None:
                await self._send(self._start(metadata))
            event = {"type": "http.response.body", "body": body, "more_body": True}
            # A host's future must not be cancelled.
            await asyncio.shield(self._send(event))
        except OSError:
            # What a servicer knows a caller's going by. The task itself runs here: it needs no cancelling.
            self._cut_short = self._cut_short or grpc.StatusCode.CANCELLED
            raise asyncio.CancelledError from None
