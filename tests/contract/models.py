"""The SavedModels that tests serve.

`python -m tests.contract.models DIRECTORY` writes the one that the contract suite asks, as version 1 below DIRECTORY.
"""

import sys
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from serving import contract as contracts
from serving.wire.codec import ELEMENT_TYPES

v1 = tf.compat.v1

DTYPES = {entry.name: tf.dtypes.as_dtype(entry.code) for entry in ELEMENT_TYPES}

# Signatures that read tf.Examples, with their outputs.
EXAMPLE_SIGNATURES = {
    "classify_examples": {"classes", "scores"},
    "score_examples": {"scores"},
    "label_examples": {"classes"},
    "regress_examples": {"outputs"},
}


def _floats(*shape: int | None) -> tf.TensorSpec:
    return tf.TensorSpec(shape, tf.float32)


class Wire(tf.Module):
    """A signature for each thing that a server must get right."""

    def __init__(self) -> None:
        super().__init__()
        random = np.random.default_rng(7)
        self.slope, self.offset = tf.Variable(0.5), tf.Variable(2.0)
        self.weights = tf.Variable(random.normal(size=(784, 10)).astype(np.float32))

    @tf.function(input_signature=[_floats(None, 1)])
    def half_plus_two(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
        """Gives x / 2 + 2."""
        return {"y": self.slope * x + self.offset}

    @tf.function(input_signature=[_floats(None), _floats(None)])
    def arithmetic(self, a: tf.Tensor, b: tf.Tensor) -> dict[str, tf.Tensor]:
        """Two inputs, two outputs."""
        return {"sum": a + b, "difference": a - b}

    @tf.function(input_signature=[_floats(None, 784)])
    def classify(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """Probabilities of ten classes."""
        return {"probabilities": tf.nn.softmax(images @ self.weights)}

    @tf.function(input_signature=[_floats(None, 1), _floats()])
    def scale(self, x: tf.Tensor, factor: tf.Tensor) -> dict[str, tf.Tensor]:
        """Gives x * factor, where `factor` has a default, 3."""
        return {"y": x * factor}

    @tf.function(input_signature=[tf.TensorSpec((), tf.string), tf.TensorSpec((), tf.int32)])
    def scalars(self, text: tf.Tensor, number: tf.Tensor) -> dict[str, tf.Tensor]:
        """Scalars as they are."""
        return {"text": tf.identity(text), "number": tf.identity(number)}

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.int32)])
    def look_up(self, index: tf.Tensor) -> dict[str, tf.Tensor]:
        """An error of TensorFlow's own for an index beyond 2."""
        return {"y": tf.gather(tf.constant([1.0, 2.0, 3.0]), index)}

    @tf.function(input_signature=[tf.TensorSpec((), tf.int32)])
    def count(self, steps: tf.Tensor) -> dict[str, tf.Tensor]:
        """Takes as long as it is told to, one step at a time."""
        return {"steps": tf.while_loop(lambda step: step < steps, lambda step: (step + 1,), (tf.constant(0),))[0]}

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.string)])
    def heads(self, inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        """Of serialised tf.Examples with a float `x`: two classes with their scores, and x / 2 + 2."""
        x = tf.io.parse_example(inputs, {"x": tf.io.FixedLenFeature((), tf.float32)})["x"]
        return {
            "classes": tf.tile([["yes", "no"]], [tf.size(x), 1]),
            "scores": tf.stack([x, 1 - x], axis=1),
            "outputs": self.slope * x + self.offset,
        }


@tf.function
def identity(**tensors: tf.Tensor) -> dict[str, tf.Tensor]:
    """Each input as it is, whatever its dtype and shape."""
    return {name: tf.identity(tensor) for name, tensor in tensors.items()}


def write_wire(directory: Path) -> None:
    """A model with a signature for each thing that a server must get right; serving_default is half_plus_two."""
    module = Wire()
    tf.saved_model.save(
        module,
        str(directory),
        signatures={
            "serving_default": module.half_plus_two,
            "arithmetic": module.arithmetic,
            "classify": module.classify,
            "scale": module.scale,
            "scalars": module.scalars,
            "look_up": module.look_up,
            "count": module.count,
            "heads": module.heads,
            "identity": identity.get_concrete_function(
                **{name: tf.TensorSpec(None, dtype, name) for name, dtype in DTYPES.items()}
            ),
        },
    )
    # TensorFlow has no way yet to export a default, nor, since TF2, two signatures of one input.
    file = directory / "saved_model.pb"
    saved = SavedModel.FromString(file.read_bytes())
    signatures = saved.meta_graphs[0].signature_def
    signatures["scale"].defaults["factor"].CopyFrom(tf.make_tensor_proto(3.0, tf.float32))
    for name, outputs in EXAMPLE_SIGNATURES.items():
        signatures[name].CopyFrom(signatures["heads"])
        for alias in signatures["heads"].outputs.keys() - outputs:
            del signatures[name].outputs[alias]
    file.write_bytes(saved.SerializeToString())


class Digits(tf.Module):
    """The digit classifier of tests/fakes/model_server.py, nearly; with a contract inside, as the trainer's have."""

    def __init__(self, contract: str) -> None:
        super().__init__()
        self.text = contract

    @tf.function(input_signature=[tf.TensorSpec((None, 28, 28), tf.float32, "image")])
    def classify(self, image: tf.Tensor) -> dict[str, tf.Tensor]:
        """Probabilities of ten classes, of which each has a band of rows."""
        bands = [tf.reduce_mean(image[:, rows[0] : rows[-1] + 1], (1, 2)) for rows in np.array_split(np.arange(28), 10)]
        return {"probabilities": tf.nn.softmax(20 * tf.stack(bands, axis=1))}

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.string, contracts.VERSIONS_INPUT)])
    def contract(self, versions: tf.Tensor) -> dict[str, tf.Tensor]:
        """The contract, whatever versions of it are read."""
        return {contracts.JSON_OUTPUT: tf.fill(tf.shape(versions), self.text)}


def write_digits(directory: Path, contract: str) -> None:
    """A classifier of 28 × 28 pixels with a contract's JSON."""
    module = Digits(contract)
    tf.saved_model.save(
        module, str(directory), {"serving_default": module.classify, contracts.SIGNATURE: module.contract}
    )


def write_half_plus_two(directory: Path) -> None:
    """TF2's half_plus_two alone."""
    module = Wire()
    tf.saved_model.save(module, str(directory), signatures=module.half_plus_two)


def write_tf1_half_plus_two(directory: Path) -> None:
    """The same model as TF1 exported it: a graph, a session's variables, a collection of initialisers."""
    with v1.Graph().as_default(), v1.Session() as session:
        x = v1.placeholder(tf.float32, (None, 1), "x")
        slope, offset = (v1.get_variable(name, initializer=value) for name, value in (("a", 0.5), ("b", 2.0)))
        session.run(v1.global_variables_initializer())
        info = v1.saved_model.utils.build_tensor_info
        signature = v1.saved_model.build_signature_def(
            {"x": info(x)}, {"y": info(slope * x + offset)}, v1.saved_model.signature_constants.PREDICT_METHOD_NAME
        )
        builder = v1.saved_model.Builder(str(directory))
        builder.add_meta_graph_and_variables(session, [v1.saved_model.SERVING], {"serving_default": signature})
        builder.save()


if __name__ == "__main__":
    write_wire(Path(sys.argv[1]) / "1")
