"""What the gateway answers, as plain typed values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import grpc

from tensorgate.errors import TensorgateError
from tensorgate.v1 import feedback_service_pb2 as feedback_pb
from tensorgate.v1 import inference_service_pb2 as pb
from tensorgate.v1 import model_pb2, tensor_pb2

_CODES = {code.value[0]: code.name for code in grpc.StatusCode}


@dataclass(frozen=True, slots=True)
class Score:
    """One class's score, 0 to 1."""

    label: str
    class_index: int
    score: float


@dataclass(frozen=True, slots=True)
class Tensor:
    """An output tensor without its batch dimension; `numpy()` where numpy is installed."""

    dtype: str
    """As in numpy: float32, int64, …, bfloat16, string."""
    shape: tuple[int, ...]
    data: bytes
    """Row-major little-endian; empty for strings."""
    strings: tuple[bytes, ...] = ()

    def numpy(self) -> Any:
        """The numpy array; strings as an object array of bytes, bfloat16 as float32."""
        import numpy as np  # noqa: PLC0415  # the client works without

        if self.dtype == "string":
            array = np.empty(len(self.strings), object)
            array[:] = self.strings
        elif self.dtype == "bfloat16":
            array = (np.frombuffer(self.data, "<u2").astype("<u4") << 16).view("<f4")
        else:
            array = np.frombuffer(self.data, np.dtype(self.dtype).newbyteorder("<"))
        return array.reshape(self.shape)


@dataclass(frozen=True, slots=True)
class Prediction:
    """The answer to one instance: a label, a value, output tensors, or in a batch an error."""

    model: str
    version: int
    id: str = ""
    """The receipt: keep it if you may send feedback."""
    label: str | None = None
    class_index: int | None = None
    confidence: float | None = None
    """The score of `label`, 0 to 1."""
    top: tuple[Score, ...] = ()
    """The best classes, best first."""
    value: float | None = None
    """A regression's answer."""
    outputs: Mapping[str, Tensor] = field(default_factory=dict)
    error: TensorgateError | None = None
    sequence: int = 0
    """The place of the instance that this answers in its batch or stream, from 0."""


@dataclass(frozen=True, slots=True)
class Model:
    """A model that the key may call. `message` has all that the gateway says of it."""

    name: str
    default_version: int
    """The version that answers a request which names none; 0 while there is none."""
    message: model_pb2.Model

    @property
    def evaluation(self) -> Mapping[str, float]:
        """The default version's figures on held-out data, e.g. accuracy; empty if it carries no contract."""
        return dict(self._contract.evaluation)

    @property
    def columns(self) -> Sequence[model_pb2.Column]:
        """The columns of the rows that the default version takes; empty if it takes none."""
        return self._contract.columns

    @property
    def _contract(self) -> model_pb2.Contract:
        versions = (version for version in self.message.versions if version.version == self.default_version)
        return next((version.contract for version in versions), model_pb2.Contract())


@dataclass(frozen=True, slots=True)
class FeedbackSummary:
    """What became of many labels."""

    booked: int
    """First labels of their predictions."""
    changed: int
    """Labels that replaced others."""
    unchanged: int
    """Labels that were there already."""
    refused: int
    refusals: Mapping[int, TensorgateError]
    """Why, for the first 100, by the label's place."""


def outcome(answer: feedback_pb.SubmitFeedbackResponse) -> str:
    """What booking one label did: booked, changed or unchanged."""
    return feedback_pb.FeedbackOutcome.Name(answer.results[0].outcome).removeprefix("FEEDBACK_OUTCOME_").lower()


def summary(answer: feedback_pb.StreamFeedbackResponse) -> FeedbackSummary:
    """What became of a stream of labels."""
    refusals = {refusal.sequence: _failure(refusal.error) for refusal in answer.refusals}
    return FeedbackSummary(answer.booked, answer.changed, answer.unchanged, answer.refused, refusals)


def prediction(answer: pb.PredictResponse, place: int) -> Prediction:
    """The prediction at `place` of an answer."""
    message = answer.predictions[place]
    model, version = answer.model, answer.version
    kind = message.WhichOneof("result")
    if kind == "error":
        return Prediction(model, version, error=_failure(message.error), sequence=place)
    if kind == "classification":
        best = message.classification
        top = tuple(Score(score.label, score.class_index, score.score) for score in best.top)
        return Prediction(
            model, version, message.id, best.label, best.class_index, best.confidence, top, sequence=place
        )
    if kind == "regression":
        return Prediction(model, version, message.id, value=message.regression.value, sequence=place)
    outputs = {name: _tensor(tensor) for name, tensor in message.outputs.tensors.items()}
    return Prediction(model, version, message.id, outputs=outputs, sequence=place)


def streamed(answer: pb.StreamPredictResponse) -> Prediction:
    """The prediction in one answer of a stream."""
    if answer.WhichOneof("outcome") == "error":
        return Prediction("", 0, error=_failure(answer.error), sequence=answer.sequence)
    return replace(prediction(answer.response, 0), sequence=answer.sequence)


def _failure(error: pb.InstanceError) -> TensorgateError:
    retry_after = error.retry_delay.ToTimedelta().total_seconds() if error.HasField("retry_delay") else None
    return TensorgateError(
        _CODES.get(error.code, "UNKNOWN"),
        error.message,
        reason=error.reason,
        field=error.field,
        retry_after=retry_after,
    )


def _tensor(message: tensor_pb2.Tensor) -> Tensor:
    dtype = tensor_pb2.DataType.Name(message.dtype).removeprefix("DATA_TYPE_").lower()
    return Tensor(dtype, tuple(message.shape), message.data, tuple(message.string_values))
