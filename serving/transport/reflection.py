"""Server reflection, of messages in private descriptor pools too: for grpcurl, grpcui and their like."""

from collections.abc import Sequence
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


def register(server: grpc.aio.Server, services: Sequence[str], files: Sequence[Any]) -> None:
    """Adds reflection, version 1 and its predecessor, over itself and `services`, which `files` describe."""
    servicer = reflection_aio.ReflectionServicer((*services, SERVICE_NAME), pool=_pool((*files, _OWN_FILE)))
    handler = grpc.stream_stream_rpc_method_handler(
        servicer.ServerReflectionInfo,
        reflection_pb2.ServerReflectionRequest.FromString,
        reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    server.add_generic_rpc_handlers(
        tuple(grpc.method_handlers_generic_handler(name, {"ServerReflectionInfo": handler}) for name in NAMES)
    )


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
