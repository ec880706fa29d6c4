"""serving.preprocessing.pixels, ink and tensor"""

import functools
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from serving.preprocessing import InputError, ink, pixels, tensor
from serving.preprocessing.many import over_many

PLANES = hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=80))


def drawing(size: int = 28) -> np.ndarray:
    """A bright L on black."""
    image = np.zeros((size, size), np.uint8)
    image[size // 4 : 3 * size // 4, size // 3 : size // 2] = 255
    image[5 * size // 8 : 3 * size // 4, size // 3 : 3 * size // 4] = 255
    return image


def stretched(image: np.ndarray) -> np.ndarray:
    """The image with its contrast stretched, or as it is if it is refused for having none."""
    try:
        return ink.stretch_contrast(image)
    except InputError:
        return image


@given(PLANES)
def test_any_image(image: np.ndarray) -> None:
    """Every step takes every image, of whatever size and content, and gives one of the same kind."""
    for step in (
        lambda plane: pixels.shrink(plane, max_side=32),
        pixels.denoise,
        lambda plane: pixels.resize(plane, height=20, width=20, fit="contain"),
        ink.invert_light_background,
        ink.flatten_background,
        stretched,
        ink.crop_to_content,
        ink.thicken,
    ):
        result = step(image)
        assert result.dtype == np.uint8
        assert result.ndim == 2
        assert result.size
    assert ink.center_of_mass(image, height=28, width=28).shape == (28, 28)


@given(st.lists(PLANES | hnp.arrays(np.uint8, (28, 28)), min_size=1, max_size=12), st.data())
def test_many_as_one_by_one(images: list[np.ndarray], data: st.DataObject) -> None:
    """Many images at once, of whatever sizes, become what each becomes by itself, or get the same error."""
    images += data.draw(st.lists(st.sampled_from(images), max_size=6))
    for step, parameters in (
        (pixels.shrink, {"max_side": 40}),
        (pixels.denoise, {"min_side": 20}),
        (pixels.resize, {"height": 28, "width": 28, "fit": "contain"}),
        (ink.thicken, {}),
        (ink.invert_light_background, {}),
        (ink.flatten_background, {}),
        (ink.stretch_contrast, {}),
        (ink.crop_to_content, {}),
        (ink.center_of_mass, {"height": 28, "width": 28}),
        (tensor.normalize, {}),
    ):
        many = over_many(functools.partial(step, **parameters))(images)
        for image, made in zip(images, many, strict=True):
            if isinstance(made, InputError):
                with pytest.raises(InputError, match=re.escape(str(made))):
                    step(image, **parameters)
            else:
                np.testing.assert_array_equal(made, step(image, **parameters))


@given(st.integers(1, 4), st.sampled_from([1, 3, 4]), st.data())
def test_stacks_as_one_by_one(count: int, channels: int, data: st.DataObject) -> None:
    """A stack goes through the steps that look at shapes or colours as its images do."""
    stack = data.draw(hnp.arrays(np.uint8, (count, *data.draw(st.sampled_from([(5, 7), (70, 66)])), channels)))
    grey = [pixels.grayscale(image) for image in stack]
    np.testing.assert_array_equal(over_many(pixels.grayscale)(stack), grey)
    for step, parameters in ((pixels.shrink, {"max_side": 60}), (pixels.denoise, {}), (ink.thicken, {})):
        many = over_many(functools.partial(step, **parameters))(np.stack(grey))
        for made, image in zip(many, grey, strict=True):
            np.testing.assert_array_equal(made, step(image, **parameters))


def test_grayscale() -> None:
    """Colours become luma; what is transparent becomes what sets the visible off."""
    colours = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]]], np.uint8)
    assert pixels.grayscale(colours).tolist() == [[76, 150, 29]]
    assert pixels.grayscale(np.array([[[7]]], np.uint8)).tolist() == [[7]]
    dark = np.array([[[0, 0, 0, 255], [9, 9, 9, 0]]], np.uint8)
    light = np.array([[[255, 255, 255, 255], [9, 9, 9, 0]]], np.uint8)
    assert pixels.grayscale(dark).tolist() == [[0, 255]]
    assert pixels.grayscale(light).tolist() == [[255, 0]]
    assert pixels.grayscale(light, transparent="white").tolist() == [[255, 255]]


def test_resize() -> None:
    """With "contain" proportions are kept, with "fill" not; what has the size already is not touched."""
    image = drawing(30)
    assert pixels.resize(image[:, :15], height=20, width=20, fit="contain").shape == (20, 10)
    assert pixels.resize(image[:, :15], height=20, width=20).shape == (20, 20)
    assert pixels.resize(image, height=30, width=30) is image
    colour = np.stack([image] * 3, axis=-1)
    assert pixels.resize(colour, height=10, width=12).shape == (10, 12, 3)
    assert pixels.resize(image[:, :, np.newaxis], height=10, width=12).shape == (10, 12, 1)
    assert pixels.shrink(image[:, :15], max_side=10).shape == (10, 5)


def test_invert() -> None:
    """Dark on light turns over, light on dark stays, however dim the light."""
    image = drawing()
    np.testing.assert_array_equal(ink.invert_light_background(255 - image), image)
    np.testing.assert_array_equal(ink.invert_light_background(image), image)
    dim = 90 - image // 4
    assert ink.invert_light_background(dim)[0, 0] < ink.invert_light_background(dim)[14, 11]


def test_clean_image_is_left_alone() -> None:
    """What is already white on black with full contrast passes the ink steps unchanged."""
    image = drawing()
    for step in (ink.invert_light_background, ink.flatten_background, ink.stretch_contrast):
        np.testing.assert_array_equal(step(image), image)


def test_uneven_light() -> None:
    """Light that falls off across the page leaves no trace outside the ink."""
    size = 200
    image = drawing(size)
    light = np.linspace(20, 110, size)[np.newaxis, :].repeat(size, axis=0)
    lit = np.clip(light + image * 0.5, 0, 255).astype(np.uint8)
    flat = ink.stretch_contrast(ink.flatten_background(lit))
    assert flat[image == 0].mean() < 5
    assert flat[image == 255].mean() > 200


def test_noise() -> None:
    """Noise of the ground is mapped to 0."""
    rng = np.random.default_rng(0)
    noisy = np.clip(drawing(100) * 0.6 + 40 + rng.normal(0, 8, (100, 100)), 0, 255).astype(np.uint8)
    cleaned = ink.stretch_contrast(pixels.denoise(noisy))
    assert np.mean(cleaned[drawing(100) == 0] > 25) < 0.02


@pytest.mark.parametrize("level", [0, 100, 255])
def test_blank_page(level: int) -> None:
    """A page with nothing on it, clean or as a camera sees it, is refused; a faint stroke on it is not."""
    rng = np.random.default_rng(0)
    page = np.full((100, 100), level, np.uint8)
    assert ink.invert_light_background(page).max() <= 127
    noisy = np.clip(page + rng.normal(0, 3, page.shape), 0, 255).astype(np.uint8)
    for blank in (page, noisy):
        with pytest.raises(InputError, match="expected something at least 16 brighter or darker") as refused:
            ink.stretch_contrast(ink.invert_light_background(blank))
        assert refused.value.reason == "NO_CONTENT"
    faint = page.astype(int)
    faint[40:60, 45:55] += 30 if level < 128 else -30
    drawn = ink.stretch_contrast(ink.invert_light_background(faint.astype(np.uint8)))
    assert drawn[50, 50] == 255
    assert drawn[0, 0] == 0


def test_crop() -> None:
    """The rectangle of the ink is cut out; an empty page stays whole."""
    assert ink.crop_to_content(drawing()).shape == (14, 12)
    assert ink.crop_to_content(np.zeros((5, 6), np.uint8)).shape == (5, 6)


def test_thicken() -> None:
    """A hairline grows to the share that survives scaling down; a bold stroke and a small image stay."""
    hairline = np.full((200, 200), 255, np.uint8)
    hairline[2:-2, 2:-2] = 0
    assert ink.thicken(hairline).mean() / 255 >= 0.15
    bold = np.full((200, 200), 255, np.uint8)
    assert ink.thicken(bold) is bold
    small = hairline[:30, :20]
    assert ink.thicken(small) is small


def test_center_of_mass() -> None:
    """The centre of mass lands in the middle, or as near as the canvas allows."""
    image = np.zeros((20, 10), np.uint8)
    image[15:20] = 255
    canvas = ink.center_of_mass(image, height=28, width=28)
    rows, columns = np.nonzero(canvas)
    assert (rows.max(), canvas.sum()) == (19, image.sum())
    assert columns.mean() == pytest.approx(14, abs=0.5)
    dot = np.zeros((3, 3), np.uint8)
    dot[1, 1] = 255
    assert np.argwhere(ink.center_of_mass(dot, height=10, width=10)).tolist() == [[5, 5]]
    assert ink.center_of_mass(np.zeros((2, 2), np.uint8), height=4, width=4).shape == (4, 4)
    assert ink.center_of_mass(np.ones((9, 9), np.uint8), height=4, width=4).sum() == 16


def test_tensor_steps() -> None:
    """Numbers and layout are what the parameters say."""
    image = np.array([[0, 255]], np.uint8)
    assert tensor.normalize(image).tolist() == [[0, 1]]
    assert tensor.normalize(image, scale=2 / 255, offset=-1).tolist() == [[-1, 1]]
    assert tensor.normalize(image).dtype == np.float32
    colour = np.zeros((4, 5, 3), np.uint8)
    assert tensor.layout(colour, order="CHW").shape == (3, 4, 5)
    assert tensor.layout(image, order="HWC").shape == (1, 2, 1)
    assert tensor.layout(image[:, :, np.newaxis], order="HW").shape == (1, 2)
    assert tensor.layout(colour, order="flat").shape == (60,)
    assert tensor.cast(np.array([1.9]), dtype="int32").tolist() == [1]
