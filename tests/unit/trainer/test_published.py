import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from serving.contract import Contract, InputSpec, Postprocessing, Reference
from serving.preprocessing import Step
from serving.reference import by_quantiles
from trainer.data import Dataset
from trainer.errors import TrainingError
from trainer.published import Published


def export(directory, contract, outputs):
    """A SavedModel with a contract whose `outputs`, (classes,) or (1,), do not depend on the input."""
    module, spec = tf.Module(), contract.input

    def serve(tensor):
        return {contract.postprocessing.output: tf.tile(tf.constant([outputs]), [tf.shape(tensor)[0], 1])}

    def describe(versions):
        return {"contract": tf.fill(tf.shape(versions), contract.model_dump_json())}

    signatures = {
        contract.signature: tf.function(serve).get_concrete_function(
            tf.TensorSpec((None, *spec.shape), spec.dtype, spec.name)
        ),
        "contract": tf.function(describe).get_concrete_function(tf.TensorSpec((None,), tf.string, "versions")),
    }
    tf.saved_model.save(module, str(directory), signatures)
    return Published(directory)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """A model of images in the classes right, left and unknown, which answers left."""
    contract = Contract(
        name="m",
        input=InputSpec(name="image", dtype="float32", shape=(28, 28)),
        preprocessing=(Step(name="decode"), Step(name="grayscale"), Step(name="normalize")),
        postprocessing=Postprocessing(task="classification", output="p", labels=("right", "left", "unknown")),
    )
    return export(tmp_path_factory.mktemp("images"), contract, [0.1, 0.7, 0.2])


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """A model of the columns b and a of a table, which answers 4."""
    contract = Contract(
        name="m",
        input=InputSpec(name="features", dtype="float32", shape=(2,)),
        preprocessing=(),
        postprocessing=Postprocessing(task="regression", output="value"),
        reference=Reference(instances=4, inputs={name: by_quantiles(np.arange(4)) for name in "ba"}),
    )
    return export(tmp_path_factory.mktemp("table"), contract, [4.0])


@pytest.fixture
def rows():
    """A table with more columns, in another order."""
    inputs = np.arange(6).reshape(2, 3).astype(object)
    return Dataset(inputs, np.array([4, 5], np.float32), "rows", columns=("a", "x", "b"))


def test_classes_are_matched_by_name(images, bars):
    """Probabilities come in the examples' order of classes; one that it does not know is never its answer."""
    outputs, labels = images.predict(bars)
    assert labels == ("left", "middle", "right", "unknown")
    assert outputs.shape == (60, 4)
    assert np.allclose(outputs, [0.7, 0, 0.1, 0.2])


def test_images_go_through_its_own_preprocessing(images, bars):
    """What it is given is what its contract makes, not what another model takes."""
    tensors = images.tensors(bars)
    assert tensors.shape == (60, 28, 28)
    assert np.allclose(tensors[0], bars.inputs[0] / 255)
    assert np.allclose(images.features(bars)["mean_intensity"], bars.inputs.mean(axis=(1, 2)) / 255)


def test_columns_are_matched_by_name(table, rows):
    """It takes its own columns of a table, in its own order."""
    assert table.tensors(rows).tolist() == [[2, 0], [5, 3]]
    assert {name: values.tolist() for name, values in table.features(rows).items()} == {"b": [2, 5], "a": [0, 3]}
    outputs, labels = table.predict(rows)
    assert (outputs.tolist(), labels) == ([[4], [4]], ())


def test_a_table_of_numbers_is_all_that_an_older_model_takes(table, rows):
    """It does not preprocess: strings and gaps are nothing to it."""
    for value, message in (("abc", "it takes numbers alone"), (None, "rows without gaps")):
        inputs = rows.inputs.copy()
        inputs[0, 0] = value
        with pytest.raises(TrainingError, match=message):
            table.tensors(dataclasses.replace(rows, inputs=inputs))


def test_rows_go_through_its_own_preprocessing(tmp_path, rows):
    """By the columns that it takes, whatever others there are."""
    columns = [{"name": "x", "type": "number"}]
    contract = Contract(
        name="m",
        input=InputSpec(name="features", dtype="float32", shape=(1,)),
        preprocessing=(
            Step(name="select", parameters={"columns": columns}),
            Step(name="scale", parameters={"columns": {"x": {"center": 1, "scale": 3}}}),
            Step(name="assemble", parameters={"columns": ["x"]}),
        ),
        postprocessing=Postprocessing(task="regression", output="value"),
        reference=Reference(instances=4, inputs={"x": by_quantiles(np.arange(4))}),
    )
    model = export(tmp_path / "m", contract, [4.0])
    assert model.tensors(rows).tolist() == [[0], [1]]
    assert model.features(rows)["x"].tolist() == [0, 1]


def test_examples_of_another_kind_are_refused(images, table, bars, rows):
    """A model cannot be asked about what it does not predict, or does not take."""
    with pytest.raises(TrainingError, match="its task is regression, that of the examples is not"):
        table.predict(bars)
    with pytest.raises(TrainingError, match="it takes images, the examples are rows of a table"):
        images.tensors(rows)
    with pytest.raises(TrainingError, match="expected the columns b too; there are a, x, y"):
        table.tensors(Dataset(rows.inputs, rows.targets, "rows", columns=("a", "x", "y")))


def test_what_is_no_export_is_said(tmp_path):
    """A directory without a model, or with one that has no contract."""
    with pytest.raises(TrainingError, match="holds no model that this trainer exported"):
        Published(tmp_path / "none")
    tf.saved_model.save(tf.Module(), str(tmp_path / "bare"))
    with pytest.raises(TrainingError, match="holds no model that this trainer exported"):
        Published(tmp_path / "bare")
