"""TensorFlow Serving's own stubs, shortened for tests."""

import os
import time
from collections.abc import Callable
from typing import Any, Self

import grpc
import numpy as np
import pytest
import tensorflow as tf
from google.protobuf.wrappers_pb2 import Int64Value
from tensorflow.core.framework.tensor_pb2 import TensorProto
from tensorflow_serving.apis.get_model_status_pb2 import GetModelStatusRequest, ModelVersionStatus
from tensorflow_serving.apis.model_pb2 import ModelSpec
from tensorflow_serving.apis.model_service_pb2_grpc import ModelServiceStub
from tensorflow_serving.apis.predict_pb2 import PredictRequest, PredictResponse
from tensorflow_serving.apis.prediction_service_pb2_grpc import PredictionServiceStub

# Scaled up where the machine is slow or shared.
TIMEOUT = 60.0 * float(os.environ.get("TENSORGATE_TEST_TIMEOUT_SCALE", "1"))


def model_spec(*, name: str = "wire", version: int | None = None, **fields: str) -> ModelSpec:
    """Which model, version or version_label, and signature_name."""
    return ModelSpec(name=name, version=None if version is None else Int64Value(value=version), **fields)


def predict_request(inputs: dict[str, Any], *outputs: str, **spec: Any) -> PredictRequest:
    """A request for `outputs`; an input is a TensorProto or what tf.make_tensor_proto takes."""
    request = PredictRequest(model_spec=model_spec(**spec), output_filter=outputs)
    for alias, value in inputs.items():
        proto = value if isinstance(value, TensorProto) else tf.make_tensor_proto(value)
        request.inputs[alias].CopyFrom(proto)
    return request


def eventually(condition: Callable[[], object]) -> None:
    """Returns once `condition` holds; fails if it does not within TIMEOUT."""
    deadline = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def failure(method: Any, request: Any) -> tuple[str, str]:
    """The code and text that a call fails with."""
    with pytest.raises(grpc.RpcError) as caught:
        method(request, timeout=TIMEOUT)
    return caught.value.code().name, caught.value.details()


class _WithKey(grpc.UnaryUnaryClientInterceptor):
    """What changes for a client that moves from the server to the gateway."""

    def __init__(self, key: str) -> None:
        self._metadata = [("authorization", f"Bearer {key}")]

    def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        return continuation(client_call_details._replace(metadata=self._metadata), request)


class Client:
    """A channel to a server, and calls to the model `wire`."""

    def __init__(self, address: str, key: str | None = None) -> None:
        self._channel = grpc.insecure_channel(address, [("grpc.max_receive_message_length", -1)])
        channel = grpc.intercept_channel(self._channel, _WithKey(key)) if key else self._channel
        self.predictions = PredictionServiceStub(channel)
        self.models = ModelServiceStub(channel)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._channel.close()

    def predict(self, inputs: dict[str, Any], *outputs: str, **spec: Any) -> PredictResponse:
        """The answer to a Predict."""
        return self.predictions.Predict(predict_request(inputs, *outputs, **spec), timeout=TIMEOUT)

    def values(self, inputs: dict[str, Any], *outputs: str, **spec: Any) -> dict[str, np.ndarray]:
        """The tensors that a Predict answers with."""
        response = self.predict(inputs, *outputs, **spec)
        return {alias: tf.make_ndarray(proto) for alias, proto in response.outputs.items()}

    def states(self) -> dict[int, str]:
        """The state of every version by name."""
        response = self.models.GetModelStatus(GetModelStatusRequest(model_spec=model_spec()), timeout=TIMEOUT)
        return {entry.version: ModelVersionStatus.State.Name(entry.state) for entry in response.model_version_status}
