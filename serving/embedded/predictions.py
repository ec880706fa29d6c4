"""Requests for a model's answers, apart from any transport: the version that is meant is found, asked and logged."""

from collections.abc import Callable
from typing import Any, Generic, NamedTuple, TypeVar

from google.protobuf.message import Message

from serving.embedded import inference
from serving.embedded.catalog import Catalog
from serving.embedded.errors import MissingModelName, MissingModelSpec, NoMetadataField, UnknownMetadataField
from serving.embedded.manager import Manager
from serving.embedded.monitoring import Request as Measured
from serving.embedded.request_log import RequestLogs
from serving.embedded.servable import Inference, Servable
from serving.embedded.version import Version
from serving.wire import tensorflow_serving_pb2 as tfs

_SIGNATURES_FIELD = "signature_def"
# Bytes of a request that takes so long to read that the event loop should not.
_LARGE = 1 << 20

Request = TypeVar("Request")
Response = TypeVar("Response")


class Received(NamedTuple, Generic[Request]):
    """A request, and the bytes that it came in."""

    request: Request
    size: int


class Predictions:
    """What PredictionService does."""

    def __init__(self, manager: Manager, catalog: Catalog, logs: RequestLogs) -> None:
        self._manager = manager
        self._catalog = catalog
        self._logs = logs

    async def answer(
        self,
        spec: tfs.ModelSpec | None,
        method: Callable[[Servable, int, Request], Inference[Response]],
        received: Received[Request],
        measured: Measured,
    ) -> Response:
        """What a `method` of the version that `spec` means makes of a request; `measured` is told which that was."""
        spec, (request, size) = present(spec), received
        version = self.find(spec)
        response = await self._manager.infer(
            version, lambda servable: method(servable, version.number, request), large=size > _LARGE
        )
        measured.version = version.number
        self._logs.offer(spec, version.number, lambda: (_message(request), _message(response)))
        return response

    def metadata(self, request: tfs.GetModelMetadataRequest) -> tfs.GetModelMetadataResponse:
        """The signatures of a model."""
        spec = present(inference.spec_of(request))
        if not request.metadata_field:
            raise NoMetadataField
        for field in request.metadata_field:
            if field != _SIGNATURES_FIELD:
                raise UnknownMetadataField(field)
        version = self.find(spec)
        response = tfs.GetModelMetadataResponse(model_spec=inference.resolved(spec, version.number, signature=False))
        response.metadata[_SIGNATURES_FIELD].Pack(tfs.SignatureDefMap(signature_def=version.servable.signatures))
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


def present(spec: tfs.ModelSpec | None) -> tfs.ModelSpec:
    """The spec; MissingModelSpec if there is none."""
    if spec is None:
        raise MissingModelSpec
    return spec


def _message(said: Any) -> Message:
    return said if isinstance(said, Message) else said.message()
