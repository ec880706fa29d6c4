"""serving.preprocessing.pipeline"""

from pathlib import Path

import numpy as np
import pytest

from serving.preprocessing import InputError, Step, StepError, build, schema
from serving.preprocessing.__main__ import page
from serving.preprocessing.pipeline import STEPS
from tests.fakes import digits


def test_image_and_pixels_agree() -> None:
    """Pixels go the same way as an image once it is decoded."""
    pipeline = build(digits.STEPS)
    image = digits.band(4)
    np.testing.assert_array_equal(pipeline(digits.encode(image)), pipeline.from_pixels(image[:, :, np.newaxis]))
    assert pipeline.names[0] == "decode"


def test_without_decode() -> None:
    """A pipeline that starts elsewhere takes no images."""
    pipeline = build([])
    assert not pipeline.accepts_images
    with pytest.raises(InputError, match="tensors, not images"):
        pipeline(b"")


@pytest.mark.parametrize(
    ("steps", "text"),
    [
        ([Step(name="polish")], "no step is called 'polish'"),
        ([Step(name="grayscale")], "comes first"),
        ([Step(name="decode"), Step(name="decode")], "comes first"),
        ([Step(name="decode", parameters={"max_pixel": 1})], "max_pixel: no such setting"),
        ([Step(name="decode"), Step(name="resize", parameters={"height": 0, "width": 1})], "height"),
        ([Step(name="decode"), Step(name="resize", parameters={"height": 1})], "width: Field required"),
        ([Step(name="decode"), Step(name="layout", parameters={"order": "WH"})], "order"),
    ],
)
def test_bad_pipeline(steps: list[Step], text: str) -> None:
    """A step or parameter that does not exist is refused when the pipeline is built, by name."""
    with pytest.raises(StepError, match=text):
        build(steps)


@pytest.mark.parametrize("name", sorted(STEPS))
def test_schema(name: str) -> None:
    """Every step describes itself and its parameters."""
    described = schema(name)
    assert described["description"]
    assert described["additionalProperties"] is False


def test_page() -> None:
    """docs/preprocessing.md ends with what `python -m serving.preprocessing` prints, every step in it."""
    text = page()
    assert text.strip()
    assert Path("docs/preprocessing.md").read_text("utf-8").endswith(f"\n\n{text}")
    for name in STEPS:
        assert f"\n**`{name}`** – " in text
