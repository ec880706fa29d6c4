"""A service that shows what a transport carries: `python -m tests.fakes.transport_service TRANSPORT [TLS_DIRECTORY]`.

With a directory, where key.pem, certificate.pem and clients.pem are, clients must show a certificate.
"""

import asyncio
import json
import sys
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
from google.protobuf import any_pb2, wrappers_pb2
from google.rpc import status_pb2
from grpc_health.v1.health_pb2_grpc import add_HealthServicer_to_server
from grpc_reflection.v1alpha import reflection
from grpc_status import rpc_status

from serving.transport.envoy.host import Host
from serving.transport.envoy.options import EnvoyOptions, Tls
from serving.transport.envoy.server import EnvoyServer
from serving.transport.grpc_aio import GrpcAioServer
from serving.transport.health import HealthServicer

SERVICE = "test.Transport"
MAX_MESSAGE_BYTES = 40 << 20
MAX_HEADER_BYTES = 8 << 10
LISTEN = "127.0.0.1:0"


class Servicer:
    """Methods over bytes."""

    def __init__(self) -> None:
        self.cancelled: list[str] = []

    async def Echo(self, request: bytes, context: Any) -> bytes:
        """Answers with the request, compressed if the caller takes it."""
        if dict(context.invocation_metadata()).get("compress"):
            context.set_compression(grpc.Compression.Gzip)
        return request

    async def Describe(self, _request: bytes, context: Any) -> bytes:
        """Answers with what the context says, as JSON; sends metadata of its own."""
        await context.send_initial_metadata((("initial", "1"), ("initial", "2")))
        context.set_trailing_metadata((("trailing-bin", b"\0\xff"),))
        metadata = [[key, repr(value)] for key, value in context.invocation_metadata()]
        identities = context.peer_identities()
        return json.dumps(
            {
                "metadata": metadata,
                "peer": context.peer(),
                "time_remaining": context.time_remaining(),
                "identity": [context.peer_identity_key(), [name.decode() for name in identities or ()]],
                "auth": {key: [value.decode() for value in values] for key, values in context.auth_context().items()},
            }
        ).encode()

    async def Mirror(self, _request: bytes, context: Any) -> bytes:
        """Sends back the metadata that it was sent."""
        context.set_trailing_metadata(context.invocation_metadata())
        return b""

    async def Fail(self, request: bytes, context: Any) -> bytes:
        """Aborts with details."""
        detail = any_pb2.Any()
        detail.Pack(wrappers_pb2.BytesValue(value=request))
        status = status_pb2.Status(code=9, message="100% größer\nas it was", details=[detail])
        await context.abort_with_status(rpc_status.to_status(status))
        raise AssertionError

    async def Boom(self, _request: bytes, _context: Any) -> bytes:
        """Fails."""
        raise RuntimeError("secret")

    async def Sleep(self, request: bytes, _context: Any) -> bytes:
        """Answers when it is cancelled, which is to say never."""
        return await self._sleep(request.decode())

    async def SleepInStream(self, requests: Any, _context: Any) -> bytes:
        """The same, but that the caller has not ended its request."""
        return await self._sleep((await anext(requests)).decode())

    async def _sleep(self, name: str) -> bytes:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            self.cancelled.append(name)
            raise
        return b""

    async def Cancelled(self, _request: bytes, _context: Any) -> bytes:
        """Which sleepers were cancelled."""
        return json.dumps(self.cancelled).encode()

    async def Count(self, request: bytes, _context: Any) -> Any:
        """Answers with so many numbers."""
        for number in range(int(request)):
            yield str(number).encode()

    async def Join(self, requests: Any, _context: Any) -> bytes:
        """Answers with all requests, joined."""
        return b",".join([request async for request in requests])

    async def Sum(self, requests: Any, _context: Any) -> bytes:
        """Takes its time, and then answers with the number of all bytes."""
        await asyncio.sleep(0.5)
        return str(sum([len(request) async for request in requests])).encode()

    async def Chat(self, requests: Any, _context: Any) -> Any:
        """Answers each request at once."""
        async for request in requests:
            yield request


def register(servicer: Servicer, server: grpc.aio.Server) -> None:
    """Adds the service."""
    handlers: dict[str, Any] = {
        name: kind(getattr(servicer, name))
        for kind, names in (
            (grpc.unary_unary_rpc_method_handler, ("Echo", "Describe", "Mirror", "Fail", "Boom", "Sleep", "Cancelled")),
            (grpc.unary_stream_rpc_method_handler, ("Count",)),
            (grpc.stream_unary_rpc_method_handler, ("Join", "Sum", "SleepInStream")),
            (grpc.stream_stream_rpc_method_handler, ("Chat",)),
        )
        for name in names
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    reflection.enable_server_reflection((SERVICE, reflection.SERVICE_NAME), server)


async def serve(arguments: list[str]) -> int:
    """Serves until SIGTERM."""
    transport, *tls = arguments
    kind: Any = EnvoyServer if transport == "envoy" else GrpcAioServer
    health = HealthServicer()
    await health.tell("", serving=True)
    server = kind(
        [partial(register, Servicer()), partial(add_HealthServicer_to_server, health)],
        max_message_bytes=MAX_MESSAGE_BYTES,
    )
    port = server.bind(LISTEN, credentials(Path(tls[0])) if tls else None)
    stopping = asyncio.Event()
    server.on_stop_signal(stopping.set)
    await server.start()
    print(f"serving on 127.0.0.1:{port}", flush=True)  # noqa: T201
    await stopping.wait()
    await health.enter_graceful_shutdown()
    await health.end_watches()
    await server.stop(5)
    print("stopped", flush=True)  # noqa: T201
    return 0


def credentials(directory: Path) -> grpc.ServerCredentials:
    """What grpcio takes of the directory."""
    key, certificate, clients = (
        (directory / name).read_bytes() for name in ("key.pem", "certificate.pem", "clients.pem")
    )
    return grpc.ssl_server_credentials([(key, certificate)], clients, require_client_auth=True)


app = Host(serve)

if __name__ == "__main__":
    name, *rest = sys.argv[1:]
    if name == "envoy":
        from serving.transport.envoy.launch import launch  # pyvoy is not for every platform

        directory = Path(rest[0]) if rest else None
        tls = directory and Tls(
            key=(directory / "key.pem").read_bytes(),
            certificate=(directory / "certificate.pem").read_bytes(),
            client_ca=(directory / "clients.pem").read_bytes(),
            require_client_certificate=True,
        )
        options = EnvoyOptions(max_header_bytes=MAX_HEADER_BYTES, ping_interval=2.0, ping_timeout=3.0)
        launch("tests.fakes.transport_service:app", sys.argv[1:], [LISTEN], options, tls)
    asyncio.run(serve(sys.argv[1:]))
