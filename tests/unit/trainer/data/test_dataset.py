import dataclasses

import numpy as np
import pytest

from serving.preprocessing import Step, build
from trainer import data
from trainer.data.dataset import Dataset, png
from trainer.errors import TrainingError


def test_the_split_is_stratified_and_repeatable(bars):
    """Each class gives the same share, no image is in both parts, and a seed picks the same images again."""
    training, heldout = data.split(bars, 0.2, seed=1)
    assert np.bincount(heldout.targets).tolist() == [4, 4, 4]
    assert len(training.targets) == 48
    seen = {image.tobytes() for image in training.inputs}
    assert not any(image.tobytes() in seen for image in heldout.inputs)
    assert data.split(bars, 0.2, seed=1)[1].digest == heldout.digest != data.split(bars, 0.2, seed=2)[1].digest


def test_a_split_without_every_class_is_refused(bars):
    """A share that leaves a class out is an error, not a silent gap."""
    with pytest.raises(TrainingError, match="cannot be split"):
        data.split(bars, 0.01, seed=1)


def test_tensors_are_what_servers_make_of_the_files(bars, steps):
    """Training sees the very tensors that serving makes of the same image as a file."""
    pipeline = build(steps)
    tensors = data.tensors(pipeline, bars)
    assert tensors.shape == (60, 28, 28)
    assert np.array_equal(tensors[7], pipeline(png(bars.inputs[7])))


@pytest.mark.parametrize(
    ("last", "message"),
    [
        (Step(name="cast", parameters={"dtype": "uint8"}), "makes uint8, the network takes float32"),
        (Step(name="crop_to_content", parameters={"threshold": 200}), "preprocessing: "),
    ],
)
def test_tensors_that_no_network_takes_are_refused(bars, last, message):
    """Preprocessing must make float32, and one shape of all images."""
    images = bars.inputs.copy()
    images[0, 9:] = 0  # a shorter bar
    pipeline = build([Step(name="decode"), Step(name="grayscale"), last])
    with pytest.raises(TrainingError, match=message):
        data.tensors(pipeline, dataclasses.replace(bars, inputs=images))


def test_the_digest_tells_datasets_apart(bars):
    """Another pixel or another class is another digest; another source of the same is not."""
    images, targets = bars.inputs.copy(), bars.targets.copy()
    images[0, 0, 0] ^= 1
    targets[0] = 2
    digests = {bars.digest, Dataset(images, bars.targets, "").digest, Dataset(bars.inputs, targets, "").digest}
    assert len(digests) == 3
    assert Dataset(bars.inputs, bars.targets, "elsewhere").digest == bars.digest


def test_a_class_of_one_is_refused(bars):
    """A class that cannot be on both sides of the split is named."""
    with pytest.raises(TrainingError, match="the class 'middle' has 1 example, expected 2 or more"):
        data.split(bars.part([0, 1, 2, 3, 5, 6, 8]), 0.4, seed=0)


def test_values_are_split_at_random():
    """Without classes there is nothing to stratify."""
    rows = np.arange(10, dtype=np.float32)
    training, heldout = data.split(Dataset(rows[:, np.newaxis], rows, "t", columns=("x",)), 0.3, seed=0)
    assert sorted([*training.targets, *heldout.targets]) == rows.tolist()
    assert len(heldout.targets) == 3


@pytest.fixture
def table():
    """Three rows of numbers, strings, truth values and gaps."""
    rows = np.array([[1.5, "a", True], [None, "b", False], [2, None, True]], object)
    return Dataset(rows, np.zeros(3, np.int64), "t", ("a", "b"), columns=("x", "y", "z"))


def test_a_tables_rows_pass_through_the_pipeline(table):
    """By the columns that it takes; a row that it refuses is said, and so are columns that are not there."""

    def steps(name, **column):
        columns = [{"name": name, "type": "number", **column}]
        names = [Step(name="select", parameters={"columns": columns}), Step(name="impute", parameters={"values": {}})]
        return build([*names, Step(name="assemble", parameters={"columns": [name]})])

    filled = dataclasses.replace(table, inputs=table.inputs[[0, 2]])
    assert data.tensors(steps("x"), filled).tolist() == [[1.5], [2]]
    with pytest.raises(TrainingError, match="preprocessing: column 'x': it has no value; expected a number"):
        data.tensors(steps("x"), table)
    with pytest.raises(TrainingError, match="expected the columns w too; there are x, y, z"):
        data.tensors(steps("w", nullable=True), table)


def test_a_row_is_known_again(table):
    """By its values, of which one that is missing is another than 0; numbers count as float32."""
    assert len({*table.fingerprints.tolist()}) == 3
    assert table.part([2, 0]).fingerprints.tolist() == table.fingerprints[[2, 0]].tolist()
    filled = np.where(table.inputs == np.array(None), 0, table.inputs)
    assert table.digest != dataclasses.replace(table, inputs=filled).digest
    numbers = np.arange(6).reshape(3, 2)
    as_values, as_floats = (
        dataclasses.replace(table, inputs=numbers.astype(dtype), columns=("x", "y")) for dtype in (object, np.float32)
    )
    assert as_values.digest == as_floats.digest
    assert as_values.fingerprints.tolist() == as_floats.fingerprints.tolist()


def test_an_example_is_known_again_in_other_data(bars, tmp_path):
    """A fingerprint is of the input alone: of pixels, of rows, or of a file's bytes, whatever its name or its class."""
    part = bars.part([7, 3])
    assert part.fingerprints.tolist() == bars.fingerprints[[7, 3]].tolist()
    assert len(set(bars.fingerprints.tolist())) == 60
    other = dataclasses.replace(part, targets=1 - part.targets)
    assert other.fingerprints.tolist() == part.fingerprints.tolist()
    paths = np.array([tmp_path / name for name in ("a", "b", "c")], object)
    for path, content in zip(paths, (b"1", b"2", b"1"), strict=True):
        path.write_bytes(content)
    first, second, third = Dataset(paths, np.arange(3), "files").fingerprints
    assert first == third != second
