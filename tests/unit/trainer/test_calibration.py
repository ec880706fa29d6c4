import numpy as np
import pytest

from trainer.calibration import reliability


def answers(confidence, right):
    """Probabilities of two classes, as sure of the first as `confidence` says, and the truth that makes it `right`."""
    first = np.array(confidence)
    return np.stack([first, 1 - first], axis=1), np.where(right, 0, 1)


def test_confidence_that_means_what_it_says_has_no_error():
    """Of ten answers given with 80 %, eight are right: there is nothing between confidence and accuracy."""
    assert reliability(*answers([0.8] * 10, [True] * 8 + [False] * 2)).error == pytest.approx(0)


def test_the_error_is_weighed_by_the_answers():
    """A bin of three answers counts three times as much as a bin of one."""
    probabilities, truth = answers([0.9, 0.9, 0.99, 0.9], [True, False, True, True])
    found = reliability(probabilities, truth)
    assert found.counts.tolist() == [0] * 13 + [3, 1]
    assert found.confidence[13:].tolist() == pytest.approx([0.9, 0.99])
    assert found.accuracy[13:].tolist() == pytest.approx([2 / 3, 1])
    assert found.error == pytest.approx((3 * (0.9 - 2 / 3) + 0.01) / 4)


def test_the_edges_of_the_bins():
    """A confidence on an edge is in the bin below it, and one that rounding put above 1 in the last."""
    assert reliability(*answers([0.6, 1.0, 1.0000001], [True] * 3)).counts.tolist() == [0] * 8 + [1] + [0] * 5 + [2]
