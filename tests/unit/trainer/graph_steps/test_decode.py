"""trainer.graph_steps.decode against serving.preprocessing.decode, and whole pipelines against one another."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from serving.preprocessing import Step, build
from serving.preprocessing import decode as reference
from trainer import graph_steps, samples
from trainer.graph_steps import decode
from trainer.recipe import DEFAULT, parse

LIMIT = 5000


@tf.function(input_signature=[tf.TensorSpec((), tf.string)], autograph=False)
def in_graph(encoded):
    """An image decoded in a graph; a JPEG made small."""
    return decode.decode(encoded, max_pixels=LIMIT, shrink_to=16)


def picture(mode, size=(60, 40)):
    """A picture with something in it."""
    x, y = np.meshgrid(np.linspace(0, 255, size[0]), np.linspace(0, 255, size[1]))
    colours = np.stack([x, y, 255 - x, (x + y) / 2], axis=-1).astype(np.uint8)
    image = Image.fromarray(colours)
    return image.convert("RGB").quantize(20) if mode == "P" else image.convert(mode)


def file(image, form, **options):
    """The bytes of a file."""
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def files():
    """Files of every kind, by what they are."""
    wide = Image.fromarray((np.arange(2400).reshape(40, 60) * 27).astype(np.uint16))
    exif = {number: Image.Exif() for number in range(1, 10)}
    for number, tags in exif.items():
        tags[0x0112] = number
        tags[0x010F] = "a maker"
    transparent = {"transparency": 3}
    yield from ((f"png {mode}", file(picture(mode), "PNG")) for mode in ("1", "L", "LA", "P", "RGB", "RGBA"))
    yield "png 16 bits", file(wide, "PNG")
    yield "png palette, transparent", file(picture("P"), "PNG", **transparent)
    yield from ((f"jpeg {mode}", file(picture(mode), "JPEG", quality=90)) for mode in ("L", "RGB"))
    yield "jpeg plain colours", file(picture("RGB"), "JPEG", subsampling=0)
    yield "jpeg large", file(picture("RGB", (100, 49)), "JPEG")
    yield "jpeg larger", file(picture("L", (79, 63)), "JPEG", progressive=True)
    yield from ((f"jpeg turned {number}", file(picture("L"), "JPEG", exif=tags)) for number, tags in exif.items())
    yield "gif", file(picture("P"), "GIF")
    yield "webp", file(picture("RGB"), "WEBP", lossless=True)
    yield "webp, transparent", file(picture("RGBA"), "WEBP", lossless=True, exact=True)
    yield "bmp", file(picture("RGB"), "BMP")


FILES = dict(files())


@pytest.mark.parametrize("kind", FILES)
def test_a_file_is_decoded_alike(kind):
    """Colours, transparency, size and the way up are those that Pillow finds."""
    expected = reference.decode(FILES[kind], max_pixels=LIMIT, shrink_to=16)
    made = in_graph(FILES[kind]).numpy()
    assert (made.shape, made.dtype) == (expected.shape, expected.dtype)
    assert np.abs(made.astype(int) - expected).max() <= (2 if "jpeg" in kind else 0)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "GIF", "BMP", "WEBP"])
def test_a_large_image_is_refused(form):
    """By its header, with its size in the text."""
    with pytest.raises(tf.errors.InvalidArgumentError, match="expected 5000 at most"):
        in_graph(file(picture("RGB", (101, 50)), form))


@pytest.mark.parametrize(
    "content", [b"", b"GIF8", b"\x89PNG\r\n\x1a\n", b"no image", FILES["jpeg RGB"][:200], FILES["png RGB"][:100]]
)
def test_what_is_no_image_is_refused(content):
    """Whatever is wrong with the bytes, the caller hears that they are wrong."""
    with pytest.raises(tf.errors.InvalidArgumentError):
        in_graph(content)


@pytest.fixture(scope="module")
def digits():
    """The steps of the digits, and the same in a graph."""
    steps = parse([])[0].preprocessing
    function = graph_steps.build(steps, (28, 28), "float32")
    return build(steps), tf.function(function, input_signature=[tf.TensorSpec((None,), tf.string)])


def test_the_digits_pipeline_makes_the_same(digits, bars):
    """PNGs and photos of the same things come out within what the contract allows, in one batch of any sizes."""
    pipeline, in_graph = digits
    rng = np.random.default_rng(0)
    clean = np.where(bars.inputs < 250, 0, bars.inputs).astype(np.uint8)
    pngs = [file(Image.fromarray(image), "PNG") for image in clean[:6]]
    photos = [samples.photo(image, rng, side=int(rng.integers(200, 900))) for image in clean[6:24]]
    made = in_graph(tf.constant(pngs + photos)).numpy()
    expected = np.stack([pipeline(encoded) for encoded in pngs + photos])
    differences = np.abs(made - expected).max(axis=(1, 2))
    assert differences[:6].max() == 0
    assert (differences[6:] <= 0.1).mean() >= 0.9


def test_no_image_is_an_empty_batch(digits):
    """As with every signature."""
    assert digits[1](tf.constant([], tf.string)).shape == (0, 28, 28)


def test_a_step_of_ones_own_is_named():
    """It has no counterpart."""
    with pytest.raises(graph_steps.NoCounterpartError, match="the step 'sharpen' has no counterpart"):
        graph_steps.build([Step(name="decode"), Step(name="sharpen")], (28, 28), "float32")


def test_the_recipes_steps_have_counterparts():
    """Those that ship can all be exported with the signature."""
    for path in DEFAULT.parent.glob("*.yaml"):
        graph_steps.build(parse(["--recipe", str(path)])[0].preprocessing, (28, 28), "float32")
