"""TensorFlow Serving's gRPC services over the manager: a method converts, calls, converts."""

# ruff: noqa: ARG002, N802  # names and parameters are gRPC's

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from google.protobuf.message import Message

from serving.embedded import inference
from serving.embedded.catalog import Catalog
from serving.embedded.config import models_of
from serving.embedded.error_interceptor import REQUEST_BYTES
from serving.embedded.errors import (
    MissingModelName,
    MissingModelSpec,
    NoMetadataField,
    UnknownMetadataField,
)
from serving.embedded.manager import Manager
from serving.embedded.request_log import RequestLogs
from serving.embedded.servable import Inference, Servable
from serving.embedded.version import Version
from serving.wire import tensorflow_serving_pb2 as tfs
from serving.wire import tensorflow_serving_pb2_grpc as tfs_grpc
from serving.wire.tensorflow_error_pb2 import Code

_SIGNATURES_FIELD = "signature_def"
# Bytes of a request that takes so long to read that the event loop should not.
_LARGE = 1 << 20

Request = TypeVar("Request", bound=Message)
Response = TypeVar("Response", bound=Message)


class PredictionServicer(tfs_grpc.PredictionServiceServicer):
    """PredictionService; `typed` answers in TensorProto's typed fields (float_val, …) rather than in tensor_content."""

    def __init__(self, manager: Manager, catalog: Catalog, logs: RequestLogs, *, typed: bool) -> None:
        self._manager = manager
        self._catalog = catalog
        self._logs = logs
        self._predict = partial(inference.predict, typed=typed)

    async def Predict(self, request: tfs.PredictRequest, context: Any) -> tfs.PredictResponse:
        """Runs one signature of a model over tensors."""
        return await self._infer(_spec(request), self._predict, request)

    async def Classify(self, request: tfs.ClassificationRequest, context: Any) -> tfs.ClassificationResponse:
        """Classifies tf.Examples."""
        return await self._infer(_spec(request), inference.classify, request)

    async def Regress(self, request: tfs.RegressionRequest, context: Any) -> tfs.RegressionResponse:
        """Gives a value for each tf.Example."""
        return await self._infer(_spec(request), inference.regress, request)

    async def MultiInference(self, request: tfs.MultiInferenceRequest, context: Any) -> tfs.MultiInferenceResponse:
        """Runs several signatures of a model over the same tf.Examples; the first task says which version."""
        spec = request.tasks[0].model_spec if request.tasks else tfs.ModelSpec()
        return await self._infer(spec, inference.infer, request)

    async def GetModelMetadata(
        self, request: tfs.GetModelMetadataRequest, context: Any
    ) -> tfs.GetModelMetadataResponse:
        """The signatures of a model."""
        spec = _spec(request)
        if not request.metadata_field:
            raise NoMetadataField
        for field in request.metadata_field:
            if field != _SIGNATURES_FIELD:
                raise UnknownMetadataField(field)
        version = self.find(spec)
        response = tfs.GetModelMetadataResponse(model_spec=inference.resolved(spec, version.number, signature=False))
        response.metadata[_SIGNATURES_FIELD].Pack(tfs.SignatureDefMap(signature_def=version.servable.signatures))
        return response

    async def _infer(
        self, spec: tfs.ModelSpec, method: Callable[[Servable, int, Request], Inference[Response]], request: Request
    ) -> Response:
        version = self.find(spec)
        response = await self._manager.infer(
            version, lambda servable: method(servable, version.number, request), large=lambda: _is_large(request)
        )
        self._logs.offer(spec, version.number, request, response)
        return response

    def find(self, spec: tfs.ModelSpec) -> Version:
        """The AVAILABLE version that is meant; MissingModelName, UnknownLabel or ServableNotFound."""
        if not spec.name:
            raise MissingModelName
        match spec.WhichOneof("version_choice"):
            case "version_label":
                return self._manager.find(spec.name, self._catalog.labelled(spec.name, spec.version_label))
            case "version":
                return self._manager.find(spec.name, spec.version.value)
            case _:
                return self._manager.find(spec.name, None)


class ModelServicer(tfs_grpc.ModelServiceServicer):
    """ModelService."""

    def __init__(self, manager: Manager, catalog: Catalog) -> None:
        self._manager = manager
        self._catalog = catalog

    async def GetModelStatus(self, request: tfs.GetModelStatusRequest, context: Any) -> tfs.GetModelStatusResponse:
        """The state of one version of a model, or of all that there ever were; a label is ignored, as in TFS."""
        spec = _spec(request)
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


def _is_large(request: Message) -> bool:
    size = REQUEST_BYTES.get()
    return (request.ByteSize() if size is None else size) > _LARGE


def _spec(request: Any) -> tfs.ModelSpec:
    if not request.HasField("model_spec"):
        raise MissingModelSpec
    spec: tfs.ModelSpec = request.model_spec
    return spec


def _status(version: Version) -> tfs.ModelVersionStatus:
    status = tfs.ModelVersionStatus(version=version.number, state=tfs.ModelVersionStatus.State.ValueType(version.state))
    status.status.SetInParent()
    if version.error:
        status.status.error_code = Code.ValueType(version.error.code.value[0])
        status.status.error_message = version.error.text
    return status
