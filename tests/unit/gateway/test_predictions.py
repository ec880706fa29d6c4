"""gateway.servicers.predictions"""

import math
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from gateway.answers import Classification, Raw, Regression
from gateway.errors import BackendUnavailable, GatewayError
from gateway.predictor import Prediction
from gateway.servicers import predictions, tensors
from gateway.servicers.instance_errors import instance_error
from tensorgate.v1 import inference_service_pb2 as pb
from tensorgate.v1 import tensor_pb2

FLOATS = st.floats(allow_nan=False)


def classification(top: list[tuple[int, str, float]]) -> Classification:
    """The answer with these classes, labels and scores."""
    classes, labels, scores = zip(*top, strict=True)
    table: Any = dict(zip(classes, labels, strict=True))
    return Classification(table, classes, scores)


# Long ones too: lengths of a byte, of two and of three.
LABELS = st.one_of(st.text(max_size=8), st.sampled_from(["é" * 100, "x" * 20_000]))
SCORES = st.tuples(st.integers(0, 2**31 - 1), LABELS, FLOATS)
ANSWERS = st.one_of(
    st.lists(SCORES, min_size=1, max_size=5, unique_by=lambda score: score[0]).map(classification),
    st.builds(Regression, FLOATS),
    st.just(Raw({"y": np.arange(3, dtype=np.float32)})),
)
PREDICTIONS = st.one_of(
    st.builds(Prediction, st.text(st.characters(codec="ascii"), max_size=200), ANSWERS),
    st.just(BackendUnavailable("later", retry_after=0.5)),
)


def message(model: str, version: int, found: list[Prediction | GatewayError]) -> pb.PredictResponse:
    """What the bytes stand for, put together by protobuf alone."""
    response = pb.PredictResponse(model=model, version=version)
    for prediction in found:
        if isinstance(prediction, GatewayError):
            response.predictions.add(error=instance_error(prediction))
            continue
        added, answer = response.predictions.add(id=prediction.receipt), prediction.answer
        if isinstance(answer, Classification):
            best = answer.top[0]
            added.classification.label, added.classification.class_index = best.label, best.class_index
            added.classification.confidence = best.score
            for label, class_index, score in answer.top:
                added.classification.top.add(label=label, class_index=class_index, score=score)
        elif isinstance(answer, Regression):
            added.regression.value = answer.value
        else:
            outputs = {name: tensors.to_proto(array) for name, array in answer.outputs.items()}
            added.outputs.CopyFrom(tensor_pb2.NamedTensors(tensors=outputs))
    return response


@given(st.text(max_size=20), st.integers(0, 2**63 - 1), st.lists(PREDICTIONS, max_size=4))
def test_the_bytes_are_the_message(model: str, version: int, found: list[Prediction | GatewayError]) -> None:
    """Whatever was predicted, the bytes are those of the message: no other reader could tell."""
    assert pb.PredictResponse.FromString(predictions.response(model, version, found)) == message(model, version, found)


def test_beyond_float32() -> None:
    """A score that is no float32 becomes infinite, as it does in protobuf."""
    found = Prediction("r", Classification("ab", [0, 1], [1e300, -1e300]))
    (answered,) = pb.PredictResponse.FromString(predictions.response("m", 1, [found])).predictions
    assert [score.score for score in answered.classification.top] == [math.inf, -math.inf]
