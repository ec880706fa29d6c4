"""TensorFlow Serving's gRPC services over the manager: a method converts, calls, converts."""

# ruff: noqa: ARG002, N802  # names and parameters are gRPC's

from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, TypeVar

import grpc
import grpc.aio

from serving.embedded import inference
from serving.embedded.catalog import Catalog
from serving.embedded.config import models_of
from serving.embedded.manager import Manager
from serving.embedded.monitoring import Metrics
from serving.embedded.monitoring import Request as Measured
from serving.embedded.predict_requests import PredictRequests
from serving.embedded.predictions import Predictions, Received, present
from serving.embedded.servable import Inference, Servable
from serving.embedded.version import Version
from serving.wire import tensorflow_serving_pb2 as tfs
from serving.wire import tensorflow_serving_pb2_grpc as tfs_grpc
from serving.wire.tensorflow_error_pb2 import Code

_PREDICTION_SERVICE = "tensorflow.serving.PredictionService"

Request = TypeVar("Request")
Response = TypeVar("Response")
_Method = Callable[[Servable, int, Request], Inference[Response]]


class PredictionServicer:
    """PredictionService; `typed` answers in TensorProto's typed fields (float_val, …) rather than in tensor_content.

    With `metrics` calls that run a model are counted and timed.
    """

    def __init__(self, predictions: Predictions, metrics: Metrics | None, *, typed: bool) -> None:
        self._predictions = predictions
        self._metrics = metrics
        self._predict = partial(inference.predict_encoded, typed=typed)

    def register(self, server: grpc.aio.Server) -> None:
        """Adds the service to a server."""
        handlers = {
            "Predict": _handler(self.Predict, PredictRequests().read, lambda answer: answer.content),
            "Classify": _handler(self.Classify, tfs.ClassificationRequest.FromString),
            "Regress": _handler(self.Regress, tfs.RegressionRequest.FromString),
            "MultiInference": _handler(self.MultiInference, tfs.MultiInferenceRequest.FromString),
            "GetModelMetadata": _handler(self.GetModelMetadata, tfs.GetModelMetadataRequest.FromString),
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(_PREDICTION_SERVICE, handlers),))

    def Predict(self, received: Received[inference.Predict], context: Any) -> Awaitable[inference.Encoded]:
        """Runs one signature of a model over tensors."""
        return self._answer("Predict", received.request.spec, self._predict, received)

    def Classify(
        self, received: Received[tfs.ClassificationRequest], context: Any
    ) -> Awaitable[tfs.ClassificationResponse]:
        """Classifies tf.Examples."""
        return self._answer("Classify", inference.spec_of(received.request), inference.classify, received)

    def Regress(self, received: Received[tfs.RegressionRequest], context: Any) -> Awaitable[tfs.RegressionResponse]:
        """Gives a value for each tf.Example."""
        return self._answer("Regress", inference.spec_of(received.request), inference.regress, received)

    def MultiInference(
        self, received: Received[tfs.MultiInferenceRequest], context: Any
    ) -> Awaitable[tfs.MultiInferenceResponse]:
        """Runs several signatures of a model over the same tf.Examples; the first task says which version."""
        tasks = received.request.tasks
        spec = tasks[0].model_spec if tasks else tfs.ModelSpec()
        return self._answer("MultiInference", spec, inference.infer, received)

    async def GetModelMetadata(
        self, received: Received[tfs.GetModelMetadataRequest], context: Any
    ) -> tfs.GetModelMetadataResponse:
        """The signatures of a model."""
        return self._predictions.metadata(received.request)

    def _answer(
        self, api: str, spec: tfs.ModelSpec | None, method: _Method[Request, Response], received: Received[Request]
    ) -> Awaitable[Response]:
        answer = partial(self._predictions.answer, spec, method, received)
        if self._metrics is None:
            return answer(Measured())
        return _within(self._metrics.request(spec.name if spec else "", api, "GRPC"), answer)


class ModelServicer(tfs_grpc.ModelServiceServicer):
    """ModelService."""

    def __init__(self, manager: Manager, catalog: Catalog) -> None:
        self._manager = manager
        self._catalog = catalog

    async def GetModelStatus(self, request: tfs.GetModelStatusRequest, context: Any) -> tfs.GetModelStatusResponse:
        """The state of one version of a model, or of all that there ever were; a label is ignored, as in TFS."""
        spec = present(inference.spec_of(request))
        versions = self._manager.statuses(spec.name, spec.version.value if spec.HasField("version") else None)
        return tfs.GetModelStatusResponse(model_version_status=map(_status, versions))

    async def HandleReloadConfigRequest(
        self, request: tfs.ReloadConfigRequest, context: Any
    ) -> tfs.ReloadConfigResponse:
        """Makes the request's models all there are, and answers once they were loaded; a failure is the RPC's too."""
        await self._catalog.reload(models_of(request.config))
        response = tfs.ReloadConfigResponse()
        response.status.SetInParent()
        return response


async def _within(
    measuring: AbstractContextManager[Measured], answer: Callable[[Measured], Awaitable[Response]]
) -> Response:
    with measuring as measured:
        return await answer(measured)


def _handler(
    method: Callable[[Any, Any], Awaitable[Any]],
    read: Callable[[bytes], Any],
    write: Callable[[Any], bytes] = lambda message: message.SerializeToString(),
) -> Any:
    # The stubs know servicers that block.
    behaviour: Any = method
    return grpc.unary_unary_rpc_method_handler(behaviour, lambda raw: Received(read(raw), len(raw)), write)


def _status(version: Version) -> tfs.ModelVersionStatus:
    status = tfs.ModelVersionStatus(version=version.number, state=tfs.ModelVersionStatus.State.ValueType(version.state))
    status.status.SetInParent()
    if version.error:
        status.status.error_code = Code.ValueType(version.error.code.value[0])
        status.status.error_message = version.error.text
    return status
