import io

import numpy as np
import pytest
from PIL import Image

from trainer import pictures
from trainer.calibration import reliability

EPOCHS = [(1, {"train_loss": 2.0, "heldout_loss": 1.5}), (2, {"train_loss": 1.0, "heldout_loss": 1.2})]
COUNTS = np.array([[3, 1], [0, 2]])
VALUES, TRUTH = np.array([1.0, 2.0, 7.0], np.float32), np.array([1.0, 4.0, 4.0], np.float32)
NAMES = ("$x^{", "小狗 with a very long name")


@pytest.mark.parametrize(
    "draw",
    [
        lambda: pictures.learning_curves(EPOCHS),
        lambda: pictures.learning_curves([(1, {"train_loss": 2.0, "train_accuracy": 0.5})]),
        lambda: pictures.confusion_matrix(COUNTS, NAMES),
        lambda: pictures.confusion_matrix(np.eye(40, dtype=np.int64), [str(number) for number in range(40)]),
        lambda: pictures.reliability(reliability(np.array([[0.9, 0.1], [0.3, 0.7]]), np.array([0, 0]))),
        lambda: pictures.mistakes([np.zeros((600, 300, channels), np.uint8) for channels in (1, 3, 4)], ["$", *NAMES]),
        lambda: pictures.mistakes([np.zeros((8, 8, 1), np.uint8)] * 30, ["a"] * 30),
        lambda: pictures.predicted_values(VALUES, TRUTH),
        lambda: pictures.residuals(VALUES, TRUTH),
    ],
)
def test_pictures_can_be_drawn(draw):
    """Each is a PNG file with something on it, whatever a class is called."""
    picture = draw()
    image = Image.open(io.BytesIO(picture.png))
    assert image.format == "PNG"
    assert len(image.convert("L").getcolors()) > 5
    assert picture.caption.endswith(".") or "→" in picture.caption


def test_long_names_are_cut():
    """A name that would take the picture's room is cut, a short one is not."""
    assert [pictures.short(name) for name in ("cat", "x" * 40)] == ["cat", "x" * 15 + "…"]
