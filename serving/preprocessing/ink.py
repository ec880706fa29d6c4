"""Steps for one bright thing on a dark ground: handwriting, a stamp, a silhouette; (height, width) in and out."""

from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from pydantic import Field

from serving.preprocessing.errors import InputError

Plane = NDArray[np.uint8]
Level = Annotated[int, Field(ge=0, le=255)]
Share = Annotated[float, Field(gt=0, lt=1)]
Side = Annotated[int, Field(ge=1, le=16_384)]

_WHITE = 255
_LEVELS = np.arange(256)
# Median absolute deviation → standard deviation of normal noise.
_MAD_TO_SIGMA = 1.4826


def invert_light_background(image: Plane) -> Plane:
    """Inverts an image whose ground is light, so that what is drawn is bright on dark.

    Ground is what most pixels are, light is what lies above the middle between the darkest and the brightest: that
    holds for dim photos too. An image of one level is all ground, light above the middle of all levels.
    """
    low, high = int(image.min()), int(image.max())
    middle = (low + high if low < high else _WHITE) / 2
    return _WHITE - image if _quantile(_counts(image), 0.5) > middle else image


def flatten_background(image: Plane, *, tolerance: Level = 12, grid: Side = 48) -> Plane:
    """Takes uneven light out of the ground: subtracts a quadratic surface fitted to it.

    The fit is robust (what is drawn is left out of it) and works on every n-th pixel, `grid` a side. A ground that
    varies by no more than `tolerance` is left alone.
    """
    counts = _counts(image)
    if _quantile(counts, 0.6) - _quantile(counts, 0.05) <= tolerance:
        return image
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


def stretch_contrast(image: Plane, *, min_contrast: Level = 16) -> Plane:
    """Maps the ground with its noise to 0 and the ink to 255, linearly in between.

    Ink and ground are told apart by Otsu's threshold (IEEE Trans. SMC 9(1), 1979). InputError NO_CONTENT if they are
    less than `min_contrast` levels apart: on a blank page there is nothing but noise.
    """
    counts = _counts(image)
    threshold = _otsu(counts)
    ground, ink = counts.copy(), counts.copy()
    ground[threshold + 1 :] = 0
    ink[: threshold + 1] = 0
    level = _quantile(ground, 0.5)
    contrast = _quantile(ink, 0.9) - level if ink.any() and ground.any() else 0
    if contrast < max(min_contrast, 1):
        raise InputError(
            "NO_CONTENT",
            f"the image is blank: its levels are {contrast} apart; expected something at least {min_contrast} brighter "
            "or darker than its ground",
        )
    deviation = np.bincount(np.abs(_LEVELS - level), weights=ground, minlength=256)
    low = min(level + 3 * _MAD_TO_SIGMA * _quantile(deviation, 0.5), threshold)
    high = max(level + contrast, low + 1)
    mapping: Plane = np.rint(np.clip((_LEVELS - low) * (_WHITE / (high - low)), 0, _WHITE)).astype(np.uint8)
    return mapping[image]


def crop_to_content(image: Plane, *, threshold: Level = 51) -> Plane:
    """Cuts an image to the rectangle of the pixels above `threshold`; one without any stays as it is."""
    above = image > threshold
    rows, columns = np.flatnonzero(above.any(axis=1)), np.flatnonzero(above.any(axis=0))
    if not rows.size:
        return image
    return image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


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


def center_of_mass(image: Plane, *, height: Side, width: Side) -> Plane:
    """Puts an image on a dark canvas of `height` × `width`, its centre of mass in the middle as far as it fits.

    As MNIST was made: the middle is pixel (`height` / 2, `width` / 2). What is larger than the canvas is cut off on the
    right and below; resize first.
    """
    image = image[:height, :width]
    weight = float(image.sum(dtype=np.int64))
    rows, columns = image.shape
    if weight:
        row = float(image.sum(axis=1, dtype=np.int64) @ np.arange(rows)) / weight
        column = float(image.sum(axis=0, dtype=np.int64) @ np.arange(columns)) / weight
    else:
        row, column = (rows - 1) / 2, (columns - 1) / 2
    top = min(max(round(height / 2 - row), 0), height - rows)
    left = min(max(round(width / 2 - column), 0), width - columns)
    canvas = np.zeros((height, width), np.uint8)
    canvas[top : top + rows, left : left + columns] = image
    return canvas


def _counts(image: Plane) -> NDArray[np.int64]:
    """How many pixels each of the 256 levels has: whatever is asked of the levels is asked of these."""
    return np.bincount(image.ravel(), minlength=256)


def _quantile(counts: NDArray[Any], share: float) -> int:
    """The lowest level that at least `share` of the pixels do not exceed."""
    below = counts.cumsum()
    return int(below.searchsorted(share * below[-1]))


def _otsu(counts: NDArray[np.int64]) -> int:
    """The level that splits the histogram into the two classes with the largest variance between them."""
    below = counts.cumsum().astype(np.float64)
    mass = (counts * _LEVELS).cumsum()
    total, above = below[-1], below[-1] - below
    # Variance between the classes, times total²; a class without pixels has none.
    spread = mass[-1] * below - mass * total
    between = np.divide(spread * spread, below * above, out=np.zeros(256), where=(below > 0) & (above > 0))
    return int(between.argmax())


def _quadratic(height: int, width: int) -> NDArray[np.float64]:
    """1, x, y, x², xy, y² at every pixel, x and y from -1 to 1: (height, width, 6)."""
    y, x = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij")
    return np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=-1)
