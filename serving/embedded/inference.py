"""Requests answered by a loaded model: Predict, Classify, Regress and MultiInference, apart from any transport.

Each takes the model, the version's number and the request, and raises a ServingError; see Inference for who runs it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from serving.embedded import examples
from serving.embedded.errors import (
    MissingTaskModel,
    RepeatedSignature,
    RequestedSignatureNotFound,
    SeveralInputs,
    SeveralModels,
    SignatureNotNamed,
    UnsupportedMethod,
)
from serving.embedded.servable import Inference, Servable
from serving.wire import predict as wire
from serving.wire import tensorflow_pb2 as tf
from serving.wire import tensorflow_serving_pb2 as tfs
from serving.wire.codec import Array

_DEFAULT_SIGNATURE = "serving_default"
_CLASSIFY = "tensorflow/serving/classify"
_REGRESS = "tensorflow/serving/regress"


def resolved(spec: tfs.ModelSpec, number: int, *, signature: bool = True) -> tfs.ModelSpec:
    """The model_spec of an answer: the version, and the signature where there is one, that the request's came to."""
    return wire.spec(spec.name, number, _signature(spec) if signature else "")


def spec_of(request: Any) -> tfs.ModelSpec | None:
    """The model that a request names, if it names any."""
    return request.model_spec if request.HasField("model_spec") else None


class Predict(NamedTuple):
    """What a PredictRequest asks, apart from how it came."""

    spec: tfs.ModelSpec | None
    outputs: Sequence[str]
    """Those that are wanted, all if empty."""
    inputs: Callable[[], Mapping[str, Array]]
    """Makes the inputs; UnparsableTensor."""
    message: Callable[[], tfs.PredictRequest]
    """The request itself."""


class Predicted(NamedTuple):
    """What a PredictResponse answers."""

    model: str
    version: int
    signature: str
    outputs: Mapping[str, Array]

    def message(self) -> tfs.PredictResponse:
        """The response itself."""
        return self.encoded(typed=True).message()

    def encoded(self, *, typed: bool) -> "Encoded":
        """The response on the wire; `typed` answers in float_val and its like, not in tensor_content."""
        return Encoded(wire.response(self.model, self.version, self.signature, self.outputs, typed=typed))


class Encoded(NamedTuple):
    """A PredictResponse on the wire."""

    content: bytes

    def message(self) -> tfs.PredictResponse:
        """The response itself."""
        return tfs.PredictResponse.FromString(self.content)


def predict(servable: Servable, number: int, asked: Predict) -> Inference[Predicted]:
    """One signature of the model over tensors."""
    # Warm-up requests need not say which model they are for.
    spec = asked.spec or tfs.ModelSpec()
    inputs, signature = asked.inputs(), _signature(spec)
    outputs = yield servable.prepare(signature, inputs, asked.outputs)
    return Predicted(spec.name, number, signature, outputs)


def predict_encoded(servable: Servable, number: int, asked: Predict, *, typed: bool) -> Inference[Encoded]:
    """The same, and the answer as `Predicted.encoded` has it."""
    predicted = yield from predict(servable, number, asked)
    return predicted.encoded(typed=typed)


def classify(
    servable: Servable, number: int, request: tfs.ClassificationRequest
) -> Inference[tfs.ClassificationResponse]:
    """The classes of each example."""
    outputs = examples.classification_outputs(_definition(servable, request.model_spec))
    inputs = examples.serialised(request.input)
    values = yield servable.prepare(_signature(request.model_spec), {examples.INPUTS: inputs}, outputs)
    return tfs.ClassificationResponse(
        model_spec=resolved(request.model_spec, number), result=examples.classification(values, len(inputs))
    )


def regress(servable: Servable, number: int, request: tfs.RegressionRequest) -> Inference[tfs.RegressionResponse]:
    """The value of each example."""
    outputs = examples.regression_outputs(_definition(servable, request.model_spec))
    inputs = examples.serialised(request.input)
    values = yield servable.prepare(_signature(request.model_spec), {examples.INPUTS: inputs}, outputs)
    return tfs.RegressionResponse(
        model_spec=resolved(request.model_spec, number), result=examples.regression(values, len(inputs))
    )


def infer(servable: Servable, number: int, request: tfs.MultiInferenceRequest) -> Inference[tfs.MultiInferenceResponse]:
    """Classifications and regressions of the same examples, a result for each task, in order."""
    tasks = list(_tasks(servable, request))
    inputs = examples.serialised(request.input)
    response = tfs.MultiInferenceResponse()
    for task in tasks:
        values = yield servable.prepare(task.signature, {examples.INPUTS: inputs}, task.outputs)
        result = response.results.add(model_spec=resolved(task.spec, number))
        if task.method == _CLASSIFY:
            result.classification_result.CopyFrom(examples.classification(values, len(inputs)))
        else:
            result.regression_result.CopyFrom(examples.regression(values, len(inputs)))
    return response


class _Task(NamedTuple):
    spec: tfs.ModelSpec
    method: str
    signature: str
    outputs: list[str]


def _tasks(servable: Servable, request: tfs.MultiInferenceRequest) -> Iterator[_Task]:
    """The tasks, each checked as TFS does (multi_inference.cc)."""
    signatures, tensors = set(), set()
    for task in request.tasks:
        spec, signature = task.model_spec, _signature(task.model_spec)
        if not spec.name:
            raise MissingTaskModel
        if spec.name != request.tasks[0].model_spec.name:
            raise SeveralModels
        if signature in signatures:
            raise RepeatedSignature(signature)
        signatures.add(signature)
        if signature not in servable.signatures:
            raise RequestedSignatureNotFound(signature)
        definition = servable.signatures[signature]
        if task.method_name == _CLASSIFY:
            outputs = examples.classification_outputs(definition)
        elif task.method_name == _REGRESS:
            outputs = examples.regression_outputs(definition)
        else:
            raise UnsupportedMethod(task.method_name)
        tensors.add(definition.inputs[examples.INPUTS].name)
        if len(tensors) > 1:
            raise SeveralInputs
        yield _Task(spec, task.method_name, signature, outputs)


def _signature(spec: tfs.ModelSpec) -> str:
    return spec.signature_name or _DEFAULT_SIGNATURE


def _definition(servable: Servable, spec: tfs.ModelSpec) -> tf.SignatureDef:
    try:
        return servable.signatures[_signature(spec)]
    except KeyError:
        raise SignatureNotNamed(_signature(spec)) from None
