"""Server reflection over every service on the port, foreign ones too: for grpcurl, grpcui and their like."""

from collections.abc import Sequence
from typing import Any

import grpc
import grpc.aio
from google.protobuf import descriptor_pb2
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha.reflection import SERVICE_NAME
from grpc_reflection.v1alpha.reflection import aio as reflection_aio

from serving.wire import open_inference_pb2, tensorflow_serving_pb2
from tensorgate.v1 import inference_service_pb2

# The messages of both versions are the same but for their package, which does not travel.
NAMES = (SERVICE_NAME, "grpc.reflection.v1.ServerReflection")
_FILES: tuple[Any, ...] = (
    inference_service_pb2.DESCRIPTOR,
    open_inference_pb2.DESCRIPTOR,
    tensorflow_serving_pb2.DESCRIPTOR,
    health_pb2.DESCRIPTOR,
    reflection_pb2.DESCRIPTOR,
)


def register(server: grpc.aio.Server, services: Sequence[str]) -> None:
    """Adds reflection, version 1 and its predecessor, over `services`."""
    servicer = reflection_aio.ReflectionServicer(services, pool=_pool())
    handler = grpc.stream_stream_rpc_method_handler(
        servicer.ServerReflectionInfo,
        reflection_pb2.ServerReflectionRequest.FromString,
        reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    server.add_generic_rpc_handlers(
        tuple(grpc.method_handlers_generic_handler(name, {"ServerReflectionInfo": handler}) for name in NAMES)
    )


def _pool() -> DescriptorPool:
    """A pool with the files of every service: ours lie in the default one, foreign ones in the private one."""
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

    for file in _FILES:
        add(file)
    return pool
