"""gateway.quality.classification, by simulation; its figures are compared with scikit-learn's in test_report."""

import numpy as np

from gateway.quality import classification
from gateway.quality.classification import Cell
from gateway.quality.intervals import Figure


def macro_f1(confusion: np.ndarray) -> Figure:
    """Of a confusion matrix by true and predicted class."""
    cells = [
        Cell(int(predicted), int(actual), 10, int(confusion[actual, predicted]), 0.7, 0, 0, 0, 0, 0)
        for actual, predicted in np.ndindex(*confusion.shape)
    ]
    quality = classification.of(cells)
    assert quality
    return quality.macro_f1


def test_macro_f1_covers() -> None:
    """Of samples of a known macro F1 score, 95% have it in the interval, give or take the chance of 600 samples."""
    rng = np.random.default_rng(11)
    confusion = np.array([[0.3, 0.02, 0.03], [0.05, 0.2, 0.05], [0.0, 0.05, 0.3]])
    true = macro_f1(10_000 * confusion).value
    found = [macro_f1(rng.multinomial(300, confusion.ravel()).reshape(3, 3)) for _ in range(600)]
    covered = sum(figure.low <= true <= figure.high for figure in found if figure.low is not None and figure.high)
    assert 0.925 <= covered / 600 <= 0.98


def test_never_wrong() -> None:
    """A few answers that are all right do not prove that all will be."""
    figure = macro_f1(np.diag([5, 5, 5]))
    assert figure.value == figure.high == 1
    assert figure.low is not None
    assert 0.6 < figure.low < 0.9


def test_no_labels() -> None:
    """Without labels there are no figures; cells that were emptied by changes are none."""
    assert classification.of([]) is None
    assert classification.of([Cell(1, 2, 3, 0, 1e-17, 0, 0, 0, 0, 0)]) is None
