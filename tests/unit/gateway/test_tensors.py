"""gateway.servicers.tensors"""

import contextlib

import ml_dtypes
import numpy as np
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gateway.errors import InvalidInput
from gateway.servicers import tensors
from tensorgate.requests import to_tensor
from tensorgate.results import _tensor
from tensorgate.v1 import tensor_pb2 as pb

NUMBERS = [
    np.bool_,
    np.uint8,
    np.uint16,
    np.uint32,
    np.uint64,
    np.int8,
    np.int16,
    np.int32,
    np.int64,
    np.float16,
    np.float32,
    np.float64,
]


@given(
    hnp.arrays(
        st.sampled_from(NUMBERS),
        hnp.array_shapes(min_dims=0, min_side=0),
        elements={"allow_nan": False},
        fill=st.nothing(),
    )
)
def test_round_trip(array: np.ndarray) -> None:
    """What the client sends is what the gateway gets, and the other way round, for every type and shape."""
    received = tensors.to_numpy(to_tensor(array))
    assert received.dtype == array.dtype
    np.testing.assert_array_equal(received, array)
    returned = _tensor(tensors.to_proto(array)).numpy()
    assert returned.shape == array.shape
    np.testing.assert_array_equal(returned, array)


def test_strings() -> None:
    """Strings travel as bytes."""
    tensor = pb.Tensor(dtype=pb.DATA_TYPE_STRING, shape=[2], string_values=[b"a", b"\xff"])
    assert tensors.to_numpy(tensor).tolist() == [b"a", b"\xff"]
    assert tensors.to_proto(np.array([b"a", b"\xff"], object)) == tensor
    assert _tensor(tensor).numpy().tolist() == [b"a", b"\xff"]


def test_bfloat16() -> None:
    """bfloat16 travels as its two bytes; the client widens it."""
    tensor = tensors.to_proto(np.array([1.5, -2], ml_dtypes.bfloat16))
    assert tensors.to_numpy(tensor).astype(np.float32).tolist() == [1.5, -2]
    assert _tensor(tensor).numpy().tolist() == [1.5, -2]


@pytest.mark.parametrize(
    ("field", "dtype", "values"),
    [
        ("float_values", pb.DATA_TYPE_FLOAT32, [1.5, 2]),
        ("float_values", pb.DATA_TYPE_BFLOAT16, [1.5, 2]),
        ("int_values", pb.DATA_TYPE_INT8, [-1, 127]),
        ("int_values", pb.DATA_TYPE_BOOL, [0, 1]),
    ],
)
def test_typed_values(field: str, dtype: pb.DataType.ValueType, values: list[float]) -> None:
    """Numbers in the typed fields become elements of the type."""
    tensor = pb.Tensor(dtype=dtype, shape=[2])
    getattr(tensor, field).extend(values)
    assert tensors.to_numpy(tensor).astype(float).tolist() == [float(value) for value in values]


@given(st.binary(max_size=64))
def test_hostile(raw: bytes) -> None:
    """Whatever a Tensor holds, it is an array or InvalidInput."""
    tensor = pb.Tensor()
    try:
        tensor.MergeFromString(raw)
    except DecodeError:
        return
    with contextlib.suppress(InvalidInput):
        tensors.to_numpy(tensor)
