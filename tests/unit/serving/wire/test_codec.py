"""serving.wire.codec: tensors survive the wire, and bytes that are no tensor do no harm."""

import tracemalloc

import ml_dtypes
import numpy as np
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from serving.wire import codec
from serving.wire import tensorflow_pb2 as tf
from serving.wire.codec import ELEMENT_TYPES, Array, ElementType, TensorError, element_type_of, to_numpy, to_proto
from serving.wire.lengths import length

STRING = codec.element_type(tf.DT_STRING)
NUMBERS = [entry for entry in ELEMENT_TYPES if entry is not STRING]
SHAPES = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)
MAX_BYTES = 1 << 16


@st.composite
def arrays(draw: st.DrawFn, entry: ElementType) -> Array:
    """Arrays of any shape and of any bits, NaNs included."""
    shape = draw(SHAPES)
    size = int(np.prod(shape))
    if entry is STRING:
        array = np.empty(size, object)
        array[:] = draw(st.lists(st.binary(max_size=8), min_size=size, max_size=size))
    elif entry.code == tf.DT_BOOL:
        array = np.array(draw(st.lists(st.booleans(), min_size=size, max_size=size)), bool)
    else:
        content = draw(st.binary(min_size=size * entry.numpy.itemsize, max_size=size * entry.numpy.itemsize))
        array = np.frombuffer(content, entry.numpy)
    return array.reshape(shape)


def assert_same(actual: Array, expected: Array) -> None:
    """Same type, shape and bits; a NaN equals itself."""
    assert (actual.dtype, actual.shape) == (expected.dtype, expected.shape)
    if expected.dtype == object:
        assert actual.tolist() == expected.tolist()
    else:
        assert actual.tobytes() == expected.tobytes()


@pytest.mark.parametrize("typed", [False, True], ids=["content", "typed"])
@pytest.mark.parametrize("entry", ELEMENT_TYPES, ids=lambda entry: entry.name)
@settings(max_examples=30, deadline=None)
@given(st.data())
def test_round_trip(entry: ElementType, typed: bool, data: st.DataObject) -> None:
    """Every dtype and shape comes back as it was, from tensor_content and from the typed field."""
    array = data.draw(arrays(entry))
    content = to_proto(array, typed=typed).SerializeToString()
    assert_same(to_numpy(tf.TensorProto.FromString(content)), array)


@pytest.mark.parametrize("entry", ELEMENT_TYPES, ids=lambda entry: entry.name)
def test_typed_field(entry: ElementType) -> None:
    """`typed` fills the field that TensorFlow uses for the dtype, and no other."""
    proto = to_proto(np.array([entry.numpy.type(1)] if entry is not STRING else [b"1"], entry.numpy), typed=True)
    assert {field.name for field, _ in proto.ListFields()} == {"dtype", "tensor_shape", entry.field}


@pytest.mark.parametrize("array", [np.array(["ä", "b"]), np.array([b"\xc3\xa4", b"b"]), np.array(["ä", b"b"], object)])
def test_text(array: Array) -> None:
    """Text arrays of any kind become UTF-8 strings."""
    assert to_numpy(to_proto(array)).tolist() == [b"\xc3\xa4", b"b"]


@pytest.mark.parametrize("typed", [False, True])
@pytest.mark.parametrize(
    "array", [np.arange(12, dtype="f4").reshape(3, 4).T, np.arange(12, dtype=">f4").reshape(3, 4), np.float32(7)]
)
def test_layout(array: Array, typed: bool) -> None:
    """Strides, byte order and numpy scalars do not matter."""
    np.testing.assert_array_equal(to_numpy(to_proto(np.asarray(array), typed=typed)), array)


def test_content_is_not_copied() -> None:
    """An array made of tensor_content is a read-only view of the message's bytes."""
    array = to_numpy(to_proto(np.zeros(4, np.float32)))
    assert not array.flags.writeable
    assert not array.flags.owndata


def test_fill_proto() -> None:
    """fill_proto writes into a message that is already in its place."""
    proto = tf.SignatureDef()
    codec.fill_proto(proto.defaults["x"], np.array([1, 2], np.int64), typed=True)
    assert proto.defaults["x"] == to_proto(np.array([1, 2], np.int64), typed=True)


def tensor(shape: list[int], **fields: object) -> tf.TensorProto:
    """A TensorProto, float unless `fields` say otherwise."""
    proto = tf.TensorProto(**{"dtype": tf.DT_FLOAT} | fields)
    for size in shape:
        proto.tensor_shape.dim.add(size=size)
    return proto


@pytest.mark.parametrize("entry", ELEMENT_TYPES, ids=lambda entry: entry.name)
def test_last_value_repeats(entry: ElementType) -> None:
    """Fewer values than elements repeat the last one; none at all are zeros, or empty strings."""
    values = np.array([b"a", b"b"], object) if entry is STRING else np.array([0, 1], entry.numpy)
    proto = to_proto(values, typed=True)
    proto.tensor_shape.dim[0].size = 4
    assert to_numpy(proto).tolist() == [*values.tolist(), values.tolist()[1], values.tolist()[1]]
    zero = b"" if entry is STRING else entry.numpy.type(0)
    assert to_numpy(tensor([2, 1], dtype=entry.code)).tolist() == [[zero], [zero]]


@pytest.mark.parametrize(
    ("proto", "reason"),
    [
        (tensor([1], dtype=tf.DT_INVALID), "not supported"),
        (tensor([1], dtype=tf.DT_RESOURCE), "not supported"),
        (tensor([1], dtype=99), "not supported"),
        (tensor([-1]), "negative"),
        (tensor([1] * 65), "too many"),
        (tensor([1 << 40, 1 << 40]), "larger"),
        (tensor([0, 1 << 62]), "larger"),
        (tensor([1 << 40], dtype=tf.DT_STRING), "larger"),
        (tensor([2], float_val=[1, 2, 3]), "2 elements, not 3"),
        (tensor([1], dtype=tf.DT_STRING, string_val=[b"a", b"b"]), "1 elements, not 2"),
        (tensor([2], tensor_content=b"1234567"), "needs 8 bytes, not 7"),
        (tensor([1], dtype=tf.DT_COMPLEX64, scomplex_val=[1]), "no complex64"),
        (tf.TensorProto(dtype=tf.DT_FLOAT, tensor_shape=tf.TensorShapeProto(unknown_rank=True)), "unknown rank"),
    ],
)
def test_refused(proto: tf.TensorProto, reason: str) -> None:
    """What is no tensor is refused, with the reason."""
    with pytest.raises(TensorError, match=reason):
        to_numpy(proto)


@pytest.mark.parametrize(
    "array",
    [np.array(["2020-01-01"], "M8[D]"), np.array([1], ml_dtypes.float8_e5m2), np.array([1], object), np.array([None])],
)
def test_array_refused(array: Array) -> None:
    """An array that TensorFlow has no dtype for is refused."""
    with pytest.raises(TensorError):
        to_proto(array)


@given(st.lists(st.binary(max_size=200), max_size=5))
def test_strings_in_tensor_content(strings: list[bytes]) -> None:
    """Strings are read from tensor_content too: TFS answers so under enable_serialization_as_tensor_content."""
    lengths = b"".join(length(len(string)) for string in strings)
    proto = tensor([len(strings)], dtype=tf.DT_STRING, tensor_content=lengths + b"".join(strings))
    assert to_numpy(proto).tolist() == strings


@pytest.mark.parametrize("content", [b"\x02a", b"\x00a", b"\x81", b"\xff\xff\xff\xff\xff\x01"])
def test_broken_strings_in_tensor_content(content: bytes) -> None:
    """Lengths that do not add up, or do not end, are refused."""
    with pytest.raises(TensorError):
        to_numpy(tensor([1], dtype=tf.DT_STRING, tensor_content=content))


SMALL = st.integers(-3, 40)
HOSTILE = st.builds(
    tensor,
    st.lists(SMALL | st.integers(-(2**63), 2**63 - 1), max_size=6),
    dtype=st.integers(-2, 30) | st.sampled_from([entry.code for entry in ELEMENT_TYPES]),
    tensor_content=st.binary(max_size=64),
    **{
        field: st.lists(values, max_size=9)
        for field, values in {
            "float_val": st.floats(width=32),
            "double_val": st.floats(),
            "int_val": st.integers(-(2**31), 2**31 - 1),
            "string_val": st.binary(max_size=9),
            "half_val": st.integers(-(2**31), 2**31 - 1),
            "scomplex_val": st.floats(width=32),
            "uint64_val": st.integers(0, 2**64 - 1),
        }.items()
    },
).map(lambda proto: proto.SerializeToString())


@settings(max_examples=400, deadline=None)
@given(st.binary(max_size=200) | HOSTILE)
def test_hostile_bytes(content: bytes) -> None:
    """Any bytes are a tensor or a TensorError, and take no more memory than was allowed beyond their own."""
    try:
        proto = tf.TensorProto.FromString(content)
    except DecodeError:
        return
    tracemalloc.start()
    try:
        array = to_numpy(proto, max_bytes=MAX_BYTES)
        element_type_of(array)
        assert array.nbytes <= MAX_BYTES
    except TensorError:
        pass
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak <= MAX_BYTES + 100 * len(content) + 10_000
