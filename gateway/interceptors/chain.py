"""Runs a call through the interceptors and turns what it raises into a status.

The chain takes requests as bytes and parses them itself: a caller who may not, or who sends too much, costs no parsing.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import Any, TypeVar

import grpc
import grpc.aio
from google.protobuf.message import DecodeError
from grpc_status import rpc_status

from gateway import status
from gateway.call import Call, current_call
from gateway.errors import InvalidInput, RequestTooLarge
from gateway.interceptors.interceptor import Interceptor
from gateway.interceptors.request_id import HEADER

Parse = Callable[[bytes], Any]
OnMessage = Callable[[Call], Awaitable[None] | None]
Request = TypeVar("Request")


class Chain(grpc.aio.ServerInterceptor):
    """The interceptors around every method that does not stream answers alone; none for exempt services (health)."""

    by_method = True
    """A handler goes by its method alone: who asks once need not ask again."""

    def __init__(
        self, interceptors: Sequence[Interceptor], *, max_request_bytes: int, exempt: Sequence[str] = ()
    ) -> None:
        # Only what does something; each start with the ends that its failure has to run.
        self._starts = [
            (interceptor.on_start, _ends(interceptors[: place + 1]))
            for place, interceptor in enumerate(interceptors)
            if _overrides(interceptor, "on_start")
        ]
        self._ends = _ends(interceptors)
        self._on_message = [
            interceptor.on_message for interceptor in interceptors if _overrides(interceptor, "on_message")
        ]
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
        handler: Any = await continuation(handler_call_details)
        if handler is None:
            return None
        if method.startswith(self._exempt):
            handler = self._unguarded(handler)
        elif handler.unary_unary is not None:
            handler = self._around_unary(method, handler)
        elif handler.stream_stream is not None:
            handler = self._around_stream(method, handler)
        elif handler.stream_unary is not None:
            handler = self._around_client_stream(method, handler)
        else:
            raise TypeError(f"{method}: methods that stream answers alone have no interceptors")
        self._handlers[method] = handler
        return handler

    def _unguarded(self, handler: Any) -> Any:
        """The handler as it is, but that a request which is no message is the caller's fault and not ours."""

        async def parsed(raw: bytes, context: Any) -> Any:
            try:
                return self._parse(raw, handler.request_deserializer)
            except (InvalidInput, RequestTooLarge) as error:
                await context.abort(status.code(error), error.message)

        async def unary(raw: bytes, context: Any) -> Any:
            return await handler.unary_unary(await parsed(raw, context), context)

        async def stream(raw: bytes, context: Any) -> None:
            await handler.unary_stream(await parsed(raw, context), context)

        if handler.unary_unary is not None:
            return grpc.unary_unary_rpc_method_handler(unary, response_serializer=handler.response_serializer)
        behaviour: Any = stream
        return grpc.unary_stream_rpc_method_handler(behaviour, response_serializer=handler.response_serializer)

    def _around_unary(self, method: str, handler: Any) -> Any:
        parse, serialize, servicer = handler.request_deserializer, handler.response_serializer, handler.unary_unary

        def answer(raw: bytes, context: Any) -> Awaitable[Any]:
            answering: Awaitable[Any] = servicer(self._parse(raw, parse), context)
            return answering

        async def unary(raw: bytes, context: Any) -> bytes:
            call = _call(method, context)
            call.request_bytes = len(raw)
            response: bytes = await self._run(call, context, answer, raw, serialize)
            return response

        return grpc.unary_unary_rpc_method_handler(unary)

    def _around_stream(self, method: str, handler: Any) -> Any:
        """For a method that is an asynchronous generator over the caller's messages."""

        async def stream(requests: AsyncIterator[bytes], context: Any) -> None:
            async def answer(requests: AsyncIterator[bytes], context: Any) -> None:
                messages = self._messages(requests, call, handler)
                async with aclosing(handler.stream_stream(messages, context)) as answers:
                    async for message in answers:
                        # Returns once there is room: who does not read is not written to.
                        await context.write(handler.response_serializer(message))

            call = _call(method, context)
            call.streaming = True
            await self._run(call, context, answer, requests)

        behaviour: Any = stream
        return grpc.stream_stream_rpc_method_handler(behaviour)

    def _around_client_stream(self, method: str, handler: Any) -> Any:
        async def stream(requests: AsyncIterator[bytes], context: Any) -> bytes:
            def answer(requests: AsyncIterator[bytes], context: Any) -> Awaitable[Any]:
                answering: Awaitable[Any] = handler.stream_unary(self._messages(requests, call, handler), context)
                return answering

            call = _call(method, context)
            call.streaming = True
            response: bytes = await self._run(call, context, answer, requests, handler.response_serializer)
            return response

        return grpc.stream_unary_rpc_method_handler(stream)

    def _messages(self, requests: AsyncIterator[bytes], call: Call, handler: Any) -> "_Messages":
        return _Messages(requests, call, self._on_message, lambda raw: self._parse(raw, handler.request_deserializer))

    async def _run(
        self,
        call: Call,
        context: Any,
        answer: Callable[[Request, Any], Awaitable[Any]],
        request: Request,
        serialize: Callable[[Any], bytes] | None = None,
    ) -> Any:
        """What `answer` makes of the request, with the interceptors around it; a failure becomes the call's status."""
        current_call.set(call)
        ends: Sequence[Callable[[Call], None]] = ()
        failure: Exception | None = None
        response: Any = None
        try:
            for start, its_ends in self._starts:
                ends = its_ends
                waiting = start(call)
                if waiting is not None:
                    await waiting
            ends = self._ends
            response = await answer(request, context)
            if serialize is not None:
                response = serialize(response)
        except asyncio.CancelledError:
            # The caller has gone, or its time is over: nobody is left to answer.
            expired = call.deadline is not None and time.monotonic() >= call.deadline
            call.code = "DEADLINE_EXCEEDED" if expired else "CANCELLED"
            raise
        except grpc.aio.InternalError as error:
            # A message could not be written: the caller has gone.
            call.code = "CANCELLED"
            raise asyncio.CancelledError from error
        except Exception as error:
            call.failure = failure = error
            known = status.known(error, call.request_id)
            call.code, call.reason, call.message = status.code(known).name, known.reason, status.bounded(known.message)
        finally:
            for end in ends:
                end(call)
        request_id = (HEADER, call.request_id)
        if failure is None:
            context.set_trailing_metadata((request_id,))
            return response
        ending = rpc_status.to_status(status.to_status(status.known(failure, call.request_id), call.request_id))
        await context.abort(ending.code, ending.details, (*ending.trailing_metadata, request_id))
        raise AssertionError  # abort raises

    def _parse(self, raw: bytes, parse: Parse) -> Any:
        if len(raw) > self._max_request_bytes:
            raise RequestTooLarge(
                f"the request has {len(raw)} bytes; expected {self._max_request_bytes} at most",
                metadata={"max_request_bytes": str(self._max_request_bytes)},
            )
        try:
            return parse(raw)
        except DecodeError:
            raise InvalidInput("the request is not a message of this method", reason="REQUEST_UNREADABLE") from None


def _overrides(interceptor: Interceptor, hook: str) -> bool:
    return getattr(type(interceptor), hook) is not getattr(Interceptor, hook)


def _ends(interceptors: Sequence[Interceptor]) -> list[Callable[[Call], None]]:
    """What runs when a call ends that got as far as the last of `interceptors`, innermost first."""
    return [interceptor.on_end for interceptor in reversed(interceptors) if _overrides(interceptor, "on_end")]


class _Messages:
    """A caller's messages, parsed; one that cannot be is raised as an error, and the next ones come all the same."""

    def __init__(
        self, requests: AsyncIterator[bytes], call: Call, on_message: Sequence[OnMessage], parse: Parse
    ) -> None:
        self._requests = aiter(requests)
        self._call = call
        self._on_message = on_message
        self._parse = parse

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        raw = await anext(self._requests)
        self._call.messages += 1
        self._call.request_bytes += len(raw)
        for check in self._on_message:
            waiting = check(self._call)
            if waiting is not None:
                await waiting
        return self._parse(raw)


def _call(method: str, context: Any) -> Call:
    remaining = context.time_remaining()
    return Call(
        method,
        # Backwards: the first of several wins.
        dict(reversed(context.invocation_metadata() or ())),
        context.peer,
        None if remaining is None else time.monotonic() + remaining,
        auth_context=context.auth_context,
    )
