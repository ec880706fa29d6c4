"""gateway.rollout.sequential and verdict: false alarms and power, by simulation"""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from gateway.rollout.evidence import Metric
from gateway.rollout.sequential import AboveRate, WorseThanStable

RUNS = 1000
SHARES = (0.01, 0.05, 0.25, 0.5)
ENOUGH = math.log(len(Metric) / 0.05)


def test_a_block_says_no_more_than_expected_under_any_equal_rate() -> None:
    """The mean factor of a block over all its outcomes is at most 1: exact, whatever the rate and the shares."""
    for stable, candidate, rate in itertools.product((1, 4, 9), (1, 5), (0.001, 0.05, 0.3, 0.9)):
        bad_s, bad_c = np.meshgrid(np.arange(stable + 1), np.arange(candidate + 1), indexing="ij")
        test = WorseThanStable(bad_s.shape)
        # Something that came before, on which the rates are chosen.
        test.add(*(np.full(bad_s.shape, count) for count in (2, 40, 1, 10)))
        before = test.log_evidence
        test.add(bad_s, np.full(bad_s.shape, stable), bad_c, np.full(bad_s.shape, candidate))
        chance = stats.binom.pmf(bad_s, stable, rate) * stats.binom.pmf(bad_c, candidate, rate)
        assert (chance * np.exp(test.log_evidence - before)).sum() <= 1 + 1e-9


def test_false_alarms_stay_below_their_level_at_every_look() -> None:
    """1,000 roll-outs of a candidate like stable, four metrics, looked at after every block: at most 5 % go back.

    Rates differ by metric and drift with the day; the share rises as in a canary.
    """
    random = np.random.default_rng(1)
    tests = {rate: WorseThanStable((RUNS,)) for rate in (0.001, 0.03, 0.1, 0.4)}
    alarmed = np.zeros(RUNS, bool)
    for look in range(240):
        share = SHARES[look // 60]
        for rate, test in tests.items():
            now = min(rate * (1 + 0.8 * math.sin(look / 20)), 1)
            candidate = random.binomial(100, share, RUNS)
            test.add(random.binomial(100 - candidate, now), 100 - candidate, random.binomial(candidate, now), candidate)
            alarmed |= test.log_evidence >= ENOUGH
    assert alarmed.mean() <= 0.05


@pytest.mark.parametrize(("share", "calls"), [(0.5, 5_000), (0.25, 7_000)])
def test_three_points_are_caught(share: float, calls: int) -> None:
    """A candidate of 94 % against 97 % goes back 95 times in 100 within so many labelled calls to both."""
    random = np.random.default_rng(2)
    test = WorseThanStable((RUNS,))
    caught = np.zeros(RUNS, bool)
    for _ in range(calls // 50):
        candidate = random.binomial(50, share, RUNS)
        test.add(random.binomial(50 - candidate, 0.03), 50 - candidate, random.binomial(candidate, 0.06), candidate)
        caught |= test.log_evidence >= ENOUGH
    assert caught.mean() >= 0.95


def test_a_better_candidate_is_no_alarm() -> None:
    """The test looks one way."""
    random = np.random.default_rng(3)
    test = WorseThanStable((RUNS,))
    for _ in range(100):
        test.add(random.binomial(25, 0.06, RUNS), np.full(RUNS, 25), random.binomial(25, 0.03, RUNS), np.full(RUNS, 25))
    assert (test.log_evidence < 0).mean() > 0.95


def test_no_outcomes_say_nothing() -> None:
    """Nor do those of one version alone."""
    test = WorseThanStable()
    test.add(0, 0, 0, 0)
    test.add(9, 10, 0, 0)
    test.add(0, 0, 9, 10)
    assert test.log_evidence == pytest.approx(0)


def test_a_rate_above_the_allowed_one_is_found_and_none_else() -> None:
    """Disagreement of 10 % is allowed: 10 % alarm in 1 % of the runs at most, 15 % always."""
    random = np.random.default_rng(4)
    for rate, least, most in ((0.1, 0.0, 0.01), (0.05, 0.0, 0.0), (0.15, 0.95, 1.0)):
        test = AboveRate(0.1, (RUNS,))
        alarmed = np.zeros(RUNS, bool)
        for _ in range(150):
            test.add(random.binomial(10, rate, RUNS), np.full(RUNS, 10))
            alarmed |= test.log_evidence >= ENOUGH
        assert least <= alarmed.mean() <= most
