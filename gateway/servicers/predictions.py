"""PredictResponse on the wire, put together of bytes.

Building the messages takes longer than anything else about an answer. What is the same from call to call is encoded by
protobuf, once; the rest are receipts and numbers of known size.
"""

import struct
from collections.abc import Iterable
from functools import lru_cache

from gateway.answers import Classification, Regression
from gateway.errors import GatewayError
from gateway.predictor import Prediction
from gateway.servicers import tensors
from gateway.servicers.instance_errors import instance_error
from serving.wire.lengths import length
from tensorgate.v1 import inference_service_pb2 as pb
from tensorgate.v1 import tensor_pb2

# A field's number and how its value is encoded: messages and texts follow their length, numbers have 4 or 8 bytes.
_PREDICTIONS = b"\x1a"
_ID, _CLASSIFICATION, _REGRESSION = b"\x0a", b"\x12", b"\x1a"
_TOP, _SCORE = b"\x22", b"\x1d"
_FLOAT = struct.Struct("<f").pack
_VALUE = struct.Struct("<BBd").pack
_VALUE_FIELD, _VALUE_BYTES = 0x09, 9


def response(model: str, version: int, predictions: Iterable[Prediction | GatewayError]) -> bytes:
    """What a PredictResponse of these predictions is on the wire."""
    parts = [_beginning(model, version)]
    for prediction in predictions:
        encoded = _prediction(prediction)
        parts += (_PREDICTIONS, length(len(encoded)), encoded)
    return b"".join(parts)


def _prediction(prediction: Prediction | GatewayError) -> bytes:
    if isinstance(prediction, GatewayError):
        return pb.Prediction(error=instance_error(prediction)).SerializeToString()
    receipt, answer = prediction
    head = receipt.encode()
    if isinstance(answer, Classification):
        result = _classification(answer)
        return b"".join((_ID, length(len(head)), head, _CLASSIFICATION, length(len(result)), result))
    if isinstance(answer, Regression):
        value = _VALUE(_VALUE_BYTES, _VALUE_FIELD, answer.value)
        return b"".join((_ID, length(len(head)), head, _REGRESSION, value))
    outputs = {name: tensors.to_proto(array) for name, array in answer.outputs.items()}
    return pb.Prediction(id=receipt, outputs=tensor_pb2.NamedTensors(tensors=outputs)).SerializeToString()


def _classification(answer: Classification) -> bytes:
    labels, classes, scores = answer
    best = classes[0]
    try:
        parts = [_best(labels[best], best), _FLOAT(scores[0])]
        # Not zip: with a keyword it takes a third of all this.
        for rank, place in enumerate(classes):
            parts += (_one_of_the_best(labels[place], place), _FLOAT(scores[rank]))
    except OverflowError:
        # No float32; protobuf makes an infinity of it.
        top = [
            pb.ClassScore(label=labels[i], class_index=i, score=score) for i, score in zip(classes, scores, strict=True)
        ]
        return pb.Classification(
            label=labels[best], class_index=best, confidence=scores[0], top=top
        ).SerializeToString()
    return b"".join(parts)


@lru_cache(64)
def _beginning(model: str, version: int) -> bytes:
    return pb.PredictResponse(model=model, version=version).SerializeToString()


@lru_cache(4096)
def _best(label: str, class_index: int) -> bytes:
    """A classification up to its confidence."""
    return pb.Classification(label=label, class_index=class_index).SerializeToString() + _SCORE


@lru_cache(4096)
def _one_of_the_best(label: str, class_index: int) -> bytes:
    """An entry of `top` up to its score."""
    entry = pb.ClassScore(label=label, class_index=class_index).SerializeToString() + _SCORE
    return _TOP + length(len(entry) + len(_FLOAT(0.0))) + entry
