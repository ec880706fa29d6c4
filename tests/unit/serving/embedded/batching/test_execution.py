"""serving.embedded.batching.execution: rows joined, run, and cut apart."""

from collections.abc import Sequence

import numpy as np
import pytest

from serving.embedded.batching import execution
from serving.embedded.batching.errors import ScalarBatchOutput, UnfitBatchOutput
from serving.embedded.batching.execution import Rows, execute_batch
from serving.embedded.batching.parameters import Parameters
from serving.wire.codec import Array
from serving.wire.errors import InvalidArgument, ServingError


class Model:
    """Doubles its argument, fails for a negative one, and keeps the arguments that it was given."""

    def __init__(self) -> None:
        self.given: list[Array] = []

    def __call__(self, arguments: Sequence[Array]) -> list[Array]:
        self.given.append(arguments[0])
        if arguments[0].dtype != object and (arguments[0] < 0).any():
            raise InvalidArgument("negative")
        return [arguments[0] * 2]


def rows(*values: object) -> Rows:
    """A request of one argument."""
    return Rows([np.array(values)], len(values))


def outputs(outcomes: Sequence[execution.Outcome]) -> list[object]:
    """What each request got: its first output as a list, or its error's text."""
    return [str(outcome) if isinstance(outcome, ServingError) else outcome[0].tolist() for outcome in outcomes]


def test_own_rows() -> None:
    """Each request gets the outputs of its rows, of one execution; one may have none."""
    model = Model()
    assert outputs(execute_batch(model, [rows(1), rows(2, 3), rows(), rows(4)], Parameters())) == [
        [2],
        [4, 6],
        [],
        [8],
    ]
    assert len(model.given) == 1


def test_bad_row() -> None:
    """What fails together is run one by one, so that only the bad one fails."""
    model = Model()
    assert outputs(execute_batch(model, [rows(1), rows(-1), rows(2)], Parameters())) == [[2], "negative", [4]]
    assert len(model.given) == 4


@pytest.mark.parametrize(("sizes", "padded"), [([1], 2), ([1, 1], 2), ([1, 2], 4), ([4], 4), ([5], 5), ([0], 0)])
def test_allowed_sizes(sizes: list[int], padded: int) -> None:
    """A batch is padded with a row of its own to the next size that is allowed, and nobody sees the padding."""
    model = Model()
    requests = [rows(*range(1, size + 1)) for size in sizes]
    outcomes = execute_batch(model, requests, Parameters(max_batch_size=4, allowed_batch_sizes=(2, 4)))
    assert outputs(outcomes) == [[2 * value for value in range(1, size + 1)] for size in sizes]
    assert len(model.given[0]) == padded
    assert set(model.given[0]) <= set(range(1, 6))


def test_padding_beside_nothing() -> None:
    """The row for padding comes from a request that has one."""
    assert outputs(
        execute_batch(Model(), [rows(3), rows()], Parameters(max_batch_size=4, allowed_batch_sizes=(4,)))
    ) == [[6], []]


def test_variable_length() -> None:
    """Rows of different lengths are filled up with their tensor's first element."""
    model = Model()
    requests = [Rows([np.array([[1, 2]])], 1), Rows([np.array([[3, 4, 5], [6, 7, 8]])], 2)]
    outcomes = execute_batch(model, requests, Parameters(pad_variable_length_inputs=True))
    assert outputs(outcomes) == [[[2, 4, 2]], [[6, 8, 10], [12, 14, 16]]]


def test_variable_length_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """What would be too large if it were made equal is run one by one."""
    monkeypatch.setattr(execution, "MAX_TENSOR_BYTES", 100)
    requests = [Rows([np.ones((1, 12), np.int8)], 1), Rows([np.ones((10, 1), np.int8)], 10)]
    outcomes = execute_batch(Model(), requests, Parameters(pad_variable_length_inputs=True))
    assert outputs(outcomes) == [[[2] * 12], [[2]] * 10]


def test_strings() -> None:
    """Strings are joined as they are, trailing zeros and all."""
    requests = [Rows([np.array([value], object)], 1) for value in (b"a\0", b"bcd")]
    assert outputs(execute_batch(Model(), requests, Parameters())) == [[b"a\0a\0"], [b"bcdbcd"]]


@pytest.mark.parametrize(
    ("output", "error"), [(np.array(1), ScalarBatchOutput()), (np.array([1, 2, 3]), UnfitBatchOutput())]
)
def test_unfit_output(output: Array, error: ServingError) -> None:
    """An output that has not as many rows as the batch is each request's error."""
    outcomes = execute_batch(lambda _: [output], [rows(1), rows(2)], Parameters())
    assert outputs(outcomes) == [str(error)] * 2
    assert error.code.name == "FAILED_PRECONDITION"
