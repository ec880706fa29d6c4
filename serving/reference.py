"""The distributions that drift is measured against: how they are counted, and how far two of them are apart."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from serving.contract import Contract, Histogram
from serving.preprocessing.many import Failure, Made
from serving.preprocessing.pipeline import DECODE

BINS = 10
_INK = 0.5
_WHITE = 255
# Either side of what is kept of an image is less than twice that.
_SIDE = 32
# The least share of a bin: an empty one would be infinitely far from any other.
_LEAST = 1e-4


class Source(NamedTuple):
    """What is kept of an image as it came, before preprocessing undoes how it was taken."""

    pixels: int
    levels: NDArray[np.uint8]
    """Every n-th of its rows and m-th of its columns: (height, width, channels), without alpha."""


def source(image: NDArray[np.uint8]) -> Source:
    """What is kept of a decoded `image`, (height, width, channels); a copy of 12 kB at most."""
    return next(_alike(image[np.newaxis]))


def sources(images: Made) -> list[Source | None]:
    """The same of many images, which costs less where they are stacked; None of those that failed."""
    if isinstance(images, np.ndarray):
        return list(_alike(images))
    return [None if isinstance(image, Failure) else source(image) for image in images]


def _alike(images: NDArray[np.uint8]) -> Iterator[Source]:
    _, height, width, channels = images.shape
    down, across = max(1, height // _SIDE), max(1, width // _SIDE)
    kept = images[:, ::down, ::across, : min(channels, 3)].copy()
    return (Source(height * width, levels) for levels in kept)


def of_sources(sources: Sequence[Source]) -> dict[str, NDArray[np.float64]]:
    """Features, (n,) each, of images as they came: size, and mean and deviation of the levels, 0 to 1.

    Inverted images show here alone, where preprocessing finds out by itself what is ground and what is ink.
    """
    brightness, contrast = np.empty(len(sources)), np.empty(len(sources))
    # Those of one shape at once: one by one it takes ten times as long.
    places: dict[tuple[int, ...], list[int]] = {}
    for place, each in enumerate(sources):
        places.setdefault(each.levels.shape, []).append(place)
    for alike in places.values():
        levels = np.stack([sources[place].levels for place in alike]).reshape(len(alike), -1)
        brightness[alike], contrast[alike] = levels.mean(axis=1) / _WHITE, levels.std(axis=1) / _WHITE
    return {
        "image_pixels": np.array([each.pixels for each in sources], np.float64),
        "image_brightness": brightness,
        "image_contrast": contrast,
    }


def of_inputs(contract: Contract, tensors: NDArray[Any]) -> dict[str, NDArray[np.float64]]:
    """Features, (n,) each, of inputs (n, …) as the model takes them; none where `contract` has no reference.

    Of an image those of `of_images`; of a table's row the columns, which its reference names in their order.
    """
    if contract.preprocessing and contract.preprocessing[0].name == DECODE:
        return of_images(tensors)
    names = tuple(contract.reference.inputs) if contract.reference else ()
    return of_columns(tensors, names) if tensors.shape[1:] == (len(names),) else {}


def of_images(tensors: NDArray[Any]) -> dict[str, NDArray[np.float64]]:
    """Features, (n,) each, of images as tensors (n, …) from 0 to 1: brightness, and how much of them is bright."""
    rows = tensors.reshape(len(tensors), -1)
    return {
        "mean_intensity": rows.mean(axis=1, dtype=np.float64),
        "ink_share": (rows > _INK).mean(axis=1, dtype=np.float64),
    }


def of_columns(rows: NDArray[Any], names: Sequence[str]) -> dict[str, NDArray[np.float64]]:
    """Features, (n,) each, of a table's rows (n, columns): its columns by name."""
    return {name: column.astype(np.float64) for name, column in zip(names, rows.T, strict=True)}


def by_quantiles(values: NDArray[Any]) -> Histogram:
    """Values, (n,), in bins that hold about the same number each: there, drift shows best.

    Few different values have a bin each, between two for what lies beyond them.
    """
    values = values.astype(np.float64)
    different = np.unique(values)
    if different.size <= BINS:
        return histogram(*np.histogram(values, bins=_around(different)))
    return histogram(*np.histogram(values, bins=np.unique(np.quantile(values, np.linspace(0, 1, BINS + 1)))))


def _around(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Edges that divide ascending values from one another and from all others."""
    middles = (values[:-1] + values[1:]) / 2
    low, high = (middles[0] - values[0], values[-1] - middles[-1]) if middles.size else 2 * [max(abs(values[0]), 1) / 2]
    return np.array([values[0] - 2 * low, values[0] - low, *middles, values[-1] + high, values[-1] + 2 * high])


def histogram(counts: NDArray[Any], edges: NDArray[Any]) -> Histogram:
    """What `numpy.histogram` gives, as the contract holds it."""
    return Histogram(edges=tuple(edges.tolist()), counts=tuple(counts.tolist()))


def counted(values: NDArray[Any], reference: Histogram) -> NDArray[np.int64]:
    """How many of `values`, (n,), fall into each bin of `reference`; the outermost bins are open-ended."""
    bins = np.searchsorted(reference.edges[1:-1], values, side="right")
    return np.bincount(bins, minlength=len(reference.counts))


def psi(expected: Sequence[int] | NDArray[Any], actual: Sequence[int] | NDArray[Any]) -> float:
    """The population stability index of two counts of the same bins, 0 where they agree.

    By custom below 0.1 nothing has changed, above 0.25 much has. An empty bin counts as a share of 0.0001.
    """
    first, second = (np.maximum(_shares(counts), _LEAST) for counts in (expected, actual))
    return float(((second - first) * np.log(second / first)).sum())


def jensen_shannon(expected: Sequence[int] | NDArray[Any], actual: Sequence[int] | NDArray[Any]) -> float:
    """The Jensen–Shannon distance of two counts of the same bins: 0 where they agree, 1 where they share no bin."""
    first, second = _shares(expected), _shares(actual)
    middle = (first + second) / 2
    divergence = (_entropy(middle) - (_entropy(first) + _entropy(second)) / 2) / np.log(2)
    # Rounding may put it a little outside.
    return float(np.sqrt(np.clip(divergence, 0, 1)))


def _shares(counts: Sequence[int] | NDArray[Any]) -> NDArray[np.float64]:
    array = np.asarray(counts, np.float64)
    if array.sum() == 0:
        raise ValueError("expected at least one value to compare distributions")
    shares: NDArray[np.float64] = array / array.sum()
    return shares


def _entropy(shares: NDArray[np.float64]) -> float:
    present = shares[shares > 0]
    return float(-(present * np.log(present)).sum())
