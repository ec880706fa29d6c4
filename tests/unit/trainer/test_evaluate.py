import math

import numpy as np
import pytest

from trainer import evaluate

# Four images, three of them right; class c is never predicted.
PROBABILITIES = np.array([[0.8, 0.1, 0.1], [0.6, 0.2, 0.2], [0.3, 0.5, 0.2], [0.2, 0.6, 0.2]], np.float32)
TRUTH = np.array([0, 0, 1, 2])


def test_figures_are_the_textbook_ones():
    """Accuracy, log loss, macro averages and recall by class are what their definitions give."""
    figures = evaluate.figures(PROBABILITIES, TRUTH, "abc")
    assert figures == {
        "instances": 4,
        "accuracy": 0.75,
        "log_loss": pytest.approx(-(math.log(0.8) + math.log(0.6) + math.log(0.5) + math.log(0.2)) / 4, rel=1e-6),
        "macro_precision": pytest.approx((1 + 0.5 + 0) / 3),
        "macro_recall": pytest.approx((1 + 1 + 0) / 3),
        "macro_f1": pytest.approx((1 + 2 / 3 + 0) / 3),
        "recall_a": 1,
        "recall_b": 1,
        "recall_c": 0,
    }


def test_the_reference_counts_every_instance():
    """Each distribution has every held-out instance in it once; inputs are spread evenly over their bins."""
    tensors = np.random.default_rng(0).random((1000, 28, 28), np.float32)
    probabilities = np.tile(PROBABILITIES, (250, 1))
    reference = evaluate.reference(evaluate.images(tensors), probabilities, "abc")
    assert reference.instances == 1000
    assert reference.predictions == {"a": 500, "b": 500, "c": 0}
    assert set(reference.inputs) == {"mean_intensity", "ink_share"}
    assert all(sum(histogram.counts) == 1000 for histogram in reference.inputs.values())
    assert reference.inputs["mean_intensity"].counts == (100,) * 10
    assert reference.confidence.counts == (0, 0, 0, 0, 0, 250, 500, 0, 250, 0)


def test_inputs_that_are_all_alike_have_one_bin():
    """A feature without spread still is a histogram."""
    assert evaluate.images(np.ones((4, 28, 28), np.float32))["ink_share"].counts == (4,)


def test_errors_are_in_the_unit_of_the_target():
    """RMSE, MAE and R² are what their definitions give."""
    assert evaluate.errors(np.array([1.0, 2.0, 6.0]), np.array([1.0, 4.0, 4.0])) == {
        "rmse": pytest.approx(math.sqrt(8 / 3)),
        "instances": 3,
        "mae": pytest.approx(4 / 3),
        "r2": pytest.approx(1 - 8 / 6),
    }


def test_a_regression_has_a_reference_of_its_columns():
    """Of a table each column is counted under its name; without classes there is neither label nor confidence."""
    rows = np.arange(40, dtype=np.float32).reshape(20, 2)
    reference = evaluate.reference(evaluate.columns(rows, ["x", "y"]), np.ones((20, 1)), ())
    assert {name: sum(histogram.counts) for name, histogram in reference.inputs.items()} == {"x": 20, "y": 20}
    assert (reference.instances, reference.predictions, reference.confidence) == (20, {}, None)
