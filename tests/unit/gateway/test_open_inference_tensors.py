"""gateway.servicers.open_inference_tensors"""

import contextlib
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gateway.errors import InvalidInput, Unsupported
from gateway.servicers import open_inference_tensors as tensors
from serving.wire import open_inference_pb2 as oip

NUMBERS = [np.bool_, np.uint8, np.uint16, np.uint32, np.uint64, np.int8, np.int16, np.int32, np.int64]
NUMBERS += [np.float16, ml_dtypes.bfloat16, np.float32, np.float64]
BYTES = st.lists(st.binary(max_size=9), max_size=5).map(lambda values: np.array([*values, None], object)[:-1])


def numbers() -> st.SearchStrategy[np.ndarray]:
    """Arrays of any type that has one, of any shape."""
    shapes = hnp.array_shapes(min_dims=0, min_side=0, max_side=4)
    plain = [np.dtype(dtype) for dtype in NUMBERS if dtype is not ml_dtypes.bfloat16]
    arrays = st.sampled_from(plain).flatmap(lambda dtype: hnp.arrays(dtype, shapes))
    return arrays | hnp.arrays(np.uint16, shapes).map(lambda array: array.view(ml_dtypes.bfloat16))


@given(array=numbers() | BYTES, raw=st.booleans())
def test_there_and_back(array: np.ndarray, raw: bool) -> None:
    """What goes out as an output and comes in as an input is the same array."""
    answer = oip.ModelInferResponse.FromString(tensors.response("m", "7", "é", {"x": array}, raw=raw))
    assert (answer.model_name, answer.model_version, answer.id) == ("m", "7", "é")
    output = answer.outputs[0]
    raw = raw or array.dtype in (np.float16, ml_dtypes.bfloat16)
    assert bool(answer.raw_output_contents) == raw
    request = oip.ModelInferRequest(raw_input_contents=answer.raw_output_contents)
    request.inputs.add(
        name="x", datatype=output.datatype, shape=output.shape, contents=None if raw else output.contents
    )
    back = tensors.inputs(request)["x"]
    assert (back.dtype, back.shape) == (array.dtype, array.shape)
    assert back.tolist() == array.tolist() if array.dtype == object else back.tobytes() == array.tobytes()


@given(
    datatype=st.sampled_from(["BOOL", "UINT8", "FP16", "FP32", "BYTES", "X"]),
    shape=st.lists(st.integers(-2, 3) | st.sampled_from([2**40, 2**62]), max_size=3),
    raw=st.none() | st.binary(max_size=12),
    contents=st.fixed_dictionaries(
        {}, optional={"uint_contents": st.lists(st.integers(0, 300), max_size=3), "bytes_contents": st.just([b"a"])}
    ),
)
def test_anything(datatype: str, shape: list[int], raw: bytes | None, contents: dict[str, Any]) -> None:
    """Whatever a tensor says, it is an array of its shape or the caller's fault."""
    request = oip.ModelInferRequest(raw_input_contents=[] if raw is None else [raw])
    request.inputs.add(name="x", datatype=datatype, shape=shape, contents=contents or None)
    with contextlib.suppress(InvalidInput):
        assert tensors.inputs(request)["x"].shape == tuple(shape)


@pytest.mark.parametrize("raw", [False, True])
def test_texts(raw: bool) -> None:
    """Texts are a tensor of BYTES."""
    answer = oip.ModelInferResponse.FromString(tensors.response("m", "1", "", {"x": ["é", ""]}, raw=raw))
    (output,) = answer.outputs
    request = oip.ModelInferRequest(raw_input_contents=answer.raw_output_contents)
    request.inputs.add(
        name="x", datatype=output.datatype, shape=output.shape, contents=None if raw else output.contents
    )
    assert tensors.inputs(request)["x"].tolist() == ["é".encode(), b""]


def test_a_type_of_two_numbers() -> None:
    """C's long and long long are one type."""
    for letter in "lq":
        answer = tensors.response("m", "1", "", {"x": np.zeros(1, letter)}, raw=True)
        assert oip.ModelInferResponse.FromString(answer).outputs[0].datatype == "INT64"


def test_types_that_do_not_travel() -> None:
    """A type that the protocol does not have is said to be so."""
    with pytest.raises(Unsupported, match="complex64"):
        tensors.response("m", "1", "", {"x": np.zeros(1, np.complex64)}, raw=True)
    assert tensors.datatype(np.dtype(np.complex64)) == ""
