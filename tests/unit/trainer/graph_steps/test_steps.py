"""trainer.graph_steps against serving.preprocessing, step by step and in a row."""

import functools

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from serving.preprocessing import InputError, Step, table
from serving.preprocessing.pipeline import STEPS, parameters
from trainer.graph_steps.pipeline import STEPS as GRAPH_STEPS

PLANES = hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=80))
# Smooth things, as images are: noise alone has neither ground nor ink.
DRAWINGS = st.builds(
    lambda seed, height, width: drawing(np.random.default_rng(seed), height, width),
    st.integers(0, 2**32 - 1),
    st.integers(3, 150),
    st.integers(3, 150),
)
METHODS = ("nearest", "box", "bilinear", "bicubic", "lanczos")


def drawing(rng, height, width):
    """Blots on uneven ground, light or dark, with noise."""
    y, x = np.mgrid[0:height, 0:width] / max(height, width)
    ground = rng.uniform(0, 120) * (1 + rng.uniform(-0.4, 0.4) * x + rng.uniform(-0.4, 0.4) * y)
    blots = sum(
        (np.hypot(x - rng.uniform(), y - rng.uniform()) < rng.uniform(0.02, 0.2)) * rng.uniform(40, 200)
        for _ in range(int(rng.integers(0, 4)))
    )
    image = np.clip(ground + blots + rng.normal(0, rng.uniform(0, 6), (height, width)), 0, 255).astype(np.uint8)
    return image if rng.random() < 0.5 else 255 - image


@functools.cache
def in_graph(name, rank, **options):
    """A step in a graph, for images of any size."""
    spec = tf.TensorSpec((None,) * rank, tf.uint8)
    return tf.function(functools.partial(GRAPH_STEPS[name], **options), input_signature=[spec], autograph=False)


def both(name, image, **given_):
    """What a step makes of an image, here and there; nothing of what both refuse."""
    options = parameters(Step(name=name, parameters=given_))
    made_of = functools.partial(in_graph(name, image.ndim, **options), tf.constant(image))
    try:
        expected = STEPS[name](image, **options)
    except InputError:
        with pytest.raises(tf.errors.InvalidArgumentError):
            made_of()
        return None, None
    made = made_of().numpy()
    assert (made.shape, made.dtype) == (expected.shape, expected.dtype)
    return made, expected


def test_every_step_has_a_counterpart():
    """By the same name, in the same order; those of tables have none."""
    assert list(GRAPH_STEPS) == [name for name, step in STEPS.items() if step.__module__ != table.__name__]


@given(PLANES | DRAWINGS)
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("shrink", {"max_side": 32}),
        ("denoise", {"min_side": 3}),
        ("denoise", {"size": 5}),
        ("invert_light_background", {}),
        ("stretch_contrast", {}),
        ("stretch_contrast", {"min_contrast": 0}),
        ("crop_to_content", {}),
        ("thicken", {"min_side": 16}),
        ("center_of_mass", {"height": 28, "width": 24}),
        ("normalize", {}),
        ("normalize", {"scale": 0.3, "offset": -0.1}),
        ("cast", {"dtype": "int64"}),
        ("layout", {"order": "flat"}),
        ("layout", {"order": "HWC"}),
        ("layout", {"order": "CHW"}),
        *(("resize", {"height": 20, "width": 13, "method": method}) for method in METHODS),
        ("resize", {"height": 20, "width": 20, "fit": "contain"}),
    ],
)
@settings(max_examples=12)
def test_a_step_makes_the_same(name, options, image):
    """To the last bit."""
    np.testing.assert_array_equal(*both(name, image, **options))


@given(PLANES | DRAWINGS)
@settings(max_examples=20)
def test_the_ground_is_flattened_alike(image):
    """A level between two may be cut off either way: the surface is fitted by another library."""
    made, expected = both("flatten_background", image)
    assert np.abs(made.astype(int) - expected).max(initial=0) <= 1


@given(hnp.arrays(np.uint8, st.tuples(st.integers(1, 30), st.integers(1, 30), st.sampled_from([1, 3, 4]))))
@pytest.mark.parametrize(
    ("name", "options"),
    [
        *(("grayscale", {"transparent": behind}) for behind in ("contrast", "white", "black")),
        ("shrink", {"max_side": 20}),
        *(("resize", {"height": 9, "width": 13, "method": method}) for method in METHODS),
        ("layout", {"order": "CHW"}),
    ],
)
@settings(max_examples=12)
def test_colours_and_transparency_are_treated_alike(name, options, image):
    """Grey, RGB and RGBA, to the last bit."""
    np.testing.assert_array_equal(*both(name, image, **options))


def test_the_channel_of_a_grey_image_is_dropped():
    """As `layout` does by the order HW."""
    np.testing.assert_array_equal(*both("layout", np.ones((4, 5, 1), np.uint8), order="HW"))


@pytest.mark.parametrize("shape", [(15, 8), (41, 13), (40, 23), (41, 23), (15, 40), (90, 8)])
def test_larger_and_smaller_sides_in_the_same_order(shape):
    """Pillow begins with the rows or with the columns, as the sides have it; the rounding in between shows which."""
    image = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    np.testing.assert_array_equal(*both("resize", image, height=20, width=13, method="bicubic"))
