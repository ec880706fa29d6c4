"""Turns what a method raises into a gRPC status."""

import logging
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import grpc
import grpc.aio
from google.protobuf.message import DecodeError
from grpc.aio import AbortError

from serving.wire.errors import ServingError

logger = logging.getLogger(__name__)

# Quoted, since gRPC's class is generic only for type checkers.
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any] | None"


class ErrorInterceptor(grpc.aio.ServerInterceptor):
    """Answers a ServingError with its code and text, and anything else with INTERNAL and no more; the log has the rest.

    Requests are parsed here, so that bytes which are no message are the caller's error and not the server's.
    """

    by_method = True
    """A handler goes by its method alone: who asks once need not ask again."""

    def __init__(self) -> None:
        # A method's handler is always the same, and wrapped once: a call costs nothing to look up.
        self._wrapped: dict[str, Handler] = {}

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler:
        """Wraps the method that is called, if there is one."""
        name = handler_call_details.method
        if name in self._wrapped:
            return self._wrapped[name]
        handler = await continuation(handler_call_details)
        # Only health and reflection stream, and they answer for themselves.
        if handler is None or handler.response_streaming:
            return handler
        self._wrapped[name] = _wrapped(handler, name)
        return self._wrapped[name]


def _wrapped(handler: Any, name: str) -> Handler:
    async def answer(content: bytes, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
        try:
            return await handler.unary_unary(handler.request_deserializer(content), context)
        except DecodeError:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "the request is no message of its type")
        except ServingError as error:
            await context.abort(error.code, error.text)
        except AbortError:
            raise
        except Exception:
            logger.exception("%s failed", name)
            await context.abort(grpc.StatusCode.INTERNAL, "internal error")

    return grpc.unary_unary_rpc_method_handler(answer, response_serializer=handler.response_serializer)
