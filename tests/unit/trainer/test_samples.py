import io

import numpy as np
import pytest
from PIL import Image

from serving.preprocessing import Step, build
from trainer import samples
from trainer.data import Dataset
from trainer.errors import TrainingError

CANVAS = {"height": 20, "width": 20}
PHOTO_STEPS = (
    Step(name="decode"),
    Step(name="grayscale"),
    Step(name="invert_light_background"),
    Step(name="flatten_background"),
    Step(name="stretch_contrast"),
    Step(name="crop_to_content"),
    Step(name="resize", parameters=CANVAS),
    Step(name="normalize"),
)


@pytest.fixture
def clean(bars):
    """The bars without noise."""
    return Dataset(np.where(bars.images < 250, 0, bars.images).astype(np.uint8), bars.labels, bars.source)


def test_a_photo_is_dark_on_light_paper(clean):
    """A simulated photo is a JPEG of the size asked for, mostly paper, its ink darker than the paper."""
    photo = Image.open(io.BytesIO(samples.photo(clean.images[0], np.random.default_rng(0), side=200)))
    assert (photo.format, photo.size) == ("JPEG", (200, 200))
    levels = np.asarray(photo.convert("L")).astype(int)
    assert np.median(levels) - levels.min() > 60


def test_golden_vectors_hold_what_the_pipeline_made(clean):
    """Each golden vector carries a file with its tensor; PNGs are held to less than the one JPEG."""
    pipeline = build(PHOTO_STEPS)
    golden = samples.golden(pipeline, clean, seed=0)
    formats = [Image.open(io.BytesIO(vector.encoded)).format for vector in golden]
    assert formats == ["PNG"] * 7 + ["JPEG"]
    assert [vector.tolerance for vector in golden] == [0.02] * 7 + [0.1]
    for vector in golden:
        assert np.array_equal(np.frombuffer(vector.tensor, "<f4").reshape(20, 20), pipeline(vector.encoded))


def test_a_golden_photo_hangs_on_no_last_bit(clean):
    """A pipeline that blows up a decoder's rounding finds no photo, rather than one that some server would refuse."""
    unsteady = Step(name="normalize", parameters={"scale": 1.0})
    with pytest.raises(TrainingError, match="steady"):
        samples.golden(build([Step(name="decode"), Step(name="grayscale"), unsteady]), clean, seed=0)


def test_samples_are_named_by_label(clean, tmp_path):
    """Two images of each class are written, each as its label says."""
    samples.write(tmp_path / "new" / "samples", clean, ["left", "middle", "right"])
    names = sorted(path.name for path in (tmp_path / "new" / "samples").iterdir())
    assert names == [f"{label}-{index}.png" for label in ("left", "middle", "right") for index in (0, 1)]
    pixels = np.asarray(Image.open(tmp_path / "new" / "samples" / "middle-1.png"))
    assert np.array_equal(pixels, clean.images[clean.labels == 1][1])
