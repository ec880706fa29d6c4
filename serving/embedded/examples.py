"""Classification and regression of tf.Examples, as TensorFlow Serving does them.

Sources: tensorflow_serving/servables/tensorflow/{classifier,regressor,util}.cc. A signature takes one string tensor
`inputs` of shape (n,), serialised tf.Examples. A classification gives `classes` (string), `scores` (float) or both, of
shape (n, classes); a regression gives `outputs` (float) of shape (n,) or (n, 1). As in TFS the signature's method_name
is not looked at: TF2 exports know only predict.
"""

from collections.abc import Mapping

import numpy as np

from serving.embedded.errors import EmptyInput, SignatureLacksTensor, UnfitOutput, UnfitSignature
from serving.wire import tensorflow_pb2 as tf
from serving.wire import tensorflow_serving_pb2 as tfs
from serving.wire.codec import Array, element_type_of

INPUTS = "inputs"
_CLASSES, _SCORES, _OUTPUTS = "classes", "scores", "outputs"


def serialised(request: tfs.Input) -> Array:
    """The examples, each behind the context if there is one: where both have a feature the example's counts.

    A one-dimensional object array of bytes. Raises EmptyInput if there is no example.
    """
    context = b""
    examples = request.example_list.examples
    if request.WhichOneof("kind") == "example_list_with_context":
        examples = request.example_list_with_context.examples
        context = request.example_list_with_context.context.SerializeToString()
    if not examples:
        raise EmptyInput
    # One serialised message after another is their merger.
    return np.array([context + example.SerializeToString() for example in examples], object)


def classification_outputs(signature: tf.SignatureDef) -> list[str]:
    """The outputs that make a classification; raises UnfitSignature or SignatureLacksTensor."""
    if len(signature.inputs) != 1:
        raise UnfitSignature("Expected one input Tensor.")
    if len(signature.outputs) not in (1, 2):
        raise UnfitSignature(f"Expected one or two output Tensors, found {len(signature.outputs)}")
    if INPUTS not in signature.inputs:
        raise SignatureLacksTensor(f"No classification inputs found in SignatureDef: {signature}")
    outputs = [alias for alias in (_CLASSES, _SCORES) if alias in signature.outputs]
    if not outputs:
        raise SignatureLacksTensor(
            f'Expected classification signature outputs to contain at least one of "{_CLASSES}" or "{_SCORES}". '
            f"Signature was: {signature}"
        )
    return outputs


def regression_outputs(signature: tf.SignatureDef) -> list[str]:
    """The output that makes a regression; raises UnfitSignature or SignatureLacksTensor."""
    if len(signature.inputs) != 1:
        raise UnfitSignature("Expected one input Tensor.")
    if len(signature.outputs) != 1:
        raise UnfitSignature("Expected one output Tensor.")
    if INPUTS not in signature.inputs:
        raise SignatureLacksTensor(f"No regression inputs found in SignatureDef: {signature}")
    if _OUTPUTS not in signature.outputs:
        raise SignatureLacksTensor(f"No regression outputs found in SignatureDef: {signature}")
    return [_OUTPUTS]


def classification(outputs: Mapping[str, Array], examples: int) -> tfs.ClassificationResult:
    """The classes of each of `examples` examples; raises UnfitOutput."""
    for alias, dtype in ((_CLASSES, "string"), (_SCORES, "float")):
        if alias in outputs:
            _check_classes(alias, outputs[alias], dtype, examples)
    labels, scores = outputs.get(_CLASSES), outputs.get(_SCORES)
    if labels is not None and scores is not None and labels.shape != scores.shape:
        raise UnfitOutput(
            f"Tensors class and score should match in dim_size(1). Got {labels.shape[1]} vs. {scores.shape[1]}"
        )
    result = tfs.ClassificationResult()
    for row in range(examples):
        classes = result.classifications.add().classes
        for column in range(next(iter(outputs.values())).shape[1]):
            entry = classes.add()
            if labels is not None:
                # A label that is no UTF-8 must not cost the caller all the others.
                entry.label = labels[row, column].decode(errors="replace")
            if scores is not None:
                entry.score = scores[row, column]
    return result


def regression(outputs: Mapping[str, Array], examples: int) -> tfs.RegressionResult:
    """The value of each of `examples` examples; raises UnfitOutput."""
    values = outputs[_OUTPUTS]
    if values.ndim != 1 and values.shape[1:] != (1,):
        raise UnfitOutput(
            f"Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got {_shape(values)}"
        )
    if len(values) != examples:
        raise UnfitOutput(f"Input batch size did not match output batch size: {examples} vs. {len(values)}")
    given = element_type_of(values)
    if given.code != tf.DT_FLOAT:
        raise UnfitOutput(
            f"Expected output Tensor of DT_FLOAT.  Got: {tf.DataType.Name(tf.DataType.ValueType(given.code))}"
        )
    return tfs.RegressionResult(regressions=[tfs.Regression(value=value) for value in values.ravel().tolist()])


def _check_classes(alias: str, values: Array, dtype: str, examples: int) -> None:
    if values.ndim != 2:  # noqa: PLR2004  # as the text says
        raise UnfitOutput(f"Expected Tensor shape: [batch_size num_classes] but got {_shape(values)}")
    given = element_type_of(values).name
    if given != dtype:
        raise UnfitOutput(f"Expected {alias} Tensor of {dtype}. Got: {given}")
    if len(values) != examples:
        raise UnfitOutput(f"Expected {alias} output batch size of {examples}. Got: {len(values)}")


def _shape(values: Array) -> str:
    return f"[{','.join(map(str, values.shape))}]"
