"""Steps for one bright thing on a dark ground: handwriting, a stamp, a silhouette; (height, width) in and out."""

import functools
import threading
import weakref
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from pydantic import Field

from serving.preprocessing.errors import InputError
from serving.preprocessing.many import Images, Made, for_many, for_stacks

Plane = NDArray[np.uint8]
Planes = NDArray[np.uint8]
"""Images of one size: (n, height, width)."""
Counts = NDArray[np.float64]
Level = Annotated[int, Field(ge=0, le=255)]
Share = Annotated[float, Field(gt=0, lt=1)]
Side = Annotated[int, Field(ge=1, le=16_384)]

_WHITE = 255
_LEVELS = np.arange(256.0)
# Median absolute deviation → standard deviation of normal noise.
_MAD_TO_SIGMA = 1.4826


@for_stacks
def invert_light_background(images: Planes) -> Planes:
    """Inverts images whose ground is light, so that what is drawn is bright on dark.

    Ground is what most pixels are, light is what lies above the middle between the darkest and the brightest: that
    holds for dim photos too. An image of one level is all ground, light above the middle of all levels.
    """
    levels = _levels(images)
    low, high = levels.reached(1), levels.reached(levels.pixels)
    light = levels.quantile(0.5) > np.where(low < high, low + high, _WHITE) / 2
    return np.where(light[:, np.newaxis, np.newaxis], _WHITE - images, images) if light.any() else images


@for_stacks
def flatten_background(images: Planes, *, tolerance: Level = 12, grid: Side = 48) -> Planes:
    """Takes uneven light out of the ground: subtracts a quadratic surface fitted to it.

    The fit is robust (what is drawn is left out of it) and works on every n-th pixel, `grid` a side. A ground that
    varies by no more than `tolerance` is left alone.
    """
    levels = _levels(images)
    (uneven,) = (levels.quantile(0.6) - levels.quantile(0.05) > tolerance).nonzero()
    if not uneven.size:
        return images
    flat = images.copy()
    for place in uneven:
        flat[place] = _flattened(images[place], grid)
    return flat


def _flattened(image: Plane, grid: int) -> Plane:
    stride = max(1, min(image.shape) // grid)
    sample = image[::stride, ::stride].astype(np.float64)
    terms = _quadratic(*sample.shape).reshape(-1, 6)
    values = sample.ravel()
    kept = values <= np.percentile(values, 90)
    coefficients: NDArray[Any] = np.zeros(6)
    for _ in range(5):
        coefficients, *_ = np.linalg.lstsq(terms[kept], values[kept], rcond=None)
        residual = values - terms @ coefficients
        spread = _MAD_TO_SIGMA * float(np.median(np.abs(residual[kept]))) + 1.0
        kept = residual < 2 * spread
    ground = _quadratic(*image.shape) @ coefficients
    flat: Plane = np.clip(image - ground, 0, _WHITE).astype(np.uint8)
    return flat


@for_stacks
def stretch_contrast(images: Planes, *, min_contrast: Level = 16) -> Made:
    """Maps the ground with its noise to 0 and the ink to 255, linearly in between.

    Ink and ground are told apart by Otsu's threshold (IEEE Trans. SMC 9(1), 1979). InputError NO_CONTENT if they are
    less than `min_contrast` levels apart: on a blank page there is nothing but noise.
    """
    levels = _levels(images)
    threshold = levels.otsu()
    ground = levels.at(threshold, levels.below)
    ink, middle = levels.pixels - ground, np.ceil(0.5 * ground)
    level = levels.reached(middle[:, np.newaxis])
    top = levels.reached((ground + np.ceil(0.9 * ink))[:, np.newaxis])
    contrast = np.where((ink > 0) & (ground > 0), top - level, 0)
    low = np.minimum(level + 3 * _MAD_TO_SIGMA * _median_deviations(levels, level, threshold, middle), threshold)
    high = np.maximum(level + contrast, low + 1)
    mapping = _LEVELS - low[:, np.newaxis]
    mapping *= (_WHITE / (high - low))[:, np.newaxis]
    np.maximum(mapping, 0, out=mapping)
    np.minimum(mapping, _WHITE, out=mapping)
    mapping = np.rint(mapping, out=mapping).astype(np.uint8)
    stretched: Planes = mapping.ravel()[_numbered(images)].reshape(images.shape)
    blank = contrast < max(min_contrast, 1)
    if not blank.any():
        return stretched
    return [
        _no_content(contrast, min_contrast) if bad else image
        for image, bad, contrast in zip(stretched, blank.tolist(), contrast.tolist(), strict=True)
    ]


def _no_content(contrast: int, expected: int) -> InputError:
    return InputError(
        "NO_CONTENT",
        f"the image is blank: its levels are {contrast} apart; expected something at least {expected} brighter "
        "or darker than its ground",
    )


@for_stacks
def crop_to_content(images: Planes, *, threshold: Level = 51) -> Made:
    """Cuts images to the rectangle of the pixels above `threshold`; one without any stays as it is."""
    above: NDArray[np.bool_] = images > threshold
    rows, columns = np.logical_or.reduce(above, axis=2), np.logical_or.reduce(above, axis=1)
    # Of a row without any the first is the first, and the last the last.
    first = [there.argmax(axis=1).tolist() for there in (rows, columns)]
    last = [(there.shape[1] - there[:, ::-1].argmax(axis=1)).tolist() for there in (rows, columns)]
    return [
        image[top:bottom, left:right]
        for image, top, bottom, left, right in zip(images, first[0], last[0], first[1], last[1], strict=True)
    ]


def thicken(image: Plane, *, share: Share = 0.15, min_side: Side = 40) -> Plane:
    """Thickens thin strokes until `share` of the pixels are ink, so that a fine pen survives scaling down.

    Images with a longer side below `min_side` are left alone.
    """
    longer = max(image.shape)
    if longer < min_side:
        return image
    for _ in range(longer // 16):
        if float(image.mean()) >= share * _WHITE:
            break
        # The margin gives the strokes room to grow outwards.
        padded = Image.fromarray(np.pad(image, 1))
        image = np.asarray(padded.filter(ImageFilter.MaxFilter(3)))
    return image


@for_many
def center_of_mass(images: Images, *, height: Side, width: Side) -> Planes:
    """Puts images on dark canvases of `height` × `width`, their centre of mass in the middle as far as it fits.

    As MNIST was made: the middle is pixel (`height` / 2, `width` / 2). What is larger than the canvas is cut off on the
    right and below; resize first.
    """
    cut = [image[:height, :width] for image in images]
    corner = np.zeros((len(cut), height, width), np.uint8)
    for canvas, image in zip(corner, cut, strict=True):
        canvas[: image.shape[0], : image.shape[1]] = image
    # What each row and each column weighs; beyond the image nothing.
    weights = corner.sum(axis=2, dtype=np.int64), corner.sum(axis=1, dtype=np.int64)
    totals = weights[0].sum(axis=1).tolist()
    moments = [(weight @ np.arange(weight.shape[1])).tolist() for weight in weights]
    centered = np.zeros((len(cut), height, width), np.uint8)
    for canvas, image, total, down, across in zip(centered, cut, totals, *moments, strict=True):
        rows, columns = image.shape
        row, column = (down / total, across / total) if total else ((rows - 1) / 2, (columns - 1) / 2)
        top = min(max(round(height / 2 - row), 0), height - rows)
        left = min(max(round(width / 2 - column), 0), width - columns)
        canvas[top : top + rows, left : left + columns] = image
    return centered


class _Levels:
    """How many pixels of each image have each of the 256 levels: whatever is asked of the levels is asked of these.

    Whole numbers, as float64, which all that is done with them is exact in.
    """

    def __init__(self, images: Planes) -> None:
        self.pixels = images[0].size
        counts = np.bincount(_numbered(images), minlength=256 * len(images))
        self.counts = counts.astype(np.float64).reshape(-1, 256)
        """(n, 256)"""
        self.below = self.counts.cumsum(axis=1)
        """How many have this level or a lower one, (n, 256)."""

    def reached(self, pixels: float | Counts) -> NDArray[np.int64]:
        """The lowest level that at least so many pixels, (n, 1), do not exceed, by image."""
        level: NDArray[np.int64] = (self.below >= pixels).argmax(axis=1)
        return level

    def at(self, level: NDArray[np.int64], of: Counts) -> Counts:
        """What one of the tables above has at each image's level."""
        return of.take(level + _offsets(len(of))[:, 0])

    def quantile(self, share: float) -> NDArray[np.int64]:
        """The lowest level that at least this share of the pixels does not exceed, by image."""
        return self.reached(share * self.pixels)

    def otsu(self) -> NDArray[np.int64]:
        """The level that splits the histogram into the two classes with the largest variance between them, by image."""
        mass = (self.counts * _LEVELS).cumsum(axis=1)
        # Variance between the classes, times total².
        spread = mass[:, -1:] * self.below
        mass *= self.pixels
        spread -= mass
        spread *= spread
        sizes = self.pixels - self.below
        sizes *= self.below
        # A class without pixels has none.
        spread /= np.maximum(sizes, 1, out=sizes)
        best: NDArray[np.int64] = spread.argmax(axis=1)
        return best


_last = threading.local()


def _levels(images: Planes) -> _Levels:
    """The levels of a stack; most steps leave it as it is, so that the next one finds what the last has counted."""
    seen: tuple[weakref.ref[Planes], _Levels] | None = getattr(_last, "seen", None)
    if seen is None or seen[0]() is not images:
        seen = _last.seen = weakref.ref(images), _Levels(images)
    return seen[1]


def _median_deviations(
    levels: _Levels, level: NDArray[np.int64], threshold: NDArray[np.int64], middle: Counts
) -> NDArray[np.int64]:
    """Within how many levels of `level` `middle` of the pixels up to `threshold` are: mostly 0, as ground is even."""
    deviations = np.zeros(len(level), np.int64)
    (rest,) = (levels.at(level, levels.counts) < middle).nonzero()
    if rest.size:
        ground = np.where(threshold[rest, np.newaxis] >= _LEVELS, levels.counts[rest], 0)
        distance = np.abs(np.arange(256) - level[rest, np.newaxis])
        binned = np.bincount(_numbered(distance), ground.ravel(), minlength=distance.size).reshape(-1, 256)
        deviations[rest] = (binned.cumsum(axis=1) >= middle[rest, np.newaxis]).argmax(axis=1)
    return deviations


def _numbered(levels: NDArray[Any]) -> NDArray[Any]:
    """Each pixel's place among the 256 levels of all images, one after the other: (n · pixels,)."""
    count = len(levels)
    return (levels.reshape(count, -1) + _offsets(count) if count > 1 else levels).ravel()


@functools.lru_cache(maxsize=64)
def _offsets(count: int) -> NDArray[np.int64]:
    """Where the levels of each image begin: (count, 1)."""
    return 256 * np.arange(count)[:, np.newaxis]


def _quadratic(height: int, width: int) -> NDArray[np.float64]:
    """1, x, y, x², xy, y² at every pixel, x and y from -1 to 1: (height, width, 6)."""
    y, x = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij")
    return np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=-1)
