"""loadtest.thresholds"""

from pathlib import Path

import pytest

from loadtest import thresholds
from loadtest.locust_process import HERE
from loadtest.thresholds import Threshold, ThresholdsError
from tests.unit.loadtest.recordings import recording

ECHO = recording(*[(0, "Echo", "OK", False, 0.002)] * 10)
RUN = recording(*[(0, "a", "OK", False, 0.010)] * 9, (0, "b", "UNAVAILABLE", True, 0.100))


@pytest.mark.parametrize(
    ("threshold", "passed", "said"),
    [
        ({"figure": "p50", "at_most": 20}, True, "p50 of all calls is 10 ms, expected at most 20 ms"),
        ({"figure": "p99", "at_most": 20}, False, "missed by 80 ms"),
        ({"figure": "p99", "of": "a", "at_most": 20}, True, "p99 of a is 10 ms"),
        (
            {"figure": "p50", "unit": "echo", "at_most": 4},
            False,
            "at most 8 ms (4 × the echo's): missed by 2 ms",
        ),
        ({"figure": "p50", "unit": "echo", "at_most": 6}, True, ""),
        ({"figure": "errors", "at_most": 0}, False, "errors of all calls is 0.1, expected at most 0: missed by 0.1"),
        ({"figure": "errors", "of": "a", "at_most": 0}, True, ""),
        ({"figure": "throughput", "at_least": 9}, True, ""),
        ({"figure": "throughput", "unit": "echo", "at_least": 0.95}, False, "missed by 0.5 calls/s"),
        ({"figure": "p50", "of": "no such call", "at_most": 1e9}, False, "nan"),
    ],
)
def test_check(threshold: dict[str, object], passed: bool, said: str) -> None:
    """A breach says which limit is missed and by how much; what was never called holds nothing."""
    (outcome,) = thresholds.check([Threshold.model_validate(threshold)], RUN, ECHO)
    assert outcome.passed is passed
    assert said in str(outcome)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("- {figure: p50}", "expected one of `at_most` and `at_least`"),
        ("- {figure: p98, at_most: 1}", "0.figure"),
        ("- {figure: errors, unit: echo, at_most: 1}", "the echo has no errors"),
        ("- {figure: p50, atmost: 1}", "0.atmost"),
        ("- {", "cannot be read"),
        ("", "list"),
    ],
)
def test_a_file_with_a_mistake(tmp_path: Path, content: str, message: str) -> None:
    """What is wrong is said with its place."""
    path = tmp_path / "thresholds.yaml"
    path.write_text(content)
    with pytest.raises(ThresholdsError, match=message):
        thresholds.load(path)


def test_the_file_that_ships() -> None:
    """It is valid, and has limits of both kinds."""
    assert {threshold.unit for threshold in thresholds.load(HERE / "thresholds.yaml")} == {"absolute", "echo"}
