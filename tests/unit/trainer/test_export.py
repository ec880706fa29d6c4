import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from serving.contract import Contract, Golden, InputSpec, Postprocessing
from serving.preprocessing import build
from trainer import export, network
from trainer.data.dataset import png
from trainer.errors import TrainingError
from trainer.graph_steps import pipeline
from trainer.graph_steps.pipeline import STEPS


@pytest.fixture
def model(recipe):
    """A network of random weights for the bars."""
    return network.build(recipe(network={"hidden": (4,), "dropout": 0.5}), (28, 28), 3)


@pytest.fixture
def contract(bars, steps):
    """What that model has to say of itself."""
    file = png(bars.inputs[0])
    return Contract(
        name="bars",
        input=InputSpec(name="image", dtype="float32", shape=(28, 28)),
        preprocessing=steps,
        golden=(Golden(encoded=file, tensor=build(steps)(file).tobytes(), tolerance=0.02),),
        postprocessing=Postprocessing(task="classification", output="probabilities", labels=("a", "b", "c")),
    )


INPUTS = np.random.default_rng(0).random((6, 28, 28), np.float32)


def test_the_signatures_are_those_that_the_contract_names(tmp_path, model, contract):
    """Servers and clients find the tensors under their names, with a free batch dimension."""
    export.write(tmp_path / "1", model, contract, INPUTS)
    signatures = tf.saved_model.load(str(tmp_path / "1")).signatures
    assert set(signatures) == {"serving_default", "serving_bytes", "contract"}
    described = {
        name: (signature.structured_input_signature[1], signature.structured_outputs)
        for name, signature in signatures.items()
    }
    assert described == {
        "serving_default": (
            {"image": tf.TensorSpec((None, 28, 28), tf.float32, "image")},
            {"probabilities": tf.TensorSpec((None, 3), tf.float32, "probabilities")},
        ),
        "serving_bytes": (
            {"image_bytes": tf.TensorSpec((None,), tf.string, "image_bytes")},
            {"probabilities": tf.TensorSpec((None, 3), tf.float32, "probabilities")},
        ),
        "contract": (
            {"versions": tf.TensorSpec((None,), tf.string, "versions")},
            {"contract": tf.TensorSpec((None,), tf.string, "contract")},
        ),
    }


def test_the_contract_answers_each_version_that_is_asked_for(tmp_path, model, contract):
    """One answer per element: the JSON for the version that it is written in, nothing for any other."""
    export.write(tmp_path / "1", model, contract, INPUTS)
    ask = tf.saved_model.load(str(tmp_path / "1")).signatures["contract"]
    known, unknown, empty = ask(versions=tf.constant(["1", "2", ""]))["contract"].numpy()
    assert Contract.parse(known) == contract
    assert (unknown, empty) == (b"", b"")
    assert ask(versions=tf.constant([], tf.string))["contract"].shape == (0,)


def test_the_export_computes_what_the_model_does(tmp_path, model, contract):
    """Dropout is off in the export, and its output is the model's."""
    export.write(tmp_path / "1", model, contract, INPUTS)
    export.verify(tmp_path / "1", model, INPUTS)
    serve = tf.saved_model.load(str(tmp_path / "1")).signatures["serving_default"]
    first, second = (serve(image=tf.constant(INPUTS))["probabilities"].numpy() for _ in range(2))
    assert np.array_equal(first, second)
    assert first == pytest.approx(model.predict(INPUTS, verbose=0), abs=1e-5)


def test_encoded_images_are_served(tmp_path, model, contract, bars):
    """The signature for encoded images gives what the pipeline and the model give; it fails for what is no image."""
    export.write(tmp_path / "1", model, contract, INPUTS)
    serve = tf.saved_model.load(str(tmp_path / "1")).signatures["serving_bytes"]
    files = [png(image) for image in bars.inputs[:3]]
    tensors = np.stack([build(contract.preprocessing)(file) for file in files])
    output = serve(image_bytes=tf.constant(files))["probabilities"].numpy()
    assert output == pytest.approx(model.predict(tensors, verbose=0), abs=1e-5)
    with pytest.raises(tf.errors.InvalidArgumentError):
        serve(image_bytes=tf.constant([files[0], b"no image"]))


@pytest.mark.parametrize(
    ("steps_in_graph", "reason"),
    [
        (
            {name: step for name, step in STEPS.items() if name != "grayscale"},
            "the step 'grayscale' has no counterpart",
        ),
        ({**STEPS, "grayscale": lambda image, transparent: image[:, :, 0] // 2}, "golden vector 0 differs by"),
    ],
)
def test_without_operations_for_its_steps(contract, caplog, monkeypatch, steps_in_graph, reason):
    """A model of other steps, or of ones that TensorFlow does not do alike, is exported without that signature."""
    monkeypatch.setattr(pipeline, "STEPS", steps_in_graph)
    assert export._in_graph(contract) is None
    assert f"exported without the signature serving_bytes: {reason}" in caplog.text


def test_a_table_has_no_encoded_images(contract):
    """Its rows are tensors already."""
    assert export._in_graph(contract.model_copy(update={"preprocessing": (), "golden": ()})) is None


def test_warm_up_requests(tmp_path, model, contract):
    """Each signature has a request of 1, of 8 and of 32 rows, under the names that it has for them."""
    export.write(tmp_path / "1", model, contract, INPUTS)
    records = tf.data.TFRecordDataset(str(tmp_path / "1/assets.extra/tf_serving_warmup_requests")).as_numpy_iterator()
    requests = [prediction_log_pb2.PredictionLog.FromString(record).predict_log.request for record in records]
    assert {request.model_spec.name for request in requests} == {"bars"}
    arrays = [
        (request.model_spec.signature_name, name, tf.make_ndarray(tensor).shape)
        for request in requests
        for name, tensor in request.inputs.items()
    ]
    assert arrays == [
        *(("serving_default", "image", (size, 28, 28)) for size in (1, 8, 32)),
        *(("serving_bytes", "image_bytes", (size,)) for size in (1, 8, 32)),
    ]


def test_files_that_cannot_be_written_are_told(tmp_path, model, contract):
    """A disk that is full or gone is an error of the operating system's, as for everything else that is published."""
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file") as caught:
        export.write(tmp_path / "file" / "1", model, contract, INPUTS)
    assert "}}" not in str(caught.value)


def test_a_verifier_that_dies_is_told(tmp_path, monkeypatch, model):
    """A process that ends without a word has not verified anything."""
    monkeypatch.setattr(export, "_VERIFIER", "no.such.module")
    with pytest.raises(TrainingError, match=r"the export cannot be served: .*No module named"):
        export.verify(tmp_path, model, INPUTS)


def test_an_export_of_another_model_is_found_out(tmp_path, model, contract, recipe):
    """Outputs that are not the model's stop the publication."""
    export.write(tmp_path / "1", network.build(recipe(network={"hidden": (4,)}), (28, 28), 3), contract, INPUTS)
    with pytest.raises(TrainingError, match="output differs from the model's by"):
        export.verify(tmp_path / "1", model, INPUTS)


def test_a_contract_that_is_not_kept_is_found_out(tmp_path, model, contract):
    """So does a golden vector that the pipeline does not reproduce."""
    wrong = contract.golden[0].model_copy(update={"tensor": np.zeros((28, 28), "<f4").tobytes()})
    export.write(tmp_path / "1", model, contract.model_copy(update={"golden": (wrong,)}), INPUTS)
    with pytest.raises(TrainingError, match="golden vector 0 differs"):
        export.verify(tmp_path / "1", model, INPUTS)
