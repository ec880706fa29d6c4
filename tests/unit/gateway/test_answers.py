"""gateway.answers"""

import numpy as np
import pytest

from gateway.answers import Classification, Raw, Regression, Score, to_answers
from gateway.errors import BackendFailed
from serving.contract import Postprocessing

CLASSES = Postprocessing(task="classification", output="scores", labels=("a", "b", "c"))
NUMBER = Postprocessing(task="regression", output="value")


def test_classification() -> None:
    """The best classes come first; of equal ones the lower index."""
    scores = np.array([[0.2, 0.5, 0.3], [0.4, 0.2, 0.4]], np.float32)
    first, second = to_answers({"scores": scores}, 2, CLASSES, top_k=2)
    assert isinstance(first, Classification)
    assert isinstance(second, Classification)
    assert [score.label for score in first.top] == ["b", "c"]
    assert first.top[0] == Score("b", 1, pytest.approx(0.5))
    assert [score.label for score in second.top] == ["a", "c"]


@pytest.mark.parametrize(("top_k", "expected"), [(0, 3), (1, 1), (99, 3)])
def test_top_k(top_k: int, expected: int) -> None:
    """0 means the default, and more than there are means all."""
    (answer,) = to_answers({"scores": np.eye(3)[:1]}, 1, CLASSES, top_k)
    assert isinstance(answer, Classification)
    assert len(answer.top) == expected


@pytest.mark.parametrize("shape", [(2, 1), (2,)])
def test_regression(shape: tuple[int, ...]) -> None:
    """A value for each row, whether or not the model keeps a last dimension of 1."""
    assert to_answers({"value": np.array([1.5, -2]).reshape(shape)}, 2, NUMBER, 0) == [Regression(1.5), Regression(-2)]


def test_raw() -> None:
    """Without rules the outputs come as they are, a row at a time."""
    first, second = to_answers({"y": np.arange(4).reshape(2, 2)}, 2, None, 0)
    assert isinstance(first, Raw)
    assert isinstance(second, Raw)
    assert (first.outputs["y"].tolist(), second.outputs["y"].tolist()) == ([0, 1], [2, 3])


@pytest.mark.parametrize(
    "outputs",
    [
        {},
        {"scores": np.zeros((1, 2))},
        {"scores": np.full((1, 3), np.inf)},
        {"scores": np.full((1, 3), b"x", object)},
    ],
)
def test_not_what_the_contract_says(outputs: dict[str, np.ndarray]) -> None:
    """Outputs that the contract does not describe are the backend's failure."""
    with pytest.raises(BackendFailed):
        to_answers(outputs, 1, CLASSES, 0)
