"""serving.rest.answers: JSON as TensorFlow Serving lays it out."""

import json

import numpy as np
import pytest

from serving.rest import answers
from serving.rest.errors import Unprintable
from serving.wire import tensorflow_serving_pb2 as tfs
from serving.wire.codec import Array

ONE = {"y": np.array([[1, 2.5], [3, 4]], np.float32)}
TWO = {"y": np.array([1, 2]), "x_bytes": np.array([[b"a"], [b"\xff"]], object)}


def test_rows() -> None:
    """The rows of one output stand on one line, but for the last bracket."""
    assert answers.rows(ONE) == '{\n    "predictions": [[1.0, 2.5], [3.0, 4.0]\n    ]\n}'


def test_rows_of_several_outputs() -> None:
    """Several outputs are an object for each row; bytes are base64."""
    assert answers.rows(TWO) == (
        '{\n    "predictions": [\n'
        '        {\n            "x_bytes": [{\n                    "b64": "YQ=="\n                }],\n'
        '            "y": 1\n        },\n'
        '        {\n            "x_bytes": [{\n                    "b64": "/w=="\n                }],\n'
        '            "y": 2\n        }\n    ]\n}'
    )


def test_columns() -> None:
    """A column has a line for each element."""
    assert answers.columns({"y": np.array([[True], [False]])}) == (
        '{\n    "outputs": [\n        [\n            true\n        ],\n'
        "        [\n            false\n        ]\n    ]\n}"
    )
    assert json.loads(answers.columns(ONE | {"s": np.array(b"\xc3\xa9\xff", object)})) == {
        "outputs": {"y": [[1.0, 2.5], [3.0, 4.0]], "s": "é\ufffd"}
    }
    assert answers.columns({"y": np.array(7)}) == '{\n    "outputs": 7\n}'
    assert answers.columns({"y": np.empty((2, 0), np.float32)}) == (
        '{\n    "outputs": [\n        [],\n        []\n    ]\n}'
    )


@pytest.mark.parametrize(
    ("outputs", "text"),
    [
        ({}, "Cannot convert empty tensor map to JSON"),
        ({"y": np.array(1)}, "Tensor name: y has no shape information "),
        ({"y": np.empty(0)}, "Tensor name: y has invalid batch size: 0"),
        ({"x": np.ones(2), "y": np.ones(3)}, "Tensor name: y has inconsistent batch size: 3 expecting: 2"),
        ({"y": np.ones(1, np.float16)}, "Failed to write JSON value for tensor type: half"),
        ({"y": np.ones(1, np.complex64)}, "Failed to write JSON value for tensor type: complex64"),
    ],
)
def test_unprintable(outputs: dict[str, Array], text: str) -> None:
    """What cannot be written in rows is refused in TFS's words."""
    with pytest.raises(Unprintable) as caught:
        answers.rows(outputs)
    assert str(caught.value) == text


def test_results() -> None:
    """Classes are pairs of label and score; a regression is a list."""
    result = tfs.ClassificationResult()
    classes = result.classifications.add().classes
    classes.add(label="é", score=0.1)
    classes.add(score=1)
    assert answers.classification(result) == '{\n    "results": [[["é", 0.1], ["", 1.0]]\n    ]\n}'
    regression = tfs.RegressionResult(regressions=[tfs.Regression(value=value) for value in (2.125, float("nan"))])
    assert answers.regression(regression) == '{\n    "results": [2.125, NaN]\n}'
