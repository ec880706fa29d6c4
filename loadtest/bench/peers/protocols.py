"""How a peer is asked: which bytes for an image, and which of those that it answers are the probabilities."""

import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPConnection
from typing import Any

import grpc
import numpy as np
from PIL import Image

from loadtest.bench.load import Target
from serving.wire import open_inference_pb2 as oip
from serving.wire import tensorflow_serving_pb2 as tfs
from serving.wire.codec import Array, to_numpy, to_proto
from tensorgate.requests import predict_request
from tensorgate.v1 import inference_service_pb2 as pb

_CLASSES = 10
_JSON = "application/json"
MODEL = "digits"


@dataclass(frozen=True)
class Protocol:
    """A way to ask: the message for an image of shape (28, 28), and the reading of an answer."""

    name: str
    path: str
    message: Callable[[Array], bytes]
    read: Callable[[bytes], Any]
    content_type: str = "application/grpc"

    def target(self, address: str, image: Array) -> Target:
        """A call for the load generator."""
        return Target(address, self.path, self.message(image), self.content_type)

    def ask(self, address: str, image: Array, timeout: float) -> Array:
        """The probabilities, of shape (10,); OSError, HTTPException, RpcError or ValueError if there are none."""
        message = self.message(image)
        if self.content_type == "application/grpc":
            with grpc.insecure_channel(address) as channel:
                answer = channel.unary_unary(self.path, _as_it_is, _as_it_is)(message, timeout=timeout)
        else:
            connection = HTTPConnection(address, timeout=timeout)
            connection.request("POST", self.path, message, {"content-type": self.content_type})
            response = connection.getresponse()
            answer = response.read()
            connection.close()
            if response.status != 200:  # noqa: PLR2004  # HTTP's OK
                raise ValueError(f"{response.status}: {answer[:200]!r}")
        return np.asarray(self.read(answer), np.float32).reshape(-1)


def _as_it_is(message: bytes) -> bytes:
    return message


def _json(path: str, message: Callable[[list[Any]], Any], read: Callable[[Any], Any]) -> Protocol:
    return Protocol(
        "JSON over HTTP/1.1",
        path,
        # Pixels are 0 to 255 of 255: more digits would only be longer to read.
        lambda image: json.dumps(message(np.round(image.astype(float), 4).tolist())).encode(),
        lambda answer: read(json.loads(answer)),
        _JSON,
    )


def _oip_request(image: Array) -> bytes:
    request = oip.ModelInferRequest(model_name=MODEL, raw_input_contents=[image.tobytes()])
    request.inputs.add(name="image", datatype="FP32", shape=(1, *image.shape))
    return request.SerializeToString()


def _oip_answer(content: bytes) -> Any:
    response = oip.ModelInferResponse.FromString(content)
    place = [output.name for output in response.outputs].index("probabilities")
    if response.raw_output_contents:
        return np.frombuffer(response.raw_output_contents[place], np.float32)
    return response.outputs[place].contents.fp32_contents


def _tfs_request(image: Array) -> bytes:
    request = tfs.PredictRequest(model_spec=tfs.ModelSpec(name=MODEL))
    request.inputs["image"].CopyFrom(to_proto(image[np.newaxis]))
    return request.SerializeToString()


def _png_request(image: Array) -> bytes:
    file = io.BytesIO()
    Image.fromarray((image * 255).round().astype(np.uint8)).save(file, "PNG")
    return predict_request([file.getvalue()], model=MODEL, version=0, signature="", top_k=_CLASSES).SerializeToString()


def _png_answer(content: bytes) -> Any:
    (prediction,) = pb.PredictResponse.FromString(content).predictions
    scores = sorted(prediction.classification.top, key=lambda score: score.class_index)
    return [score.score for score in scores]


TFS = Protocol(
    "TensorFlow Serving's gRPC",
    "/tensorflow.serving.PredictionService/Predict",
    _tfs_request,
    lambda content: to_numpy(tfs.PredictResponse.FromString(content).outputs["probabilities"]),
)
OIP = Protocol("Open Inference Protocol, gRPC", "/inference.GRPCInferenceService/ModelInfer", _oip_request, _oip_answer)
PNG = Protocol("PNG, tensorgate.v1", "/tensorgate.v1.InferenceService/Predict", _png_request, _png_answer)
# One image, as the peers' own examples have it.
INFERENCE = _json("/inference", lambda image: {"image": image}, lambda answer: answer["probabilities"])
PREDICT = _json("/predict", lambda image: {"image": image}, lambda answer: answer["probabilities"])
ROOT = _json("/", lambda image: {"image": image}, lambda answer: answer["probabilities"])
BENTOML = _json("/predict", lambda image: {"images": [image]}, lambda answer: answer)
MLFLOW = _json("/invocations", lambda image: {"inputs": [image]}, lambda answer: answer["predictions"])
