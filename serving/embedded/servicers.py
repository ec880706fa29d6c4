"""TensorFlow Serving's gRPC services over the manager: a method converts, calls, converts."""

# ruff: noqa: ARG002, N802  # names and parameters are gRPC's

from functools import partial
from typing import Any

from serving.embedded.errors import (
    MissingModelName,
    MissingModelSpec,
    NoMetadataField,
    UnknownLabel,
    UnknownMetadataField,
    UnparsableTensor,
)
from serving.embedded.manager import Manager
from serving.embedded.version import Servable, Version
from serving.wire import tensorflow_pb2 as tf
from serving.wire import tensorflow_serving_pb2 as tfs
from serving.wire import tensorflow_serving_pb2_grpc as tfs_grpc
from serving.wire.codec import Array, TensorError, fill_proto, to_numpy
from serving.wire.tensorflow_error_pb2 import Code

_DEFAULT_SIGNATURE = "serving_default"
_SIGNATURES_FIELD = "signature_def"


class PredictionServicer(tfs_grpc.PredictionServiceServicer):
    """PredictionService; `typed` answers in TensorProto's typed fields (float_val, …) rather than in tensor_content."""

    def __init__(self, manager: Manager, *, typed: bool) -> None:
        self._manager = manager
        self._typed = typed

    async def Predict(self, request: tfs.PredictRequest, context: Any) -> tfs.PredictResponse:
        """Runs one signature of a model."""
        version = _find(self._manager, request)
        return await self._manager.run(version, partial(self._predict, request, version.number))

    async def GetModelMetadata(
        self, request: tfs.GetModelMetadataRequest, context: Any
    ) -> tfs.GetModelMetadataResponse:
        """The signatures of a model."""
        _require_spec(request)
        if not request.metadata_field:
            raise NoMetadataField
        for field in request.metadata_field:
            if field != _SIGNATURES_FIELD:
                raise UnknownMetadataField(field)
        version = _find(self._manager, request)
        response = tfs.GetModelMetadataResponse(model_spec=_model_spec(request.model_spec.name, version.number))
        response.metadata[_SIGNATURES_FIELD].Pack(tfs.SignatureDefMap(signature_def=version.servable.signatures))
        return response

    def _predict(self, request: tfs.PredictRequest, number: int, servable: Servable) -> tfs.PredictResponse:
        spec = request.model_spec
        signature = spec.signature_name or _DEFAULT_SIGNATURE
        inputs = {alias: _tensor(alias, proto) for alias, proto in request.inputs.items()}
        outputs = servable.run(signature, inputs, request.output_filter)
        response = tfs.PredictResponse(model_spec=_model_spec(spec.name, number, signature))
        for alias, array in outputs.items():
            fill_proto(response.outputs[alias], array, typed=self._typed)
        return response


class ModelServicer(tfs_grpc.ModelServiceServicer):
    """ModelService."""

    def __init__(self, manager: Manager) -> None:
        self._manager = manager

    async def GetModelStatus(self, request: tfs.GetModelStatusRequest, context: Any) -> tfs.GetModelStatusResponse:
        """The state of one version of a model, or of all that there ever were; a label is ignored, as in TFS."""
        _require_spec(request)
        spec = request.model_spec
        versions = self._manager.statuses(spec.name, spec.version.value if spec.HasField("version") else None)
        return tfs.GetModelStatusResponse(model_version_status=map(_status, versions))


def _require_spec(request: tfs.PredictRequest | tfs.GetModelMetadataRequest | tfs.GetModelStatusRequest) -> None:
    if not request.HasField("model_spec"):
        raise MissingModelSpec


def _find(manager: Manager, request: tfs.PredictRequest | tfs.GetModelMetadataRequest) -> Version:
    _require_spec(request)
    spec = request.model_spec
    if not spec.name:
        raise MissingModelName
    if spec.WhichOneof("version_choice") == "version_label":
        raise UnknownLabel(spec.version_label)
    return manager.find(spec.name, spec.version.value if spec.HasField("version") else None)


def _model_spec(name: str, number: int, signature: str = "") -> tfs.ModelSpec:
    spec = tfs.ModelSpec(name=name, signature_name=signature)
    spec.version.value = number
    return spec


def _tensor(alias: str, proto: tf.TensorProto) -> Array:
    try:
        return to_numpy(proto)
    except TensorError as error:
        raise UnparsableTensor(alias) from error


def _status(version: Version) -> tfs.ModelVersionStatus:
    status = tfs.ModelVersionStatus(version=version.number, state=tfs.ModelVersionStatus.State.ValueType(version.state))
    status.status.SetInParent()
    if version.error:
        status.status.error_code = Code.ValueType(version.error.code.value[0])
        status.status.error_message = version.error.text
    return status
