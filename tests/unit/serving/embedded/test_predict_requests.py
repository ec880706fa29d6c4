"""serving.embedded.predict_requests: read as parsed, whatever came before; answers as protobuf writes them."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.embedded.errors import UnparsableTensor
from serving.embedded.inference import Predict, Predicted
from serving.embedded.predict_requests import PredictRequests, parsed
from serving.wire import tensorflow_pb2 as tf
from serving.wire import tensorflow_serving_pb2 as tfs
from serving.wire.codec import to_numpy, to_proto

CONTENTS = st.one_of(st.binary(max_size=80), st.sampled_from([bytes(32), b"\x0a" * 20, bytes(1000), bytes(3136)]))


def tensor(content: bytes, dtype: int, missing: int) -> tf.TensorProto:
    """A tensor, which is none if bytes are missing or its type is odd."""
    shape = tf.TensorShapeProto(dim=[tf.TensorShapeProto.Dim(size=len(content) + missing)])
    return tf.TensorProto(dtype=tf.DataType.ValueType(dtype), tensor_shape=shape, tensor_content=content)


TENSORS = st.one_of(
    st.builds(
        tensor,
        CONTENTS,
        st.sampled_from([tf.DT_UINT8, tf.DT_UINT8, tf.DT_BOOL, tf.DT_STRING, tf.DT_RESOURCE]),
        st.sampled_from([0, 0, 0, 1]),
    ),
    st.builds(
        lambda values: to_proto(np.array(values, np.float32), typed=True), st.lists(st.floats(width=32), max_size=9)
    ),
)
SPECS = st.one_of(
    st.none(),
    st.builds(tfs.ModelSpec, name=st.text(max_size=4), version_label=st.sampled_from(["", "stable"])),
)


@st.composite
def requests(draw: st.DrawFn) -> tfs.PredictRequest:
    """Requests of any kind."""
    request = tfs.PredictRequest(output_filter=draw(st.lists(st.sampled_from("xy"), max_size=2)))
    spec = draw(SPECS)
    if spec is not None:
        request.model_spec.CopyFrom(spec)
    for alias, proto in draw(st.dictionaries(st.text(max_size=3), TENSORS, max_size=3)).items():
        request.inputs[alias].CopyFrom(proto)
    return request


def plain(asked: Predict) -> Any:
    """What is asked, as something that can be compared."""
    try:
        inputs: Any = {
            alias: (array.dtype, array.shape, array.tolist() if array.dtype == object else array.tobytes())
            for alias, array in asked.inputs().items()
        }
    except UnparsableTensor:
        # Which of several is named depends on the order of a map.
        inputs = UnparsableTensor
    return asked.spec, list(asked.outputs), inputs


def other(request: tfs.PredictRequest, fill: bytes) -> tfs.PredictRequest:
    """The request with other contents."""
    changed = tfs.PredictRequest.FromString(request.SerializeToString())
    for alias in changed.inputs:
        content = changed.inputs[alias].tensor_content
        changed.inputs[alias].tensor_content = (fill * len(content))[: len(content)]
    return changed


@given(st.lists(requests(), min_size=1, max_size=3), st.binary(min_size=1, max_size=4))
def test_as_if_parsed(requests: list[tfs.PredictRequest], fill: bytes) -> None:
    """Whatever was read before, a request is read as parsing it gives: the same, with other contents, and others."""
    reader = PredictRequests()
    for _ in range(3):
        for request in requests:
            for message in (request, other(request, fill)):
                asked = reader.read(message.SerializeToString())
                assert plain(asked) == plain(parsed(message))
                assert asked.message() == message


@given(st.data())
def test_altered(data: st.DataObject) -> None:
    """Bytes of a known length that differ anywhere from what is known say what they say, or nothing."""
    reader = PredictRequests()
    known = tfs.PredictRequest(model_spec=tfs.ModelSpec(name="m"), output_filter=["y"])
    known.inputs["x"].CopyFrom(tensor(bytes(16), tf.DT_UINT8, 0))
    raw = bytearray(known.SerializeToString())
    for _ in range(2):
        reader.read(bytes(raw))
    place = data.draw(st.integers(0, len(raw) - 1))
    raw[place] ^= data.draw(st.integers(1, 255))

    def outcome(read: Any) -> Any:
        try:
            return plain(read(bytes(raw)))
        except Exception as error:
            return type(error)

    assert outcome(reader.read) == outcome(lambda raw: parsed(tfs.PredictRequest.FromString(raw)))


def test_no_copy() -> None:
    """Numbers of a request that is known are those of its own bytes."""
    reader = PredictRequests()
    request = tfs.PredictRequest(model_spec=tfs.ModelSpec(name="m"), inputs={"x": to_proto(np.zeros((9, 9)))})
    for _ in range(3):
        raw = request.SerializeToString()
        array = reader.read(raw).inputs()["x"]
    assert array.base is raw
    assert not array.flags.writeable


@pytest.mark.parametrize("typed", [False, True])
def test_encoded(typed: bool) -> None:
    """An answer on the wire is the message that protobuf makes of the same; a name may be any text."""
    outputs = {
        "ä" * 200: np.arange(12, dtype=np.float32).reshape(3, 4),
        "labels": np.array([b"a", b"\xff"], object),
        "": np.array([[1], [2]], np.int64),
        "scalar": np.array(1.5),
        "none": np.empty((0, 3), np.float32),
        "half": np.array([1, 2], np.float16),
    }
    answer = Predicted("m", 3, "serving_default", outputs)
    expected = tfs.PredictResponse(outputs={alias: to_proto(array, typed=typed) for alias, array in outputs.items()})
    expected.model_spec.name, expected.model_spec.signature_name = "m", "serving_default"
    expected.model_spec.version.value = 3
    assert answer.encoded(typed=typed).message() == expected
    for alias, proto in answer.message().outputs.items():
        np.testing.assert_array_equal(to_numpy(proto), outputs[alias])
