import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from scipy.spatial import distance

from serving import reference
from serving.contract import Histogram, Reference
from serving.preprocessing import InputError
from tests.fakes import digits

COUNTS = npst.arrays(np.int64, 5, elements=st.integers(0, 1000)).filter(np.any)


def test_images_have_two_features():
    """How bright an image is, and how much of it is brighter than half."""
    tensors = np.zeros((2, 2, 2), np.float32)
    tensors[1, 0] = 0.75
    features = reference.of_images(tensors)
    assert {name: values.tolist() for name, values in features.items()} == {
        "mean_intensity": [0, 0.375],
        "ink_share": [0, 0.5],
    }


def test_images_as_they_came_have_three_features():
    """Size, brightness and contrast of the levels without alpha; of a large image a part stands for all."""
    dark, bright = np.zeros((28, 28, 1), np.uint8), np.full((2800, 1400, 4), 255, np.uint8)
    bright[:, 700:, :3] = 0
    sources = [reference.source(image) for image in (dark, bright)]
    features = reference.of_sources(sources)
    assert features["image_pixels"].tolist() == [784, 2800 * 1400]
    assert features["image_brightness"] == pytest.approx([0, 0.5], abs=0.02)
    assert features["image_contrast"] == pytest.approx([0, 0.5], abs=0.02)
    assert all(each.levels.base.nbytes <= 12_000 for each in sources)
    assert reference.sources([bright, InputError("IMAGE_EMPTY", "")])[1] is None
    for each, image in zip(reference.sources(np.stack([dark, dark + 9])), (dark, dark + 9), strict=True):
        np.testing.assert_array_equal(each.levels, reference.source(image).levels)


@pytest.mark.parametrize("preprocessing", [(), digits.STEPS])
def test_the_contract_says_what_inputs_are(preprocessing):
    """Where images are preprocessed they have the features of images, else the columns that the reference names."""
    inputs = {name: reference.by_quantiles(np.arange(4)) for name in "ba"}
    contract = digits.contract(preprocessing=preprocessing, golden=(), reference=Reference(instances=4, inputs=inputs))
    found = reference.of_inputs(contract, np.array([[1, 2]], np.float32))
    assert list(found) == (["mean_intensity", "ink_share"] if preprocessing else ["b", "a"])
    assert preprocessing or reference.of_inputs(contract, np.zeros((1, 3), np.float32)) == {}


def test_a_table_has_its_columns():
    """Each column is a feature under its name."""
    features = reference.of_columns(np.array([[1, 2], [3, 4]], np.float32), ["x", "y"])
    assert {name: values.tolist() for name, values in features.items()} == {"x": [1, 3], "y": [2, 4]}


def test_bins_hold_the_same_number_each():
    """Values are spread evenly over ten bins, and counted again they are where they were."""
    values = np.random.default_rng(0).normal(size=1000)
    histogram = reference.by_quantiles(values)
    assert histogram.counts == (100,) * 10
    assert reference.counted(values, histogram).tolist() == list(histogram.counts)


@pytest.mark.parametrize(
    ("values", "counts"),
    [([7] * 4, (0, 4, 0)), ([0, 1, 1, 0, 1], (0, 2, 3, 0)), ([0, 0, 0, 10, 11], (0, 3, 1, 1, 0))],
)
def test_few_different_values_have_a_bin_each(values, counts):
    """What a reference has never seen is in a bin that it has empty, and so shows as drift."""
    found = reference.by_quantiles(np.array(values))
    assert found.counts == counts
    assert reference.counted(np.array([-99, *values, 99]), found).tolist() == [1, *counts[1:-1], 1]


def test_the_outermost_bins_are_open_ended():
    """A value beyond anything seen is in the last bin on its side, one on an edge in the bin above."""
    histogram = Histogram(edges=(0, 1, 2, 3), counts=(1, 1, 1))
    assert reference.counted(np.array([-9, 0.5, 1, 2.5, 3, 99]), histogram).tolist() == [2, 1, 3]


def test_psi_is_its_definition():
    """Of shares 50:50 and 80:20; a bin that is empty does not make it infinite."""
    assert reference.psi([5, 5], [8, 2]) == pytest.approx(0.3 * np.log(1.6) - 0.3 * np.log(0.4))
    assert reference.psi([5, 5], [10, 0]) == pytest.approx(0.5 * np.log(2) - 0.4999 * np.log(0.0002))


@given(COUNTS, COUNTS)
def test_jensen_shannon_is_scipys(expected, actual):
    """The distance is scipy's, to the base 2, from 0 to 1, either way round."""
    found = reference.jensen_shannon(expected, actual)
    assert found == pytest.approx(distance.jensenshannon(expected, actual, base=2), abs=1e-6)
    assert found == pytest.approx(reference.jensen_shannon(actual, expected))
    assert 0 <= found <= 1


@given(COUNTS, st.integers(1, 9))
def test_equal_distributions_are_not_apart(counts, times):
    """Neither measure minds how many there are."""
    assert reference.psi(counts, counts * times) == pytest.approx(0, abs=1e-9)
    assert reference.jensen_shannon(counts, counts * times) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("measure", [reference.psi, reference.jensen_shannon])
def test_nothing_cannot_be_compared(measure):
    """Without a single value there is no distribution."""
    with pytest.raises(ValueError, match="at least one value"):
        measure([1, 2], [0, 0])
