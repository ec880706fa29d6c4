"""serving.wire.pool: foreign messages beside whoever else has them."""

import subprocess
import sys

from google.protobuf import descriptor_pool

from serving.wire import tensorflow_pb2, tensorflow_serving_pb2
from serving.wire.pool import pool

OTHER_FIRST = """
from google.protobuf import descriptor_pb2, descriptor_pool
other = descriptor_pb2.FileDescriptorProto(name="other.proto", package="tensorflow")
other.message_type.add(name="TensorProto").field.add(name="alien", number=1, type=9, label=1)
descriptor_pool.Default().Add(other)
from serving.wire import tensorflow_pb2
assert "dtype" in tensorflow_pb2.TensorProto.DESCRIPTOR.fields_by_name
assert "alien" in descriptor_pool.Default().FindMessageTypeByName("tensorflow.TensorProto").fields_by_name
"""


def test_coexistence() -> None:
    """A different TensorProto in the default pool stays what it is, and so does ours."""
    subprocess.run([sys.executable, "-c", OTHER_FIRST], check=True)


def test_private() -> None:
    """Every message lives in the private pool, nested and well-known ones too."""
    response = tensorflow_serving_pb2.GetModelMetadataResponse.DESCRIPTOR
    assert response.file.pool is pool()
    assert response.nested_types_by_name["MetadataEntry"].fields_by_name["value"].message_type.file.pool is pool()
    assert pool() is not descriptor_pool.Default()


def test_unknown_fields_pass_through() -> None:
    """A field that our copy of a message lacks is kept, and sent on."""
    content = b"\x1a\x01x"  # field 3
    assert tensorflow_pb2.TensorShapeProto.Dim.FromString(content).SerializeToString() == content


def test_enums() -> None:
    """Enum types and their values are there by name."""
    assert tensorflow_pb2.DT_STRING == tensorflow_pb2.DataType.Value("DT_STRING") == 7
    assert tensorflow_serving_pb2.ModelVersionStatus.AVAILABLE == 30
