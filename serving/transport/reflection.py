"""Server reflection, of messages in private descriptor pools too: for grpcurl, grpcui and their like."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Sequence
from typing import Any, Final

import grpc
import grpc.aio
from google.protobuf import descriptor_pb2
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha.reflection import SERVICE_NAME
from grpc_reflection.v1alpha.reflection import aio as reflection_aio

# The messages of both versions are the same but for their package, which does not travel.
NAMES: Final = (SERVICE_NAME, "grpc.reflection.v1.ServerReflection")
_OWN_FILE: Any = reflection_pb2.DESCRIPTOR


def register(server: grpc.aio.Server, services: Sequence[str], files: Sequence[Any], until: asyncio.Event) -> None:
    """Adds reflection, version 1 and its predecessor, over itself and `services`, which `files` describe.

    Its streams end when `until` is set: left open by a debugger they would hold a stopping server up.
    """
    # The library's types say that its answers are awaited.
    servicer: Any = reflection_aio.ReflectionServicer((*services, SERVICE_NAME), pool=_pool((*files, _OWN_FILE)))

    async def answers(requests: AsyncIterable[Any], context: Any) -> AsyncGenerator[Any]:
        async for answer in servicer.ServerReflectionInfo(_received(requests, until), context):
            yield answer

    handler = grpc.stream_stream_rpc_method_handler(
        answers,
        reflection_pb2.ServerReflectionRequest.FromString,
        reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    server.add_generic_rpc_handlers(
        tuple(grpc.method_handlers_generic_handler(name, {"ServerReflectionInfo": handler}) for name in NAMES)
    )


async def _received(requests: AsyncIterable[Any], until: asyncio.Event) -> AsyncGenerator[Any]:
    """`requests` until they end or the event is set."""
    received = aiter(requests)

    async def following() -> Any:
        return await anext(received, None)

    over = asyncio.ensure_future(until.wait())
    request: asyncio.Future[Any] | None = None
    try:
        while True:
            request = asyncio.ensure_future(following())
            await asyncio.wait((request, over), return_when=asyncio.FIRST_COMPLETED)
            if not request.done() or request.result() is None:
                return
            yield request.result()
    finally:
        over.cancel()
        if request:
            request.cancel()


def _pool(files: Sequence[Any]) -> DescriptorPool:
    """A pool with `files` and what they import: they may lie in several."""
    pool = DescriptorPool()
    added: set[str] = set()

    def add(file: FileDescriptor) -> None:
        if file.name in added:
            return
        added.add(file.name)
        for dependency in file.dependencies:
            add(dependency)
        proto = descriptor_pb2.FileDescriptorProto()
        file.CopyToProto(proto)
        pool.Add(proto)

    for file in files:
        add(file)
    return pool
