"""Our own services in JSON: the unary methods by the Connect protocol, POST /<service>/<method>."""

from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Any

from google.protobuf import json_format, message_factory
from google.protobuf.message import Message

from gateway.errors import InvalidInput
from gateway.rest.application import Behaviour
from gateway.rest.context import HttpContext

PACKAGE = "tensorgate.v1"


def unary(files: Iterable[Any]) -> Iterator[tuple[str, Any]]:
    """The unary methods of our own services in `files`, descriptors, by path."""
    for file in files:
        for service in file.services_by_name.values() if file.package == PACKAGE else ():
            for method in service.methods:
                if not (method.client_streaming or method.server_streaming):
                    yield f"/{service.full_name}/{method.name}", method


def methods(servicers: Iterable[tuple[Any, Any]]) -> dict[str, Behaviour]:
    """The unary methods of our own services by path; of each service its file's descriptor and who answers."""
    return {
        path: _behaviour(
            message_factory.GetMessageClass(method.input_type),
            getattr(servicer, method.name),
        )
        for file, servicer in servicers
        for path, method in unary([file])
    }


def _behaviour(asked: type[Message], method: Callable[[Any, Any], Awaitable[Message]]) -> Behaviour:
    async def answer(body: bytes, context: HttpContext) -> bytes:
        response = await method(_read(body, asked()), context)
        # A probability of 0 and the class 0 are answers too.
        return json_format.MessageToJson(
            response, indent=None, always_print_fields_with_no_presence=True, ensure_ascii=False
        ).encode()

    return answer


def _read(body: bytes, request: Message) -> Message:
    try:
        return json_format.Parse(body or b"{}", request)
    # The recursion is that of what is nested too deep.
    except (json_format.ParseError, UnicodeDecodeError, RecursionError) as error:
        text = "nested too deep" if isinstance(error, RecursionError) else str(error)
        raise InvalidInput(f"the body is no {request.DESCRIPTOR.name}: {text}", reason="REQUEST_UNREADABLE") from error
