"""gateway.rollout.verdict, evidence and trial"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from gateway.answers import Classification, Raw, Regression
from gateway.observations import Observation
from gateway.predictor import Prediction
from gateway.rollout.agreement import compare
from gateway.rollout.evidence import Counts, LabelSource, Metric, Pair
from gateway.rollout.metrics import RolloutMetrics
from gateway.rollout.plan import Change, Mode, Plan, Rules, State, started
from gateway.rollout.trial import Trial
from gateway.rollout.verdict import Decision, Evidence, Verdict
from gateway.settings.rollout import RolloutSettings
from gateway.split import Variant
from serving.wire import codec
from serving.wire import tensorflow_serving_pb2 as tfs
from tests.unit.gateway.rollout.test_store import ME

SETTINGS = RolloutSettings()
LATER = datetime.now(UTC) + timedelta(hours=1)


def plan(mode: Mode = Mode.CANARY, **rules: Any) -> Plan:
    """A roll-out of version 2 against 1."""
    return started("digits", 1, 2, mode=mode, rules=Rules(**rules), change=ME, after=None)


def pair(stable_bad: int, stable: int, candidate_bad: int, candidate: int) -> Pair:
    """Outcomes of both."""
    return Pair(Counts(stable_bad, stable), Counts(candidate_bad, candidate))


def judged(blocks: Mapping[Metric, Pair], of: Plan, *, now: datetime = LATER, available: bool = True) -> Verdict:
    """The verdict on a plan, where the same is seen ten times."""
    evidence = Evidence(SETTINGS)
    for _ in range(10):
        evidence.add(blocks)
    return evidence.judge(of, now, available=available)


FINE = {Metric.ERRORS: pair(0, 100, 0, 100)}


def test_enough_calls_and_time_go_on() -> None:
    """Nothing against it: the next step, with what was seen as the reason."""
    verdict = judged(FINE, plan())
    assert verdict.decision is Decision.ADVANCE
    assert verdict.text.startswith("no worse in errors: candidate 0 of 1000 (0.00%), stable 0 of 1000 (0.00%)")


@pytest.mark.parametrize(
    ("of", "changes", "reason"),
    [
        (plan(min_samples=2000), {}, "1000 of 2000 calls in this step"),
        (plan(), {"now": datetime.now(UTC)}, "of 300 seconds in this step"),
        (plan(), {"available": False}, "version 2 is not AVAILABLE"),
        (plan(steps=(100.0,), min_labels=5), {}, "0 of 5 labels"),
    ],
)
def test_what_is_missing_is_waited_for(of: Plan, changes: dict[str, Any], reason: str) -> None:
    """Calls, time, the candidate, labels before it is promoted; the reason says how much there is of it."""
    verdict = judged(FINE, of, **changes)
    assert verdict.decision is Decision.HOLD
    assert reason in verdict.text


@pytest.mark.parametrize(
    ("metric", "outcomes"),
    [
        (Metric.ERRORS, pair(0, 100, 2, 100)),
        (Metric.LATENCY, pair(2, 100, 15, 100)),
        (Metric.CONFIDENCE, pair(10, 100, 30, 100)),
        (Metric.QUALITY, pair(3, 100, 12, 100)),
        (Metric.DISAGREEMENT, pair(0, 0, 20, 100)),
    ],
)
def test_each_metric_takes_a_worse_candidate_back(metric: Metric, outcomes: Pair) -> None:
    """However little time has passed."""
    verdict = judged(FINE | {metric: outcomes}, plan(), now=datetime.now(UTC))
    assert verdict.decision is Decision.ROLL_BACK
    assert verdict.text.startswith(f"worse in {metric}: candidate")


def test_what_is_tolerated_takes_nothing_back() -> None:
    """A difference beyond doubt and too small to matter goes on."""
    evidence = Evidence(RolloutSettings(max_error_increase=0.01))
    for _ in range(200):
        evidence.add({Metric.ERRORS: pair(0, 1000, 5, 1000)})
    (finding,) = evidence.findings()
    assert finding.evidence > 1
    assert evidence.judge(plan(), LATER, available=True).decision is Decision.ADVANCE


def test_what_looks_worse_holds_until_it_is_certain() -> None:
    """Too little evidence to take it back, and too much to go on."""
    evidence = Evidence(SETTINGS)
    evidence.add({Metric.ERRORS: pair(0, 1000, 1, 500)})
    verdict = evidence.judge(plan(), LATER, available=True)
    assert verdict.decision is Decision.HOLD
    assert "not certain yet: errors: candidate 1 of 500" in verdict.text


def test_rates_are_compared_in_the_same_stretch_of_time() -> None:
    """A bad hour in which the candidate had most of the traffic is not its fault."""
    evidence = Evidence(SETTINGS)
    for _ in range(20):
        evidence.add({Metric.ERRORS: pair(0, 900, 0, 100)})
    for _ in range(20):
        evidence.add({Metric.ERRORS: pair(10, 100, 90, 900)})
    (finding,) = evidence.findings()
    assert finding.candidate.rate > 4 * finding.stable.rate
    assert abs(finding.difference) < 1e-9
    assert finding.evidence < 1


def test_single_outcomes_wait_until_they_can_be_compared() -> None:
    """Where calls are rare, one of each version in turn, evidence adds up all the same."""
    evidence = Evidence(SETTINGS)
    for _ in range(200):
        evidence.add({Metric.QUALITY: pair(0, 1, 0, 0)})
        evidence.add({Metric.QUALITY: pair(0, 0, 1, 1)})
    assert evidence.findings()[0].worse


class FakeLabels:
    """Says what it was told to say."""

    def __init__(self) -> None:
        self.outcomes_: dict[Variant, Counts] = {}

    async def outcomes(self, model: str, version: int, variant: Variant, since: datetime) -> Counts:
        assert (model, version) == ("digits", {Variant.STABLE: 1, Variant.CANDIDATE: 2}[variant])
        return self.outcomes_.get(variant, Counts())


async def test_labels_count_once() -> None:
    """What comes between two looks is new; a label that is taken back is no negative outcome."""
    labels = FakeLabels()
    # Of a roll-out before.
    labels.outcomes_ = {Variant.STABLE: Counts(0, 1), Variant.CANDIDATE: Counts(1, 1)}
    source = LabelSource(labels)
    of = plan()
    assert await source.take(of) == {Metric.QUALITY: Pair()}
    labels.outcomes_ = {Variant.STABLE: Counts(1, 11), Variant.CANDIDATE: Counts(5, 6)}
    assert await source.take(of) == {Metric.QUALITY: pair(1, 10, 4, 5)}
    assert await source.take(of) == {Metric.QUALITY: Pair()}
    labels.outcomes_ = {Variant.STABLE: Counts(0, 13), Variant.CANDIDATE: Counts(9, 7)}
    assert await source.take(of) == {Metric.QUALITY: pair(0, 2, 1, 1)}


@pytest.fixture
def trial() -> Trial:
    """A trial of a canary."""
    return Trial(plan(), SETTINGS, RolloutMetrics(CollectorRegistry()), busy=lambda: False)


def test_slow_is_what_takes_longer_than_most_of_stables(trial: Trial) -> None:
    """Told by stable's calls up to the look before; until there are some, nothing is slow."""
    for _ in range(100):
        trial.answered(Variant.STABLE, 0.010, failed=False)
        trial.answered(Variant.CANDIDATE, 9.0, failed=False)
    assert Metric.LATENCY not in trial.take()
    trial.answered(Variant.STABLE, 0.014, failed=False)
    trial.answered(Variant.CANDIDATE, 0.016, failed=False)
    trial.answered(Variant.CANDIDATE, 0.001, failed=True)
    block = trial.take()
    assert block == {Metric.LATENCY: pair(0, 1, 1, 1), Metric.ERRORS: pair(0, 1, 1, 2)}
    assert trial.take() == {}


def test_confidence_is_compared_with_stables(trial: Trial) -> None:
    """Answers of versions that the plan does not name are nobody's."""

    class Named:
        def __init__(self, version: int) -> None:
            self.version = version

    def observe(version: int, variant: Variant, confidence: float, times: int = 1) -> None:
        answers = [classified(confidence)] * times
        servable: Any = Named(version)
        trial.observed(Observation(servable, variant, {}, answers))

    for _ in range(10):
        observe(1, Variant.STABLE, 0.9, 10)
    trial.take()
    observe(1, Variant.STABLE, 0.95)
    observe(2, Variant.CANDIDATE, 0.5)
    observe(7, Variant.STABLE, 0.1)
    observe(7, Variant.CANDIDATE, 0.1)
    assert trial.take() == {Metric.CONFIDENCE: pair(0, 1, 1, 1)}


async def test_copies_are_dropped_first() -> None:
    """A gateway that has calls waiting copies nothing."""
    metrics = RolloutMetrics(CollectorRegistry())
    trial = Trial(plan(Mode.SHADOW), SETTINGS, metrics, busy=lambda: True)

    async def ask() -> list[Prediction]:
        raise AssertionError

    trial.mirror(ask, [])
    assert metrics.shadowed.labels("digits", "dropped")._value.get() == 1
    assert trial.take() == {}


def classified(score: float, label: str = "3") -> Classification:
    """A class with its score."""
    return Classification("0123456789", [int(label), 0], [score, 1 - score])


def answered(answer: Classification | Regression | Raw) -> list[Prediction]:
    """A call's answer."""
    return [Prediction("id", answer)]


@pytest.mark.parametrize(
    ("one", "other", "agree", "distance"),
    [
        (classified(0.9), classified(0.7), True, 0.2),
        (classified(0.9), classified(0.9, "4"), False, 0.0),
        (Regression(100.0), Regression(109.0), True, 9.0),
        (Regression(100.0), Regression(120.0), False, 20.0),
        (Regression(0.0), Regression(0.0), True, 0.0),
        (Raw({"p": np.array([0.1, 0.9])}), Raw({"p": np.array([0.3, 0.7])}), True, 0.2),
        (Raw({"p": np.array([0.1, 0.9])}), Raw({"p": np.array([0.9, 0.1])}), False, 0.8),
        (Raw({"p": np.array([0.1, 0.9])}), Raw({"q": np.array([0.1, 0.9])}), False, 1.0),
        (Raw({"p": np.array(b"x", object)}), Raw({"p": np.array(b"x", object)}), True, 0.0),
        (Raw({"p": np.array(1.0)}), Raw({"p": np.array([1.0, 2.0])}), False, 1.0),
    ],
)
def test_answers_agree_or_not(one: Any, other: Any, agree: bool, distance: float) -> None:
    """Classes must be the same, numbers nearly so; of outputs without a contract the largest counts."""
    (found,) = compare(answered(one), answered(other), 0.1)
    assert found.agree is agree
    assert found.distance == pytest.approx(distance)


def test_answers_of_tensorflow_servings_protocol_are_compared_row_by_row() -> None:
    """Their bytes are read; what cannot be read is not compared."""

    def response(*rows: list[float]) -> bytes:
        message = tfs.PredictResponse()
        codec.fill_proto(message.outputs["p"], np.array(rows, np.float32), typed=True)
        return message.SerializeToString()

    one, other = response([0.1, 0.9], [0.8, 0.2]), response([0.2, 0.8], [0.1, 0.9])
    assert [found.agree for found in compare(one, other, 0.1)] == [True, False]
    assert compare(b"\xff\xff", other, 0.1) == []


def test_ended_plans_are_not_running() -> None:
    """A plan without a candidate routes everything to stable."""
    ended = plan().withdrawn(State.ABORTED, Change(by="me"))
    trial = Trial(ended, SETTINGS, RolloutMetrics(CollectorRegistry()), busy=lambda: False)
    split = ended.split(trial)
    assert (split.stable, split.candidate, split.share) == (1, None, 0)
