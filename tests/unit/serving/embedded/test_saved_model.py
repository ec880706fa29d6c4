"""serving.embedded.saved_model: TensorFlow's part, in process."""

import gc
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel as SavedModelProto

from serving.embedded import errors
from serving.embedded.saved_model import SavedModel
from serving.embedded.saved_model import load as load_model
from tests.contract import models

X = np.array([[1], [2]], np.float32)
A = np.float32([3])


def load(directory: Path) -> SavedModel:
    """Loads with the server's default threads."""
    return load_model(directory, intra_op_threads=0, inter_op_threads=-1)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SavedModel with many signatures."""
    directory = tmp_path_factory.mktemp("wire") / "1"
    models.write_wire(directory)
    return directory


@pytest.fixture(scope="module")
def model(directory: Path) -> SavedModel:
    """That SavedModel, loaded."""
    return load(directory)


@pytest.mark.parametrize("write", [models.write_half_plus_two, models.write_tf1_half_plus_two], ids=["TF2", "TF1"])
def test_generations(write: Callable[[Path], None], tmp_path: Path) -> None:
    """TF2's and TF1's exports run alike."""
    write(tmp_path / "1")
    model = load(tmp_path / "1")
    np.testing.assert_array_equal(model.prepare("serving_default", {"x": X}, []).run()["y"], X / 2 + 2)
    assert model.signatures["serving_default"].method_name == "tensorflow/serving/predict"
    model.close()


@pytest.mark.parametrize("outputs", [["sum"], ["difference", "sum"]], ids=str)
def test_output_filter(model: SavedModel, outputs: list[str]) -> None:
    """The outputs that are asked for are given under their names, in whatever order."""
    values = model.prepare("arithmetic", {"a": A, "b": np.float32([1])}, outputs).run()
    assert values == {name: {"sum": 4, "difference": 2}[name] for name in outputs}


def test_scalars_are_arrays(model: SavedModel) -> None:
    """Scalars come as arrays without dimensions, strings untouched."""
    values = model.prepare("scalars", {"text": np.array(b"a\0", object), "number": np.array(7, np.int32)}, []).run()
    assert {name: (value.shape, value.dtype, value.item()) for name, value in values.items()} == {
        "text": ((), object, b"a\0"),
        "number": ((), np.int32, 7),
    }


@pytest.mark.parametrize(
    ("signature", "inputs", "outputs", "error"),
    [
        ("x", {}, [], errors.SignatureNotFound("x")),
        ("arithmetic", {"a": A}, [], errors.InputCountMismatch(["a"], ["a", "b"])),
        ("arithmetic", {"a": A, "b": A, "c": A}, [], errors.InputCountMismatch(["a", "b", "c"], ["a", "b"])),
        ("arithmetic", {"a": A, "c": A}, [], errors.UnknownInput("c", ["a", "b"])),
        ("scale", {}, [], errors.MissingInput("x", "scale_x:0", [], ["factor"])),
        ("arithmetic", {"a": A, "b": np.array([1])}, [], errors.WrongType(1, "float", "int64")),
        ("look_up", {"index": np.array([b"1"], object)}, [], errors.WrongType(0, "int32", "string")),
        ("arithmetic", {"a": A, "b": A}, ["sum", "x"], errors.UnknownOutput("x", ["sum", "difference"])),
        ("arithmetic", {"a": A, "b": A}, ["sum", "sum"], errors.DuplicateOutput("sum")),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_refusals(
    model: SavedModel, signature: str, inputs: dict[str, Any], outputs: list[str], error: errors.ServingError
) -> None:
    """A call that does not fit the signature is refused before TensorFlow sees it."""
    with pytest.raises(type(error)) as caught:
        model.prepare(signature, inputs, outputs).run()
    assert str(caught.value) == str(error)


@pytest.mark.parametrize(
    ("signature", "inputs", "code", "text"),
    [
        ("classify", {"images": np.zeros((2, 5), np.float32)}, "INVALID_ARGUMENT", "[2,5]"),
        ("look_up", {"index": np.array([3], np.int32)}, "INVALID_ARGUMENT", "= 3 is not in [0, 3)"),
        ("heads", {"inputs": np.array([b"\xff"], object)}, "INVALID_ARGUMENT", "value: '\ufffd'"),
    ],
)
def test_tensorflow_errors(model: SavedModel, signature: str, inputs: dict[str, Any], code: str, text: str) -> None:
    """What TensorFlow refuses has its own code and text."""
    with pytest.raises(errors.ModelError) as caught:
        model.prepare(signature, inputs, []).run()
    assert caught.value.code.name == code
    assert text in caught.value.text


def test_unfetchable_signature(model: SavedModel) -> None:
    """A signature that gives no tensor is TensorFlow's error when it is called, and none before."""
    with pytest.raises(errors.ModelError):
        model.prepare("__saved_model_init_op", {}, []).run()


def no_file(directory: Path) -> None:
    """Takes the graph away."""
    (directory / "saved_model.pb").unlink()


def no_graph(directory: Path) -> None:
    """Cuts the graph short."""
    file = directory / "saved_model.pb"
    file.write_bytes(file.read_bytes()[:1000])


def no_variables(directory: Path) -> None:
    """Takes the variables away."""
    shutil.rmtree(directory / "variables")


def no_tag(directory: Path) -> None:
    """Tags the graph for training."""
    file = directory / "saved_model.pb"
    saved = SavedModelProto.FromString(file.read_bytes())
    saved.meta_graphs[0].meta_info_def.tags[:] = ["train"]
    file.write_bytes(saved.SerializeToString())


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (no_file, "does not exist"),
        (no_graph, "Cannot parse file"),
        (no_variables, "variables"),
        (no_tag, "could not be found in SavedModel"),
    ],
)
def test_broken_model(directory: Path, tmp_path: Path, damage: Callable[[Path], None], text: str) -> None:
    """A SavedModel that cannot be loaded is an error that says why."""
    shutil.copytree(directory, tmp_path / "1")
    damage(tmp_path / "1")
    with pytest.raises(errors.ModelError, match=text):
        load(tmp_path / "1")


def graphs() -> int:
    """How many graphs there are in memory."""
    return sum(isinstance(item, tf.Graph) for item in gc.get_objects())


def test_close(directory: Path) -> None:
    """Nothing of a model is left once it is closed."""
    gc.collect()
    before = graphs()
    model = load(directory)
    model.prepare("serving_default", {"x": X}, []).run()
    assert graphs() > before
    model.close()
    assert graphs() == before


class Heavy(tf.Module):
    """Four megabytes of weights."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = tf.Variable(tf.ones((1024, 1024)))

    @tf.function(input_signature=[tf.TensorSpec((None, 1024), tf.float32)])
    def multiply(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
        """Gives x · weights."""
        return {"y": x @ self.weights}


def resident() -> int:
    """Bytes of memory that this process has."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) * 1024


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
def test_memory(tmp_path: Path) -> None:
    """After 50 models one after another the process is not larger than after a few."""
    module = Heavy()
    tf.saved_model.save(module, str(tmp_path / "1"), signatures=module.multiply)
    sizes = []
    # As the server does, since a model that is closed collects garbage.
    gc.freeze()
    try:
        for _ in range(50):
            model = load(tmp_path / "1")
            model.prepare("serving_default", {"x": np.ones((1, 1024), np.float32)}, []).run()
            model.close()
            sizes.append(resident())
    finally:
        gc.unfreeze()
    # Eight models' weights; each that stayed would be one more.
    assert sizes[-1] - sizes[9] < 32 << 20
