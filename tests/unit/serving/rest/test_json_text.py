"""serving.rest.json_text: numbers and errors as TensorFlow Serving writes them."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.rest.errors import BadJson
from serving.rest.json_text import decimals, parse, quoted, type_name


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (9_000_000, "9e+06"),
        (999_999, "999999.0"),
        (0.5, "0.5"),
        (0.0003, "0.0003"),
        (0.00003, "3e-05"),
        (555_557.5, "555557.5"),
        (3, "3.0"),
        (-0.0, "-0.0"),
        (0.1, "0.1"),
        (0.12345678, "0.123456784"),
        (16_777_216, "16777216.0"),
        (3.4028235e38, "3.40282347e+38"),
        (math.nan, "NaN"),
        (math.inf, "Infinity"),
        (-math.inf, "-Infinity"),
    ],
)
def test_floats(value: float, text: str) -> None:
    """A float is written with six digits, or with nine where six are not the same number."""
    assert decimals(np.array([value], np.float32)) == [text]


def test_doubles() -> None:
    """A double may need seventeen digits."""
    assert decimals(np.array([0.1, 1 / 3, 1e300])) == ["0.1", "0.33333333333333331", "1e+300"]


@given(st.lists(st.floats(width=32)), st.lists(st.floats()))
def test_round_trip(floats: list[float], doubles: list[float]) -> None:
    """What is written is read as the same number, and never as an integer."""
    for values in (np.array(floats, np.float32), np.array(doubles, np.float64)):
        read = [json.loads(text) for text in decimals(values)]
        assert all(type(number) is float for number in read)
        np.testing.assert_array_equal(np.array(read, values.dtype), values)


def test_exact_doubles() -> None:
    """On demand doubles are read to the last bit."""
    values = np.random.default_rng(1).random(1000).tolist()
    assert parse(json.dumps(values).encode(), exact=True) == values


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", "The document is empty. at offset: 0"),
        (b"instances = [1]", "Invalid value. at offset: 0"),
        (b'{"a": 1', "Missing a comma or '}' after an object member. at offset: 7"),
        (b'{"a": 1}x', "The document root must not be followed by other values. at offset: 8"),
        (b'{"a": 1e999}', "Number too big to be stored in double. at offset: 6"),
        (b'"\\ud800"', "The surrogate pair in string is invalid. at offset: 1"),
        (b'{"a": "\xff"}', "Invalid encoding in string. at offset: 7"),
    ],
    ids=lambda value: value[:12],
)
def test_parse_errors(body: bytes, text: str) -> None:
    """What is no JSON is refused in RapidJSON's words, with the place."""
    with pytest.raises(BadJson) as caught:
        parse(body)
    assert str(caught.value) == f"JSON Parse error: {text}"


def test_deep_nesting() -> None:
    """Lists without end are an error, not a crash."""
    with pytest.raises(BadJson, match="JSON Parse error: Maximum parse recursion depth exceeded! at offset: "):
        parse(b"[" * 1_000_000)


def test_not_finite() -> None:
    """NaN and the infinities are numbers."""
    assert repr(parse(b"[NaN, Infinity, -Infinity, Inf]")) == "[nan, inf, -inf, inf]"


@pytest.mark.parametrize(
    ("value", "text", "name"),
    [
        ("x", '"x"', "String"),
        (0.1, "0.1", "Number"),
        (1e300, "1e+300", "Number"),
        (7, "7", "Number"),
        (True, "true", "True"),
        (None, "null", "Null"),
        ({"a": [1]}, '{\n    "a": [\n        1\n    ]\n}', "Object"),
        ([], "[]", "Array"),
    ],
)
def test_quoting(value: object, text: str, name: str) -> None:
    """Errors quote a value and name its type as TFS does."""
    assert (quoted(value), type_name(value)) == (text, name)
