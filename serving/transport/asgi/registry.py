"""What servicers register at."""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, NoReturn

import grpc
import grpc.aio


class CallDetails(NamedTuple):
    """A call as interceptors and generic handlers are told of it."""

    method: str
    invocation_metadata: Any


class Registry(grpc.aio.Server):
    """A `grpc.aio.Server` for the generated `add_…_to_server`, but without ports: it finds a call's handler."""

    def __init__(self, interceptors: Sequence[grpc.aio.ServerInterceptor]) -> None:
        self._handlers: dict[str, Any] = {}
        self._generic: list[Any] = []
        self._by_method = all(getattr(interceptor, "by_method", False) for interceptor in interceptors)
        self._found: dict[str, Any] = {}
        self._find: Callable[[Any], Awaitable[Any]] = self._registered
        # The first interceptor is the outermost.
        for interceptor in reversed(interceptors):
            self._find = _intercepted(interceptor, self._find)

    def add_generic_rpc_handlers(self, generic_rpc_handlers: Iterable[Any]) -> None:
        """Takes handlers that say themselves which methods are theirs."""
        self._generic += generic_rpc_handlers

    def add_registered_method_handlers(self, service_name: str, method_handlers: Mapping[str, Any]) -> None:
        """Takes the handlers of a service by the methods' names; they come before generic ones."""
        self._handlers |= {f"/{service_name}/{method}": handler for method, handler in method_handlers.items()}

    def known(self, method: str) -> Any:
        """The method's handler if all interceptors go by the method and it has been asked for before, else None."""
        return self._found.get(method)

    async def handler(self, details: CallDetails) -> Any:
        """The call's handler with all interceptors around it, or None if there is none.

        Interceptors with a true `by_method` are asked once for each method.
        """
        handler = await self._find(details)
        if self._by_method and handler is not None:
            self._found[details.method] = handler
        return handler

    async def _registered(self, details: Any) -> Any:
        handler = self._handlers.get(details.method)
        if handler is None:
            for generic in self._generic:
                handler = generic.service(details)
                if handler is not None:
                    break
        return handler

    def add_insecure_port(self, address: str) -> int:
        """The host has the ports."""
        self._no_ports()

    def add_secure_port(self, address: str, server_credentials: grpc.ServerCredentials) -> int:
        """The host has the ports."""
        self._no_ports()

    async def start(self) -> None:
        """The host has the ports."""
        self._no_ports()

    async def stop(self, grace: float | None) -> None:
        """The host has the ports."""
        self._no_ports()

    async def wait_for_termination(self, timeout: float | None = None) -> bool:
        """The host has the ports."""
        self._no_ports()

    def _no_ports(self) -> NoReturn:
        raise NotImplementedError("the host that runs the application listens, starts and stops")


def _intercepted(
    interceptor: grpc.aio.ServerInterceptor, find: Callable[[Any], Awaitable[Any]]
) -> Callable[[Any], Awaitable[Any]]:
    def intercepted(details: Any) -> Awaitable[Any]:
        return interceptor.intercept_service(find, details)

    return intercepted
