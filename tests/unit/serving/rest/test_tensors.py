"""serving.rest.tensors: JSON values to arrays."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.rest import tensors
from serving.rest.errors import BadJson, Unconvertible
from serving.rest.tensors import to_array
from serving.wire.codec import ELEMENT_TYPES, Array
from serving.wire.errors import ServingError

TYPES = {entry.name: entry for entry in ELEMENT_TYPES}


@pytest.mark.parametrize(
    ("value", "dtype", "expected"),
    [
        ([[1, 2.5], [3, 4]], "float", np.array([[1, 2.5], [3, 4]], np.float32)),
        (7, "int32", np.array(7, np.int32)),
        ([[], []], "float", np.empty((2, 0), np.float32)),
        ([float("nan"), float("inf")], "float", np.array([np.nan, np.inf], np.float32)),
        ([1e10], "float", np.array([1e10], np.float32)),
        ([2**64], "double", np.array([2.0**64])),
        ([2**63], "uint64", np.array([2**63], np.uint64)),
        ([True, False], "bool", np.array([True, False])),
        (["é", ""], "string", np.array(["é".encode(), b""], object)),
        ([{"b64": "AP8="}, "x"], "string", np.array([b"\0\xff", b"x"], object)),
        ({"b64": "AP8"}, "string", np.array(b"\0\xff", object)),
        ([], "half", np.empty(0, np.float16)),
    ],
    ids=repr,
)
def test_values(value: Any, dtype: str, expected: Array) -> None:
    """Scalars and regular lists become arrays of the signature's type."""
    array = to_array(value, TYPES[dtype])
    assert array.dtype == expected.dtype
    np.testing.assert_array_equal(array, expected)


@pytest.mark.parametrize(
    ("value", "dtype", "text"),
    [
        (["x"], "float", 'JSON Value: "x" Type: String is not of expected type: float'),
        ([True], "float", "JSON Value: true Type: True is not of expected type: float"),
        ([None], "string", "JSON Value: null Type: Null is not of expected type: string"),
        ([1.5], "int32", "JSON Value: 1.5 Type: Number is not of expected type: int32"),
        ([2**31], "int32", "JSON Value: 2147483648 Type: Number is not of expected type: int32"),
        ([300], "uint8", "JSON Value: 300 Type: Number is not of expected type: uint8"),
        ([-1], "uint64", "JSON Value: -1 Type: Number is not of expected type: uint64"),
        ([1], "bool", "JSON Value: 1 Type: Number is not of expected type: bool"),
        ([16_777_217], "float", "Cannot convert JSON value: 16777217 to float without loss of precision."),
        ([1.7e308], "float", "Cannot convert JSON value: 1.7e+308 to float without loss of precision."),
        ([2**53], "double", "Cannot convert JSON value: 9007199254740992 to double without loss of precision."),
        ([[1, 2], [3]], "int32", "Encountered list at unexpected size: 1 at level: 1 expected size: 2"),
        ([[1], 2], "int32", "JSON Value: 2 found at incorrect level: 2 in the JSON DOM. Expected at level: 2"),
        ([1, [2]], "int32", "Encountered list at unexpected level: 1 expected < 1"),
        ([{"b64": 1}], "string", 'JSON Value: {\n    "b64": 1\n} not formatted correctly for base64 data'),
        ([{"b64": "?"}], "string", "Unable to base64 decode"),
        ([[[]] * 2], "float", None),
    ],
    ids=repr,
)
def test_errors(value: Any, dtype: str, text: str | None) -> None:
    """What does not fit is refused in TFS's words."""
    if text is None:
        assert to_array(value, TYPES[dtype]).shape == (1, 2, 0)
        return
    with pytest.raises(BadJson) as caught:
        to_array(value, TYPES[dtype])
    assert str(caught.value) == text


@pytest.mark.parametrize("dtype", ["half", "bfloat16", "complex64", "uint16"])
def test_unconvertible(dtype: str) -> None:
    """Types that TFS does not read from JSON are not read."""
    with pytest.raises(Unconvertible, match=f"Conversion of JSON Value: 1 to type: {dtype}"):
        to_array([1], TYPES[dtype])


def test_deep_nesting() -> None:
    """More dimensions than an array can have are an error, not a crash."""
    value: Any = 1
    for _ in range(900):
        value = [value]
    with pytest.raises(BadJson, match="nested deeper than 64 levels"):
        to_array(value, TYPES["float"])


LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**65), 2**65),
    st.floats(),
    st.text(max_size=3),
    st.fixed_dictionaries({"b64": st.text(max_size=4)}),
)
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3), max_leaves=8)


@given(VALUES | st.lists(st.lists(LEAVES, min_size=2, max_size=2)), st.sampled_from(ELEMENT_TYPES))
def test_whole_is_as_element_by_element(value: Any, entry: Any) -> None:
    """What numpy converts whole is what TFS's walk gives: the same array, or the same error; nothing else is raised."""

    def outcome() -> Any:
        try:
            array = to_array(value, entry)
        except ServingError as error:
            return type(error), str(error)
        return array.dtype, array.shape, [str(item) for item in array.ravel()]

    quick = outcome()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tensors, "_whole", lambda *_: None)
        assert outcome() == quick
