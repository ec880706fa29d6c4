"""The private descriptor pool that foreign messages live in.

TensorFlow, tensorflow-serving-api and tritonclient register the same message names in protobuf's default pool, where a
second registration fails. In a pool of their own our copies coexist with any of them in one process.
"""

from functools import cache
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.internal import enum_type_wrapper


@cache
def pool() -> descriptor_pool.DescriptorPool:
    """The pool, filled from the descriptor set beside this module."""
    files = descriptor_pb2.FileDescriptorSet.FromString(Path(__file__).with_name("wire.binpb").read_bytes())
    private = descriptor_pool.DescriptorPool()
    for file in files.file:
        private.Add(file)
    return private


def define(module: dict[str, Any], proto: str) -> None:
    """Puts the message classes, enums and enum values of the file `proto` into a module's globals."""
    file = pool().FindFileByName(proto)
    module["DESCRIPTOR"] = file
    for name, message in file.message_types_by_name.items():
        module[name] = message_factory.GetMessageClass(message)
    for name, enum in file.enum_types_by_name.items():
        module[name] = enum_type_wrapper.EnumTypeWrapper(enum)
        module |= {value.name: value.number for value in enum.values}
