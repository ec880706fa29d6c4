import dataclasses
import io
import json

import numpy as np
import pytest
from PIL import Image

from serving.preprocessing import Pipeline, Step, build
from serving.preprocessing.decode import decode
from trainer import samples
from trainer.data import Dataset, folder

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
    return dataclasses.replace(bars, inputs=np.where(bars.inputs < 250, 0, bars.inputs).astype(np.uint8))


def test_a_photo_is_dark_on_light_paper(clean):
    """A simulated photo is a JPEG of the size asked for, mostly paper, its ink darker than the paper."""
    photo = Image.open(io.BytesIO(samples.photo(clean.inputs[0], np.random.default_rng(0), side=200)))
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


def test_golden_rows_have_every_gap():
    """Some rows as JSON, and for each column one without a value in it."""
    values = np.array([[float(n), None if n == 15 else "é", None if n == 17 else True] for n in range(20)], object)
    heldout = Dataset(values, np.zeros(20, np.float32), "t", columns=("a", "b", "c"))
    kinds = {"a": "number", "b": "string", "c": "boolean"}
    pipeline = build(
        [
            Step(
                name="select",
                parameters={"columns": [{"name": n, "type": k, "nullable": True} for n, k in kinds.items()]},
            ),
            Step(name="impute", parameters={"values": {"b": "x", "c": 0.5}}),
            Step(name="one_hot", parameters={"columns": {"b": ["é", "x"]}}),
            Step(name="assemble", parameters={"columns": ["a", "b=é", "c"]}),
        ]
    )
    golden = samples.golden_rows(pipeline, heldout)
    assert [json.loads(vector.encoded)["a"] for vector in golden] == [*range(8), 15, 17]
    assert np.frombuffer(golden[-2].tensor, "<f4").tolist() == [15, 0, 1]
    assert golden[-1].tolerance == pytest.approx(17e-6)


def test_a_golden_photo_hangs_on_no_last_bit(clean):
    """Where a pipeline blows up a decoder's rounding there is no photo, rather than one that a server would refuse."""
    last_bit = Pipeline([("decode", decode), ("last bit", lambda image: (image % 2).astype(np.float32))])
    golden = samples.golden(last_bit, clean, seed=0)
    assert [vector.tolerance for vector in golden] == [0.02] * 7


def test_tolerances_grow_with_the_numbers(clean):
    """Of a tensor from 0 to 255 the last bit is larger than of one from 0 to 1."""
    levels = build([Step(name="decode"), Step(name="grayscale"), Step(name="normalize", parameters={"scale": 1.0})])
    assert samples.golden(levels, clean, seed=0)[0].tolerance == 0.02 * 250


@pytest.fixture
def photos(tmp_path):
    """A folder of two classes with four large JPEGs each."""
    rng = np.random.default_rng(0)
    for label in ("a", "b"):
        (tmp_path / label).mkdir()
        for number in range(4):
            noise = rng.integers(0, 256, (300, 600, 3)).astype(np.uint8)
            Image.fromarray(noise).save(tmp_path / label / f"{number}.jpg")
    return folder.load(tmp_path)


def test_large_files_make_small_golden_vectors(photos, steps, tmp_path):
    """Of one's own photos, which may be megabytes each, the contract carries small copies; samples are the files."""
    resized = (*steps[:1], Step(name="resize", parameters=CANVAS), *steps[1:])
    golden = samples.golden(build(resized), photos, seed=0)
    assert {Image.open(io.BytesIO(vector.encoded)).size for vector in golden} == {(128, 64)}
    samples.write(tmp_path / "samples", photos)
    assert (tmp_path / "samples" / "b-1.jpg").read_bytes() == (tmp_path / "b" / "1.jpg").read_bytes()


def test_golden_vectors_have_the_inputs_shape(photos, steps):
    """Where the pipeline leaves an image its size, so do the golden vectors."""
    golden = samples.golden(build(steps), photos, seed=0)
    assert {Image.open(io.BytesIO(vector.encoded)).size for vector in golden} == {(600, 300)}


def test_samples_are_named_by_label(clean, tmp_path):
    """Two images of each class are written, each as its label says."""
    samples.write(tmp_path / "new" / "samples", clean)
    names = sorted(path.name for path in (tmp_path / "new" / "samples").iterdir())
    assert names == [f"{label}-{index}.png" for label in ("left", "middle", "right") for index in (0, 1)]
    pixels = np.asarray(Image.open(tmp_path / "new" / "samples" / "middle-1.png"))
    assert np.array_equal(pixels, clean.inputs[clean.targets == 1][1])
