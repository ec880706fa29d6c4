"""serving.embedded.examples: tf.Examples in, classifications and regressions out."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from serving.embedded import examples
from serving.embedded.errors import EmptyInput, SignatureLacksTensor, UnfitOutput, UnfitSignature
from serving.wire import tensorflow_pb2 as tf
from serving.wire import tensorflow_serving_pb2 as tfs

LABELS = np.array([[b"a", b"b"], [b"c", b"d"]], object)
SCORES = np.array([[0.25, 0.75], [1, 0]], np.float32)


def example(**features: float) -> tf.Example:
    """An Example of single floats."""
    made = tf.Example()
    for name, value in features.items():
        made.features.feature[name].float_list.value.append(value)
    return made


def signature(inputs: Sequence[str], outputs: Sequence[str]) -> tf.SignatureDef:
    """A SignatureDef of nothing but names."""
    definition = tf.SignatureDef()
    for alias in inputs:
        definition.inputs[alias].name = f"{alias}:0"
    for alias in outputs:
        definition.outputs[alias].name = f"{alias}:0"
    return definition


def test_example_list() -> None:
    """Examples are serialised one by one."""
    request = tfs.Input(example_list=tfs.ExampleList(examples=[example(x=1), example(x=2)]))
    serialised = examples.serialised(request)
    assert (serialised.shape, serialised.dtype) == ((2,), object)
    assert [tf.Example.FromString(content) for content in serialised] == [example(x=1), example(x=2)]


def test_context() -> None:
    """The context's features are every example's, unless the example has its own."""
    listed = tfs.ExampleListWithContext(examples=[example(x=1), example(y=2)], context=example(x=7, z=9))
    serialised = examples.serialised(tfs.Input(example_list_with_context=listed))
    assert [tf.Example.FromString(content) for content in serialised] == [example(x=1, z=9), example(x=7, y=2, z=9)]


@pytest.mark.parametrize(
    "request_",
    [
        tfs.Input(),
        tfs.Input(example_list=tfs.ExampleList()),
        tfs.Input(example_list_with_context=tfs.ExampleListWithContext(context=example(x=1))),
    ],
    ids=["nothing", "no example", "a context alone"],
)
def test_no_example(request_: tfs.Input) -> None:
    """A request without an example is refused."""
    with pytest.raises(EmptyInput):
        examples.serialised(request_)


@pytest.mark.parametrize("outputs", [["classes"], ["scores"], ["classes", "scores"]], ids=str)
def test_classification_signatures(outputs: list[str]) -> None:
    """A classification gives classes, scores or both."""
    assert examples.classification_outputs(signature(["inputs"], outputs)) == outputs


@pytest.mark.parametrize(
    ("check", "inputs", "outputs", "error", "text"),
    [
        (examples.classification_outputs, ["inputs", "b"], ["scores"], UnfitSignature, "Expected one input Tensor."),
        (
            examples.classification_outputs,
            ["inputs"],
            ["classes", "scores", "c"],
            UnfitSignature,
            "Expected one or two output Tensors, found 3",
        ),
        (
            examples.classification_outputs,
            ["x"],
            ["scores"],
            SignatureLacksTensor,
            "No classification inputs found in SignatureDef: inputs {",
        ),
        (
            examples.classification_outputs,
            ["inputs"],
            ["y"],
            SignatureLacksTensor,
            'Expected classification signature outputs to contain at least one of "classes" or "scores". Signature was',
        ),
        (examples.regression_outputs, [], ["outputs"], UnfitSignature, "Expected one input Tensor."),
        (examples.regression_outputs, ["inputs"], [], UnfitSignature, "Expected one output Tensor."),
        (
            examples.regression_outputs,
            ["x"],
            ["outputs"],
            SignatureLacksTensor,
            "No regression inputs found in SignatureDef: inputs {",
        ),
        (
            examples.regression_outputs,
            ["inputs"],
            ["y"],
            SignatureLacksTensor,
            "No regression outputs found in SignatureDef: inputs {",
        ),
    ],
)
def test_unfit_signatures(
    check: Callable[[tf.SignatureDef], list[str]],
    inputs: list[str],
    outputs: list[str],
    error: type[Exception],
    text: str,
) -> None:
    """A signature of other tensors is refused in TFS's words."""
    with pytest.raises(error) as caught:
        check(signature(inputs, outputs))
    assert str(caught.value).startswith(text)


def test_classification() -> None:
    """Labels and scores are paired; what the model does not give is left empty."""
    both = examples.classification({"classes": LABELS, "scores": SCORES}, 2)
    assert [[(entry.label, entry.score) for entry in row.classes] for row in both.classifications] == [
        [("a", 0.25), ("b", 0.75)],
        [("c", 1), ("d", 0)],
    ]
    assert examples.classification({"scores": SCORES}, 2).classifications[0].classes[1] == tfs.Class(score=0.75)
    assert examples.classification({"classes": LABELS}, 2).classifications[1].classes[0] == tfs.Class(label="c")


def test_label_that_is_no_text() -> None:
    """A label of other bytes than UTF-8 is replaced where it cannot be read."""
    result = examples.classification({"classes": np.array([[b"\xff1"]], object)}, 1)
    assert result.classifications[0].classes[0].label == "\ufffd1"


@pytest.mark.parametrize("values", [[1, 2], [[1], [2]]], ids=str)
def test_regression(values: Any) -> None:
    """One value for each example, with or without a dimension of its own."""
    result = examples.regression({"outputs": np.array(values, np.float32)}, 2)
    assert [entry.value for entry in result.regressions] == [1, 2]


@pytest.mark.parametrize(
    ("convert", "outputs", "text"),
    [
        (
            examples.classification,
            {"scores": np.float32([1, 2])},
            "Expected Tensor shape: [batch_size num_classes] but got [2]",
        ),
        (examples.classification, {"scores": SCORES.astype("f8")}, "Expected scores Tensor of float. Got: double"),
        (examples.classification, {"classes": SCORES}, "Expected classes Tensor of string. Got: float"),
        (examples.classification, {"scores": SCORES[:1]}, "Expected scores output batch size of 2. Got: 1"),
        (
            examples.classification,
            {"classes": LABELS, "scores": SCORES[:, :1]},
            "Tensors class and score should match in dim_size(1). Got 2 vs. 1",
        ),
        (
            examples.regression,
            {"outputs": SCORES},
            "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got [2,2]",
        ),
        (
            examples.regression,
            {"outputs": np.float32(1)},
            "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got []",
        ),
        (
            examples.regression,
            {"outputs": np.float32([1, 2, 3])},
            "Input batch size did not match output batch size: 2 vs. 3",
        ),
        (
            examples.regression,
            {"outputs": np.array([1, 2])},
            "Expected output Tensor of DT_FLOAT.  Got: DT_INT64",
        ),
    ],
)
def test_unfit_outputs(convert: Callable[..., Any], outputs: dict[str, Any], text: str) -> None:
    """Tensors that are no answer are refused in TFS's words."""
    with pytest.raises(UnfitOutput) as caught:
        convert({alias: np.asarray(value) for alias, value in outputs.items()}, 2)
    assert str(caught.value) == text
