import numpy as np
import pytest

from trainer.comparison import bootstrap, mcnemar


def rights(both, only_first, only_second, neither):
    """Which examples two models have right, from how many of each kind there are."""
    kinds = np.repeat([[1, 1], [1, 0], [0, 1], [0, 0]], [both, only_first, only_second, neither], axis=0)
    return kinds.astype(bool).T


@pytest.mark.parametrize(
    ("only_first", "only_second", "p_value"),
    # By hand: of n coins, twice the probability of as few heads.
    [(0, 5, 2 / 2**5), (6, 1, 2 * (1 + 7) / 2**7), (4, 4, 1.0), (0, 0, 1.0)],
)
def test_mcnemar_is_the_binomial_of_those_that_differ(only_first, only_second, p_value):
    """Examples that both have right, or neither, decide nothing."""
    test = mcnemar(*rights(50, only_first, only_second, 7))
    assert test.p_value == pytest.approx(p_value)
    assert test.difference == pytest.approx((only_second - only_first) / (57 + only_first + only_second))
    assert test.worse == (only_second < only_first)
    assert test.details == {"only_first_right": only_first, "only_second_right": only_second}


def test_mcnemar_says_by_chance_as_often_as_it_should():
    """Of two equally good models at most alpha of the tests find one better."""
    rng = np.random.default_rng(0)
    found = [mcnemar(rng.random(300) < 0.8, rng.random(300) < 0.8).p_value < 0.05 for _ in range(400)]
    assert 0.01 < np.mean(found) <= 0.065


def test_the_bootstrap_finds_a_difference():
    """Errors twice as large are worse, with an interval around the difference of the RMSE that leaves 0 out."""
    rng = np.random.default_rng(0)
    errors = rng.normal(size=200)
    test = bootstrap(errors, 2 * errors, 0.05, 1)
    rmse = np.sqrt((errors**2).mean())
    assert test.difference == pytest.approx(rmse)
    assert 0.8 * rmse < test.details["low"] < rmse < test.details["high"] < 1.2 * rmse
    assert (test.worse, test.p_value) == (True, pytest.approx(0.0002))
    better = bootstrap(2 * errors, errors, 0.05, 1)
    assert (better.worse, better.difference) == (False, -test.difference)


def test_the_bootstrap_says_by_chance_as_often_as_it_should():
    """Of two equally good models about alpha of the tests find one better."""
    rng = np.random.default_rng(0)
    found = [bootstrap(rng.normal(size=60), rng.normal(size=60), 0.05, n).p_value < 0.05 for n in range(60)]
    assert np.mean(found) < 0.15


def test_the_bootstrap_pairs():
    """A small difference that every example shows is found under errors that are much larger."""
    rng = np.random.default_rng(0)
    common = 10 * np.sign(rng.normal(size=80)) * (1 + rng.random(80))
    test = bootstrap(common, common * 1.01, 0.05, 1)
    assert test.worse
    assert test.p_value < 0.001


def test_equal_models_are_not_told_apart():
    """Models that agree on every example differ by nothing."""
    errors = np.arange(9.0)
    test = bootstrap(errors, errors, 0.05, 1)
    assert (test.difference, test.p_value, test.worse) == (0, 1, False)
    assert test.details == {"low": 0, "high": 0}


def test_a_test_is_a_line_for_people():
    """Its name, the figure, the difference, p and what it rests on."""
    assert str(mcnemar(*rights(5, 0, 5, 0))) == (
        "exact McNemar: accuracy +0.5000, p = 0.0625 (only first right 0, only second right 5)"
    )
