import json
import math

import numpy as np
import pytest

from trainer import gate
from trainer.comparison import mcnemar
from trainer.errors import TrainingError
from trainer.gate import Champion, Drift
from trainer.recipe import Gate

FIGURES = {"accuracy": 0.95, "log_loss": 0.2, "latency_ms_1": 1.5, "latency_ms_1_p99": 4.0, "size_bytes": 2_500_000.0}


def champion(only_first, only_second, *, seen=0, psi=0.0):
    """One that has as many examples right alone as `only_first`; the candidate those of `only_second`."""
    first, second = np.repeat([[1, 1], [1, 0], [0, 1]], [80, only_first, only_second], axis=0).astype(bool).T
    return Champion(
        version="3",
        store_version="7",
        run_id="abc",
        figures={"accuracy": 0.9},
        test=mcnemar(first, second),
        drift={"ink_share": Drift(psi=psi, jensen_shannon=0.1)},
        seen=seen,
    )


@pytest.mark.parametrize(
    ("settings", "passed", "reason"),
    [
        ({}, True, ""),
        ({"floors": {"accuracy": 0.95}}, True, ""),
        ({"floors": {"accuracy": 0.96}}, False, "accuracy is 0.95, expected at least 0.96"),
        ({"floors": {"roc_auc": 0.5}}, False, "roc_auc was not measured, expected at least 0.5"),
        ({"ceilings": {"log_loss": 0.2}}, True, ""),
        ({"ceilings": {"log_loss": 0.1}}, False, "log_loss is 0.2, expected at most 0.1"),
        ({"max_latency_p50_ms": 2}, True, ""),
        ({"max_latency_p50_ms": 1}, False, "latency_p50_ms is 1.5, expected at most 1"),
        ({"max_latency_p99_ms": 2}, False, "latency_p99_ms is 4, expected at most 2"),
        ({"max_size_mb": 2.5}, True, ""),
        ({"max_size_mb": 2}, False, "size_mb is 2.5, expected at most 2"),
        (
            {"floors": {"accuracy": 0.99}, "max_size_mb": 1},
            False,
            "accuracy is 0.95, expected at least 0.99; size_mb is 2.5, expected at most 1",
        ),
    ],
)
def test_limits(settings, passed, reason):
    """What reaches its limit passes; all that does not is said, each in a sentence."""
    verdict = gate.judge("m", Gate(**settings), FIGURES, None)
    assert (verdict.passed, verdict.reasons) == (passed, reason)


def test_not_a_number_does_not_pass():
    """A figure that is NaN reaches no limit, above or below."""
    settings = Gate(floors={"accuracy": 0}, ceilings={"log_loss": 9})
    verdict = gate.judge("m", settings, {"accuracy": math.nan, "log_loss": math.nan}, None)
    assert [check.passed for check in verdict.checks] == [False, False]


@pytest.mark.parametrize(
    ("alone", "question", "alpha", "passed", "found"),
    [
        ((20, 2), "not_worse", 0.05, False, "significantly worse"),
        ((20, 2), "not_worse", 1e-6, True, "not told apart"),
        ((5, 3), "not_worse", 0.05, True, "not told apart"),
        ((2, 20), "not_worse", 0.05, True, "significantly better"),
        ((2, 20), "better", 0.05, True, "significantly better"),
        ((3, 5), "better", 0.05, False, "not told apart"),
        ((20, 2), "better", 0.05, False, "significantly worse"),
    ],
)
def test_beside_the_champion(alone, question, alpha, passed, found):
    """Not worse: unless significantly worse; better: only if significantly better."""
    verdict = gate.judge("m", Gate(champion=question, alpha=alpha), FIGURES, champion(*alone))
    (check,) = verdict.checks
    assert (check.name, check.passed, check.limit) == ("champion", passed, alpha)
    assert check.value == verdict.champion.test.p_value
    assert check.reason.startswith(f"beside the champion, version 3, it is {found} (exact McNemar: accuracy ")


@pytest.mark.parametrize(
    ("seen", "psi", "warnings"),
    [
        (0, 0.2, []),
        (12, 0.0, ["the champion was trained on 12 of the held-out examples: the test favours it"]),
        (0, 0.3, ["the training data's ink_share is far from the champion's reference (PSI 0.300)"]),
        (None, 0.0, ["it is not recorded what the champion was trained on: it may know some of the held-out examples"]),
    ],
)
def test_warnings(seen, psi, warnings):
    """What makes the comparison doubtful is said, after what was known before, and refuses nothing."""
    verdict = gate.judge("m", Gate(), FIGURES, champion(1, 1, seen=seen, psi=psi), ("MLflow was away",))
    assert verdict.passed
    assert list(verdict.warnings) == ["MLflow was away", *warnings]


def test_the_verdict_is_for_machines():
    """Its JSON has each check with value, limit and reason, the champion with its test, and the drift."""
    text = gate.judge("m", Gate(floors={"accuracy": 0.9}), FIGURES, champion(20, 2)).model_dump_json()
    verdict = json.loads(text)
    assert (verdict["model"], verdict["passed"]) == ("m", False)
    first = verdict["checks"][0]
    assert (first["name"], first["value"], first["limit"], first["passed"]) == ("accuracy", 0.95, 0.9, True)
    found = verdict["champion"]
    assert (found["version"], found["store_version"], found["run_id"]) == ("3", "7", "abc")
    assert found["test"]["details"] == {"only_first_right": 20, "only_second_right": 2}
    assert 0 < found["test"]["p_value"] < 0.001
    assert found["drift"] == {"ink_share": {"psi": 0, "jensen_shannon": 0.1}}


def test_a_limit_of_no_figure_is_a_mistake():
    """A misspelt name is found before anything is trained."""
    gate.check_names(Gate(floors={"accuracy": 1}, ceilings={"rmse": 1}), ["accuracy", "rmse"])
    with pytest.raises(TrainingError, match=r"gate.ceilings: no figure is called acuracy; there are accuracy, rmse"):
        gate.check_names(Gate(ceilings={"acuracy": 1}), ["accuracy", "rmse"])
