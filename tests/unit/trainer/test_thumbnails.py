import numpy as np
import pytest

from serving.preprocessing import InputError, Pipeline, Step, build
from serving.preprocessing.decode import decode
from trainer import thumbnails

PHOTO = np.zeros((300, 600, 3), np.uint8)


def test_large_images_are_made_small():
    """Where preprocessing takes any size, a photo becomes a small copy with its proportions; elsewhere it stays."""
    resized = build([Step(name="decode"), Step(name="resize", parameters={"height": 20, "width": 20})])
    assert thumbnails.small(PHOTO, 256, resized, (20, 20, 3)).shape == (128, 256, 3)
    assert thumbnails.small(PHOTO[:, :, :1], 256, resized, (20, 20, 1)).shape == (128, 256, 1)
    assert thumbnails.small(PHOTO, 256, build([Step(name="decode")]), (300, 600, 3)) is PHOTO
    assert thumbnails.small(PHOTO[:9, :9], 256, resized, (20, 20, 3)).shape == (9, 9, 3)


def test_what_is_refused_has_no_tensor():
    """Nor has what becomes another shape."""

    def refuse(image):
        raise InputError("NO", "no")

    refusing = Pipeline([("decode", decode), ("refuse", refuse)])
    assert thumbnails.tensor(refusing, PHOTO, (300, 600, 3)) is None
    taking = build([Step(name="decode")])
    assert thumbnails.tensor(taking, PHOTO, (28, 28)) is None
    assert np.array_equal(thumbnails.tensor(taking, PHOTO, (300, 600, 3)), PHOTO)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_pictures(channels):
    """Grey, RGB and RGBA are what Pillow calls them."""
    assert thumbnails.picture(np.zeros((2, 3, channels), np.uint8)).mode == {1: "L", 3: "RGB", 4: "RGBA"}[channels]
