"""A bare grpc.aio server that answers with the request: what Python gRPC costs before anything is done."""

import asyncio
from typing import Any

import grpc
import grpc.aio


async def _echo(request: bytes, _context: Any) -> bytes:
    return request


async def main() -> None:
    """Serves until the process is ended."""
    server = grpc.aio.server()
    handler: Any = grpc.unary_unary_rpc_method_handler(_echo)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("bench.Echo", {"Echo": handler}),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(f"serving on 127.0.0.1:{port}", flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(main())
