import math

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from serving.reference import of_columns, of_images
from trainer import evaluate

# Four images, three of them right; class c is never predicted.
PROBABILITIES = np.array([[0.8, 0.1, 0.1], [0.6, 0.2, 0.2], [0.3, 0.5, 0.2], [0.2, 0.6, 0.2]], np.float32)
TRUTH = np.array([0, 0, 1, 2])


def test_figures_are_the_textbook_ones():
    """Each figure is what its definition gives; those by class are named for it."""
    figures = evaluate.figures(PROBABILITIES, TRUTH, "abc")
    squares = (0.04 + 0.01 + 0.01, 0.16 + 0.04 + 0.04, 0.09 + 0.25 + 0.04, 0.04 + 0.36 + 0.64)
    assert figures == {
        "instances": 4,
        "accuracy": 0.75,
        "log_loss": pytest.approx(-(math.log(0.8) + math.log(0.6) + math.log(0.5) + math.log(0.2)) / 4, rel=1e-6),
        "brier": pytest.approx(sum(squares) / 4),
        # 0.8 and 0.5 have a bin each, of answers that are right; of 0.6 and 0.6, which share one, half are.
        "ece": pytest.approx((0.2 + 0.5 + 2 * 0.1) / 4),
        # Of the pairs of one of the class and one not, a and b have all in order; c has a tie, a tie, and one in order.
        "roc_auc": pytest.approx((1 + 2 / 3 + (0.5 + 0.5 + 1) / 3) / 3),
        "macro_precision": pytest.approx((1 + 0.5 + 0) / 3),
        "macro_recall": pytest.approx((1 + 1 + 0) / 3),
        "macro_f1": pytest.approx((1 + 2 / 3 + 0) / 3),
        "micro_precision": 0.75,
        "micro_recall": 0.75,
        "micro_f1": 0.75,
        "weighted_precision": pytest.approx((2 * 1 + 0.5 + 0) / 4),
        "weighted_recall": 0.75,
        "weighted_f1": pytest.approx((2 * 1 + 2 / 3 + 0) / 4),
        "precision_a": 1,
        "precision_b": 0.5,
        "precision_c": 0,
        "recall_a": 1,
        "recall_b": 1,
        "recall_c": 0,
        "f1_a": 1,
        "f1_b": pytest.approx(2 / 3),
        "f1_c": 0,
    }


@pytest.mark.parametrize("truth", [[0, 0, 1, 1], [0, 0, 1, 0]])
def test_two_classes_have_the_usual_figures(truth):
    """The Brier score of two classes is the mean square of one probability's error, their ROC-AUC that of either."""
    second = np.array([0.1, 0.6, 0.7, 0.4])
    figures = evaluate.figures(np.stack([1 - second, second], axis=1), np.array(truth), "ab")
    assert figures["brier"] == pytest.approx(((second - truth) ** 2).mean())
    assert figures["roc_auc"] == pytest.approx(roc_auc_score(truth, second))


def test_classes_that_are_not_held_out():
    """A class without held-out examples has no part in ROC-AUC; where there is one class alone, there is none."""
    two = evaluate.figures(PROBABILITIES[:3], TRUTH[:3], "abc")
    assert (two["roc_auc"], two["recall_c"]) == (1, 0)
    assert "roc_auc" not in evaluate.figures(PROBABILITIES[:2], TRUTH[:2], "abc")


def test_the_reference_counts_every_instance():
    """Each distribution has every held-out instance in it once; inputs are spread evenly over their bins."""
    tensors = np.random.default_rng(0).random((1000, 28, 28), np.float32)
    probabilities = np.tile(PROBABILITIES, (250, 1))
    reference = evaluate.reference(of_images(tensors), probabilities, "abc")
    assert reference.instances == 1000
    assert reference.predictions == {"a": 500, "b": 500, "c": 0}
    assert set(reference.inputs) == {"mean_intensity", "ink_share"}
    assert all(sum(histogram.counts) == 1000 for histogram in reference.inputs.values())
    assert reference.inputs["mean_intensity"].counts == (100,) * 10
    assert reference.confidence.counts == (0, 250, 500, 250, 0)


def test_errors_are_in_the_unit_of_the_target():
    """RMSE, MAE, R² and bias are what their definitions give."""
    assert evaluate.errors(np.array([1.0, 2.0, 7.0]), np.array([1.0, 4.0, 4.0])) == {
        "rmse": pytest.approx(math.sqrt(13 / 3)),
        "instances": 3,
        "mae": pytest.approx(5 / 3),
        "r2": pytest.approx(1 - 13 / 6),
        "bias": pytest.approx(1 / 3),
    }


def test_a_regression_has_a_reference_of_its_columns_and_values():
    """Of a table each column is counted under its name; without classes there is neither label nor confidence."""
    rows = np.arange(40, dtype=np.float32).reshape(20, 2)
    reference = evaluate.reference(of_columns(rows, ["x", "y"]), rows[:, :1], ())
    assert {name: sum(histogram.counts) for name, histogram in reference.inputs.items()} == {"x": 20, "y": 20}
    assert (reference.instances, reference.predictions, reference.confidence) == (20, {}, None)
    assert reference.values.counts == (2,) * 10
