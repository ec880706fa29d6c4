import dataclasses

import numpy as np
import pytest

from serving.contract import Contract, InputSpec, Postprocessing
from serving.preprocessing import InputError, Pipeline
from serving.preprocessing.decode import decode
from trainer.robustness import CORRUPTIONS, slices


def find(tensors):
    """Probabilities of the bars' classes: a bar is where the image is brightest."""
    thirds = np.stack([tensors[:, :, 4 + 8 * n : 8 + 8 * n].mean(axis=(1, 2)) for n in range(3)], axis=1)
    return thirds / thirds.sum(axis=1, keepdims=True)


@pytest.fixture
def cut(bars, steps):
    """Slices of the bars as `find` sees them."""
    contract = Contract(
        name="bars",
        input=InputSpec(name="image", dtype="float32", shape=(28, 28)),
        preprocessing=steps,
        postprocessing=Postprocessing(task="classification", output="probabilities", labels=bars.labels),
    )

    def cut(dataset=bars, **changes):
        return slices(find, contract.model_copy(update=changes), dataset, seed=0)

    return cut


def test_each_corruption_has_its_accuracy(cut):
    """What leaves the bar the brightest is harmless; inverted, it is the darkest and never found."""
    found = cut()
    assert list(found) == ["clean", "noise", "shift", "rotation", "blur", "contrast", "inverted"]
    assert {name: found[name].accuracy for name in ("clean", "noise", "blur", "contrast")} == dict.fromkeys(
        ("clean", "noise", "blur", "contrast"), 1.0
    )
    assert found["clean"].by_class == (1, 1, 1)
    assert found["inverted"].accuracy == 0


def test_one_seed_gives_the_same_slices(cut, monkeypatch, bars):
    """The images that are picked and their corruptions come from the seed, and they are no more than the limit."""
    monkeypatch.setattr("trainer.robustness.IMAGES", 7)
    assert cut() == cut()
    assert {round(found.accuracy * 7, 6) % 1 for found in cut().values()} == {0}


def test_a_class_without_images_has_no_accuracy(cut, bars):
    """Where no image of a class is held out, there is nothing to say of it."""
    found = cut(bars.part(np.flatnonzero(bars.targets != 1)))
    assert found["clean"].by_class == (1, None, 1)


def test_a_refused_image_counts_as_wrong(cut, monkeypatch):
    """Preprocessing may have nothing to make of a corrupted image; callers get no right answer then."""

    def refuse(image):
        if image.mean() > 127:
            raise InputError("TOO_BRIGHT", "the image is too bright")
        return image[:, :, 0].astype(np.float32)

    pipeline = Pipeline([("decode", decode), ("refuse", refuse)])
    monkeypatch.setattr(Contract, "pipeline", lambda *_: pipeline)
    found = cut()
    assert (found["clean"].accuracy, found["inverted"].accuracy) == (1, 0)


def test_a_table_has_no_slices(cut):
    """Where no image goes in, none is corrupted."""
    assert cut(preprocessing=()) == {}


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_corrupted_image_is_still_one(name, channels):
    """Size, channels and type stay; pixels change except in `clean`; what was opaque in the middle is."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (20, 30, channels)).astype(np.uint8)
    image[:, :, 3:] = 255
    corrupted = CORRUPTIONS[name](image, rng)
    assert (corrupted.shape, corrupted.dtype) == (image.shape, np.uint8)
    assert np.array_equal(corrupted, image) == (name == "clean")
    assert (corrupted[10, 15, 3:] == 255).all()


def test_corruptions_are_what_their_names_say():
    """On an image with one bright pixel on black each does what can be counted."""
    rng = np.random.default_rng(1)
    image = np.zeros((20, 30, 1), np.uint8)
    image[10, 15] = 200
    corrupted = {name: corrupt(image, rng)[:, :, 0] for name, corrupt in CORRUPTIONS.items()}
    (row, column), *others = np.argwhere(corrupted["shift"])
    assert (abs(row - 10), abs(column - 15), others) == (2, 3, [])
    assert (corrupted["inverted"][10, 15], corrupted["inverted"][0, 0]) == (55, 255)
    assert np.ptp(corrupted["contrast"]) == 80
    assert 0 < corrupted["blur"].max() < 200
    assert corrupted["rotation"][0, 0] == 0


def test_noise_is_of_the_size_it_says():
    """The levels are spread by 25 around what they were."""
    grey = np.full((100, 100, 1), 127, np.uint8)
    noisy = CORRUPTIONS["noise"](grey, np.random.default_rng(0)).astype(float)
    assert noisy.std() == pytest.approx(25, rel=0.05)


def test_files_are_corrupted_after_decoding(cut, bars, tmp_path):
    """Images from files give what the same pixels give."""
    files = np.empty(len(bars.targets), object)
    for place in range(len(files)):
        files[place] = tmp_path / f"{place}.png"
        files[place].write_bytes(bars.encoded(place)[0])
    assert cut(dataclasses.replace(bars, inputs=files)) == cut()
