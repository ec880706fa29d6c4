"""What a server of TensorFlow Serving's protocol makes of tf.Examples, asked with TensorFlow Serving's own client."""

from typing import Any

import grpc
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tensorflow_serving.apis.classification_pb2 import Class, ClassificationRequest
from tensorflow_serving.apis.inference_pb2 import InferenceTask, MultiInferenceRequest
from tensorflow_serving.apis.input_pb2 import Input
from tensorflow_serving.apis.regression_pb2 import RegressionRequest

from tests.contract.client import TIMEOUT, Client, failure, model_spec

Example = tf.train.Example
CLASSIFY, REGRESS = "tensorflow/serving/classify", "tensorflow/serving/regress"


def example(**features: float) -> Any:
    """An Example of single floats."""
    lists = {name: tf.train.Feature(float_list=tf.train.FloatList(value=[value])) for name, value in features.items()}
    return Example(features=tf.train.Features(feature=lists))


def examples(*listed: Any, context: Any = None) -> Any:
    """An Input of Examples, with a context if there is one."""
    if context is None:
        return Input(example_list={"examples": listed})
    return Input(example_list_with_context={"examples": listed, "context": context})


TWO = examples(example(x=0.25), example(x=1))


def classification(input_: Any = TWO, **spec: Any) -> Any:
    """A ClassificationRequest."""
    return ClassificationRequest(model_spec=model_spec(**{"signature_name": "classify_examples"} | spec), input=input_)


def regression(input_: Any = TWO, **spec: Any) -> Any:
    """A RegressionRequest."""
    return RegressionRequest(model_spec=model_spec(**{"signature_name": "regress_examples"} | spec), input=input_)


def tasks(*listed: tuple[str, str], input_: Any = TWO, **spec: Any) -> Any:
    """A MultiInferenceRequest of tasks, each a signature and a method."""
    return MultiInferenceRequest(
        tasks=[
            InferenceTask(model_spec=model_spec(signature_name=name, **spec), method_name=method)
            for name, method in listed
        ],
        input=input_,
    )


@pytest.mark.parametrize(
    ("signature", "expected"),
    [
        ("classify_examples", [Class(label="yes", score=0.25), Class(label="no", score=0.75)]),
        ("score_examples", [Class(score=0.25), Class(score=0.75)]),
        ("label_examples", [Class(label="yes"), Class(label="no")]),
    ],
)
def test_classify(client: Client, signature: str, expected: list[Any]) -> None:
    """Each example has its classes, with labels, scores or both."""
    response = client.predictions.Classify(classification(signature_name=signature), timeout=TIMEOUT)
    assert len(response.result.classifications) == 2
    assert list(response.result.classifications[0].classes) == expected
    assert response.model_spec == model_spec(version=1, signature_name=signature)


def test_regress(client: Client) -> None:
    """Each example has its value."""
    response = client.predictions.Regress(regression(), timeout=TIMEOUT)
    assert [entry.value for entry in response.result.regressions] == [2.125, 2.5]
    assert response.model_spec == model_spec(version=1, signature_name="regress_examples")


def test_context(client: Client) -> None:
    """The context's features are every example's, unless the example has its own."""
    request = regression(examples(example(), example(x=1), context=example(x=2)))
    response = client.predictions.Regress(request, timeout=TIMEOUT)
    assert [entry.value for entry in response.result.regressions] == [3, 2.5]


def test_multi_inference(client: Client) -> None:
    """The same examples are classified and regressed in one call, the results in the tasks' order."""
    request = tasks(("regress_examples", REGRESS), ("classify_examples", CLASSIFY))
    regressed, classified = client.predictions.MultiInference(request, timeout=TIMEOUT).results
    assert regressed.model_spec == model_spec(version=1, signature_name="regress_examples")
    assert regressed.regression_result == client.predictions.Regress(regression(), timeout=TIMEOUT).result
    assert classified.model_spec == model_spec(version=1, signature_name="classify_examples")
    assert classified.classification_result == client.predictions.Classify(classification(), timeout=TIMEOUT).result


NAMED = "No signature was found with the name: "
REFUSALS: dict[str, tuple[str, Any, str, str]] = {
    "classify: no model_spec": ("Classify", ClassificationRequest(), "INVALID_ARGUMENT", "Missing ModelSpec"),
    "regress: no model_spec": ("Regress", RegressionRequest(), "INVALID_ARGUMENT", "Missing ModelSpec"),
    "model missing": (
        "Classify",
        classification(name="m"),
        "NOT_FOUND",
        "Servable not found for request: Latest(m)",
    ),
    "classify: signature missing": (
        "Classify",
        classification(signature_name="x"),
        "INVALID_ARGUMENT",
        f"{NAMED}x",
    ),
    "regress: signature missing": ("Regress", regression(signature_name="x"), "INVALID_ARGUMENT", f"{NAMED}x"),
    "classify: no example": ("Classify", classification(Input()), "INVALID_ARGUMENT", "Input is empty."),
    "regress: no example": ("Regress", regression(examples()), "INVALID_ARGUMENT", "Input is empty."),
    "classify: two inputs": (
        "Classify",
        classification(signature_name="arithmetic"),
        "INVALID_ARGUMENT",
        "Expected one input Tensor.",
    ),
    "regress: two outputs": (
        "Regress",
        regression(signature_name="classify_examples"),
        "INVALID_ARGUMENT",
        "Expected one output Tensor.",
    ),
    "no task": ("MultiInference", MultiInferenceRequest(), "INVALID_ARGUMENT", "ModelSpec has no name specified."),
    "other model": (
        "MultiInference",
        MultiInferenceRequest(
            tasks=[
                InferenceTask(model_spec=model_spec(signature_name="score_examples"), method_name=CLASSIFY),
                InferenceTask(model_spec=model_spec(name="m"), method_name=CLASSIFY),
            ]
        ),
        "INVALID_ARGUMENT",
        "All ModelSpecs in a MultiInferenceRequest must access the same model name.",
    ),
    "unnamed task": (
        "MultiInference",
        MultiInferenceRequest(
            tasks=[
                InferenceTask(model_spec=model_spec(signature_name="score_examples"), method_name=CLASSIFY),
                InferenceTask(method_name=CLASSIFY),
            ]
        ),
        "INVALID_ARGUMENT",
        "Found ModelSpec with an empty model name.",
    ),
    "signature twice": (
        "MultiInference",
        tasks(("score_examples", CLASSIFY), ("score_examples", CLASSIFY)),
        "INVALID_ARGUMENT",
        "Duplicate evaluation of signature: score_examples",
    ),
    "task's signature missing": (
        "MultiInference",
        tasks(("x", CLASSIFY)),
        "INVALID_ARGUMENT",
        "Requested signature not found in model graph: x",
    ),
    "other method": (
        "MultiInference",
        tasks(("score_examples", "tensorflow/serving/predict")),
        "UNIMPLEMENTED",
        "Unsupported signature method_name: tensorflow/serving/predict",
    ),
    "task without example": (
        "MultiInference",
        tasks(("score_examples", CLASSIFY), input_=Input()),
        "INVALID_ARGUMENT",
        "Input is empty.",
    ),
}


@pytest.mark.parametrize(("method", "request_", "code", "text"), REFUSALS.values(), ids=REFUSALS)
def test_refusals(client: Client, method: str, request_: Any, code: str, text: str) -> None:
    """A request that cannot be met is refused with TensorFlow Serving's code and text."""
    assert failure(getattr(client.predictions, method), request_) == (code, text)


@pytest.mark.parametrize(
    ("signature", "expected"),
    [
        ("serving_default", ("FAILED_PRECONDITION", "No classification inputs found in SignatureDef")),
        ("heads", ("INVALID_ARGUMENT", "Expected one or two output Tensors, found 3")),
    ],
)
def test_other_signatures(client: Client, signature: str, expected: tuple[str, str]) -> None:
    """A signature that lacks the named tensors, or has more, is refused, whatever its method_name."""
    code, text = failure(client.predictions.Classify, classification(signature_name=signature))
    assert (code, text.split(":")[0]) == expected


FEATURES = st.one_of(
    st.builds(lambda value: tf.train.Feature(bytes_list={"value": value}), st.lists(st.binary(max_size=9), max_size=3)),
    st.builds(lambda value: tf.train.Feature(float_list={"value": value}), st.lists(st.floats(width=32), max_size=3)),
    st.builds(
        lambda value: tf.train.Feature(int64_list={"value": value}),
        st.lists(st.integers(-(2**63), 2**63 - 1), max_size=3),
    ),
    st.just(tf.train.Feature()),
)
EXAMPLES = st.builds(
    lambda features: Example(features={"feature": features}),
    st.dictionaries(st.sampled_from(["x", "y", ""]), FEATURES, max_size=3),
)


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(listed=st.lists(EXAMPLES, max_size=3), context=st.none() | EXAMPLES)
def test_any_examples(client: Client, listed: list[Any], context: Any) -> None:
    """Whatever the examples are, they are served or refused as the caller's error."""
    input_ = examples(*listed, context=context)
    for method, request in (
        (client.predictions.Classify, classification(input_)),
        (client.predictions.Regress, regression(input_)),
    ):
        try:
            method(request, timeout=TIMEOUT)
        except grpc.RpcError as error:
            assert error.code() is grpc.StatusCode.INVALID_ARGUMENT  # noqa: PT017  # some are served


def test_examples_that_are_none(client: Client) -> None:
    """A string that is no serialised Example is the caller's error, and the server goes on."""
    inputs = {"inputs": np.array([b"\xff"], object)}
    request = {"signature_name": "classify_examples"}
    with pytest.raises(grpc.RpcError) as caught:
        client.predict(inputs, **request)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    client.predictions.Classify(classification(), timeout=TIMEOUT)
