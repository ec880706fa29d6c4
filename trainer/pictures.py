"""Pictures of how well a model does, as PNG files."""

import contextlib
import io
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from trainer.calibration import BINS, Reliability

_NUMBERED = 20  # classes of which a confusion matrix has its counts written into it
_GRID = 5  # columns of images, and rows at most
WORST = _GRID**2
_THUMBNAIL = 200  # pixels
_LABEL = 16  # characters of a class's name that fit


@dataclass(frozen=True)
class Picture:
    """A PNG file, and what to say of it."""

    name: str
    """Of the file, without a suffix."""
    caption: str
    png: bytes


def learning_curves(epochs: Sequence[tuple[int, Mapping[str, float]]]) -> Picture:
    """The figures that `fit` reports by epoch: the losses, and beside them the accuracies if there are any."""
    names = list(epochs[0][1])
    kinds = [kind for kind in ("loss", "accuracy") if any(name.endswith(kind) for name in names)]
    with _canvas(5 * len(kinds), 3.5) as (figure, file):
        for axes, kind in zip(figure.subplots(1, len(kinds), squeeze=False)[0], kinds, strict=True):
            for name in (name for name in names if name.endswith(kind)):
                numbers, values = zip(*((number, figures[name]) for number, figures in epochs), strict=True)
                axes.plot(numbers, values, marker="." if len(epochs) < _GRID else "", label=name.split("_")[0])
            axes.set(xlabel="epoch", ylabel=kind)
            axes.xaxis.get_major_locator().set_params(integer=True)
            axes.legend()
    return Picture(
        "learning_curves",
        "By epoch since the run began or was resumed; in training, dropout and augmentation are on.",
        *file,
    )


def confusion_matrix(counts: NDArray[np.int64], labels: Sequence[str]) -> Picture:
    """Counts (true class, predicted class); a colour is a share of the true class."""
    side = min(10.0, max(4.0, 2 + 0.45 * len(labels)))
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    with _canvas(side, side) as (figure, file):
        axes = figure.subplots()
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        names = [short(label) for label in labels]
        rotation = 0 if all(len(name) == 1 for name in names) else 90
        axes.set_xticks(range(len(labels)), names, rotation=rotation)
        axes.set_yticks(range(len(labels)), names)
        axes.set(xlabel="predicted", ylabel="true")
        for row, column in np.argwhere(counts) if len(labels) <= _NUMBERED else ():
            colour = "white" if shares[row, column] > 0.5 else "black"  # noqa: PLR2004 - what can be read on the blue
            axes.text(column, row, str(counts[row, column]), ha="center", va="center", color=colour, fontsize=8)
    return Picture("confusion_matrix", "Which class is taken for which, on the held-out examples.", *file)


def reliability(found: Reliability) -> Picture:
    """Accuracy by confidence, over how many answers there are of each."""
    edges, width = np.arange(BINS) / BINS, 1 / BINS
    with _canvas(5, 5) as (figure, file):
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
        upper.plot([0, 1], [0, 1], color="grey", linestyle="--", label="ideal")
        upper.bar(edges, found.accuracy, width, align="edge", edgecolor="white", label="accuracy")
        some = found.counts > 0
        upper.plot(
            found.confidence[some], found.accuracy[some], "o", color="black", markersize=3, label="mean of a bin"
        )
        upper.set(ylabel="accuracy", xlim=(0, 1), ylim=(0, 1.02))
        upper.legend(loc="upper left")
        lower.bar(edges, found.counts, width, align="edge", edgecolor="white")
        lower.set(xlabel="confidence", ylabel="answers")
    return Picture("reliability", f"Accuracy by confidence; expected calibration error {found.error:.4f}.", *file)


def mistakes(images: Iterable[NDArray[np.uint8]], captions: Sequence[str]) -> Picture:
    """Up to 25 images, (height, width, channels) each, with what to say of each."""
    rows = -(-min(len(captions), WORST) // _GRID)
    with _canvas(9, 2 * rows) as (figure, file):
        places = figure.subplots(rows, _GRID, squeeze=False).ravel()
        for axes in places:
            axes.axis("off")
        for axes, image, caption in zip(places, images, captions, strict=False):
            axes.imshow(_thumbnail(image), cmap="gray", vmin=0, vmax=255)
            axes.set_title(caption, fontsize=8)
    return Picture("worst_mistakes", "The wrong answers that are surest of themselves: true → predicted.", *file)


def predicted_values(values: NDArray[Any], truth: NDArray[Any]) -> Picture:
    """Predicted values (n,) over the true ones (n,)."""
    limits = [min(values.min(), truth.min()), max(values.max(), truth.max())]
    with _canvas(5, 5) as (figure, file):
        axes = figure.subplots()
        axes.plot(limits, limits, color="grey", linestyle="--")
        axes.plot(truth, values, "o", markersize=4, alpha=0.6)
        axes.set(xlabel="true", ylabel="predicted")
    return Picture("predicted_values", "Predicted over true values; on the line they are equal.", *file)


def residuals(values: NDArray[Any], truth: NDArray[Any]) -> Picture:
    """How much too high the predicted values (n,) are: over what was predicted, and how often."""
    errors = values.astype(np.float64) - truth
    with _canvas(9, 3.5) as (figure, file):
        left, right = figure.subplots(1, 2, sharey=True, width_ratios=[3, 1])
        left.axhline(0, color="grey", linestyle="--")
        left.plot(values, errors, "o", markersize=4, alpha=0.6)
        left.set(xlabel="predicted", ylabel="predicted − true")
        right.hist(errors, bins=20, orientation="horizontal")
        right.set(xlabel="examples")
    return Picture("residuals", "Residuals: how much too high each value is, and how often.", *file)


@contextlib.contextmanager
def _canvas(width: float, height: float) -> Iterator[tuple[Figure, list[bytes]]]:
    """A figure to draw on, of inches; on leaving, the list has its PNG file."""
    file: list[bytes] = []
    # A dollar in a class's name is no formula, and a font need not know all of its letters.
    with mpl.rc_context({"text.parse_math": False}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph", category=UserWarning)
        figure = Figure(figsize=(width, height), layout="constrained", dpi=110)
        yield figure, file
        png = io.BytesIO()
        figure.savefig(png, format="png")
    file.append(png.getvalue())


def _thumbnail(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    picture = Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image)
    picture.thumbnail((_THUMBNAIL, _THUMBNAIL))
    return np.asarray(picture)


def short(label: str) -> str:
    """A class's name, cut where it would not fit."""
    return label if len(label) <= _LABEL else label[: _LABEL - 1] + "…"
