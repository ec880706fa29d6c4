"""inference.GRPCInferenceService: the Open Inference Protocol, version 2."""

from collections.abc import Callable, Sequence
from importlib import metadata
from typing import Any

import grpc
import grpc.aio
import numpy as np

from gateway.answers import Classification
from gateway.backend import TensorSpec
from gateway.call import current_call
from gateway.catalog import Catalog, Servable
from gateway.errors import InvalidInput, NotReady
from gateway.predictor import Batch, Prediction, Predictor
from gateway.router import route, signature_of
from gateway.servicers import open_inference_tensors as tensors
from gateway.servicers.access import authorized
from gateway.servicers.infer_requests import InferRequest, InferRequests, Wanted
from gateway.servicers.open_inference_tensors import Output
from serving.wire import open_inference_pb2 as oip

NAME = "inference.GRPCInferenceService"
LABEL, CONFIDENCE, PREDICTION_ID = "label", "confidence", "prediction_id"
"""Outputs that are made of the model's own; one of the model's with the same name comes first."""
_PLATFORM = "tensorflow_savedmodel"
_MAX_VERSION_DIGITS = 18


class OpenInference:
    """All six methods. `ready` says whether the gateway takes calls and every model can answer."""

    def __init__(
        self, predictor: Predictor, catalog: Catalog, *, ready: Callable[[], bool], default_timeout: float
    ) -> None:
        self._predictor = predictor
        self._catalog = catalog
        self._ready = ready
        self._default_timeout = default_timeout
        self._requests = InferRequests()

    def register(self, server: grpc.aio.Server) -> None:
        """Adds the service to a server."""
        handlers: dict[str, Any] = {
            "ModelInfer": grpc.unary_unary_rpc_method_handler(self.ModelInfer, self._requests.read),
        }
        for name, asked, answered in (
            ("ServerLive", oip.ServerLiveRequest, oip.ServerLiveResponse),
            ("ServerReady", oip.ServerReadyRequest, oip.ServerReadyResponse),
            ("ModelReady", oip.ModelReadyRequest, oip.ModelReadyResponse),
            ("ServerMetadata", oip.ServerMetadataRequest, oip.ServerMetadataResponse),
            ("ModelMetadata", oip.ModelMetadataRequest, oip.ModelMetadataResponse),
        ):
            handlers[name] = grpc.unary_unary_rpc_method_handler(
                getattr(self, name), asked.FromString, answered.SerializeToString
            )
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(NAME, handlers),))

    async def ServerLive(self, request: oip.ServerLiveRequest, context: Any) -> oip.ServerLiveResponse:
        """Whether the gateway answers."""
        return oip.ServerLiveResponse(live=True)

    async def ServerReady(self, request: oip.ServerReadyRequest, context: Any) -> oip.ServerReadyResponse:
        """Whether every model can answer."""
        return oip.ServerReadyResponse(ready=self._ready())

    async def ModelReady(self, request: oip.ModelReadyRequest, context: Any) -> oip.ModelReadyResponse:
        """Whether a model, or one version of it, can answer."""
        try:
            self._route(request.name, request.version)
        except NotReady:
            return oip.ModelReadyResponse(ready=False)
        return oip.ModelReadyResponse(ready=True)

    async def ServerMetadata(self, request: oip.ServerMetadataRequest, context: Any) -> oip.ServerMetadataResponse:
        """What the gateway is; it has no extensions."""
        return oip.ServerMetadataResponse(name="tensorgate", version=_version())

    async def ModelMetadata(self, request: oip.ModelMetadataRequest, context: Any) -> oip.ModelMetadataResponse:
        """The tensors of a model's default signature, and the versions that answer."""
        servable = self._route(request.name, request.version)
        signature = signature_of(servable, "")
        outputs = dict(sorted(signature.outputs.items()))
        return oip.ModelMetadataResponse(
            name=servable.model,
            versions=[
                str(number)
                for number, version in sorted(self._catalog.models[servable.model].versions.items())
                if version.servable
            ],
            platform=_PLATFORM,
            inputs=[_metadata(spec) for _, spec in sorted(signature.inputs.items())],
            outputs=[_metadata(spec) for spec in (_derived_specs(servable) | outputs).values()],
        )

    async def ModelInfer(self, request: InferRequest, context: Any) -> bytes:
        """Answers a batch: tensors, or encoded images as BYTES. Returns a ModelInferResponse, serialized."""
        call = current_call.get()
        model = authorized(self._catalog, request.model)
        waiting = call.enter(model.name)
        if waiting is not None:
            await waiting
        batch = Batch(model.name, request.inputs(), _number(request.version), request.signature, call.sticky_key)
        inference = await self._predictor.infer(batch, call.deadline_within(self._default_timeout))
        call.answered_by(inference.servable.version, inference.variant)
        call.instances = inference.rows
        outputs = _wanted(request.outputs, _derived(inference.predictions) | dict(inference.outputs))
        # As it was asked.
        return tensors.response(model.name, str(inference.servable.version), request.id, outputs, raw=request.raw)

    def _route(self, name: str, version: str) -> Servable:
        model = authorized(self._catalog, name)
        servable = route(self._catalog, model.name, _number(version))
        current_call.get().version = servable.version
        return servable


def _number(version: str) -> int:
    """The version that a text stands for; 0 for none."""
    if not version:
        return 0
    if not (version.isascii() and version.isdigit() and len(version) <= _MAX_VERSION_DIGITS and int(version)):
        raise InvalidInput(f"the version is {version[:100]!r}; expected a number above 0", field="model_version")
    return int(version)


def _wanted(wanted: Sequence[Wanted], outputs: dict[str, Output]) -> dict[str, Output]:
    """The outputs that are asked for, or all."""
    for place, (name, unsupported) in enumerate(wanted):
        if name not in outputs:
            raise InvalidInput(
                f"there is no output {name[:100]!r}; there are: {', '.join(outputs)}",
                reason="OUTPUT_NOT_FOUND",
                field=f"outputs[{place}].name",
            )
        if unsupported:
            raise InvalidInput(
                f"the parameter {unsupported!r} is not supported; ask for the outputs {LABEL!r} and {CONFIDENCE!r}",
                reason="PARAMETER_UNSUPPORTED",
                field=f"outputs[{place}].parameters",
            )
    return {name: outputs[name] for name, _ in wanted} if wanted else outputs


def _derived(predictions: Sequence[Prediction]) -> dict[str, Output]:
    """What the contract makes of the outputs, for each row."""
    if not predictions:
        return {}
    ids = [receipt for receipt, _ in predictions]
    classified = [answer for _, answer in predictions if isinstance(answer, Classification)]
    if not classified:
        return {PREDICTION_ID: ids}
    return {
        LABEL: [labels[classes[0]] for labels, classes, _ in classified],
        CONFIDENCE: np.array([scores[0] for _, _, scores in classified], np.float32),
        PREDICTION_ID: ids,
    }


def _derived_specs(servable: Servable) -> dict[str, TensorSpec]:
    """The names and types of what `_derived` gives."""
    task = servable.contract.postprocessing.task if servable.contract else "raw"
    text, number = np.dtype(object), np.dtype(np.float32)
    types = {
        "classification": {LABEL: text, CONFIDENCE: number, PREDICTION_ID: text},
        "regression": {PREDICTION_ID: text},
        "raw": {},
    }
    return {name: TensorSpec(name, dtype, (-1,)) for name, dtype in types[task].items()}


def _metadata(spec: TensorSpec) -> oip.ModelMetadataResponse.TensorMetadata:
    return oip.ModelMetadataResponse.TensorMetadata(
        name=spec.name, datatype=tensors.datatype(spec.dtype), shape=(-1,) if spec.shape is None else spec.shape
    )


def _version() -> str:
    """The version of the package, where it is installed."""
    try:
        return metadata.version("tensorgate")
    except metadata.PackageNotFoundError:
        return ""
