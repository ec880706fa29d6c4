"""tensorflow.serving.PredictionService and ModelService: routed, and otherwise as the backend answers them."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import grpc
import grpc.aio
from google.protobuf.message import DecodeError, Message
from google.protobuf.unknown_fields import UnknownFieldSet

from gateway.auth.principal import Principal
from gateway.backend import Array, Signature, Tensors
from gateway.call import current_call
from gateway.catalog import DEFAULT_SIGNATURE, Catalog, Servable
from gateway.errors import BackendFailed, BackendStatus, GatewayError, InvalidInput, ModelNotFound, NotFinite
from gateway.instances import check_batch
from gateway.router import Route, ask, ask_apart
from gateway.upstream import Upstream
from serving import contract as contracts
from serving.wire import codec, predict
from serving.wire import tensorflow_serving_pb2 as tfs

PREDICTION, MODEL = "tensorflow.serving.PredictionService", "tensorflow.serving.ModelService"
# Seconds for models to be loaded, where the caller sets no deadline.
RELOAD_TIMEOUT = 600.0
_NO_NAME = "ModelSpec has no name specified."
_SIGNATURES_FIELD = "signature_def"

Observe = Callable[[Route, Tensors, int, Tensors], None]
"""Told of rows that were answered by a contract: inputs, their number, outputs; never raises."""
Parsed = TypeVar("Parsed", bound=Message)


@dataclass(frozen=True, slots=True)
class Request(Generic[Parsed]):
    """A request as it reads and as it came; what is forwarded is the latter, so that nothing in it is lost."""

    message: Parsed
    raw: bytes


class PassThrough:
    """Both services; an answer is bytes, and an error has TensorFlow Serving's own code and text."""

    def __init__(self, catalog: Catalog, upstream: Upstream, observe: Observe, *, default_timeout: float) -> None:
        self._catalog = catalog
        self._upstream = upstream
        self._observe = observe
        self._default_timeout = default_timeout

    def register(self, server: grpc.aio.Server) -> None:
        """Adds both services to a server."""
        predictions = {
            "Predict": _handler(self.Predict, tfs.PredictRequest),
            "Classify": _handler(self.Classify, tfs.ClassificationRequest),
            "Regress": _handler(self.Regress, tfs.RegressionRequest),
            "MultiInference": _handler(self.MultiInference, tfs.MultiInferenceRequest),
            "GetModelMetadata": _handler(self.GetModelMetadata, tfs.GetModelMetadataRequest),
        }
        models = {
            "GetModelStatus": _handler(self.GetModelStatus, tfs.GetModelStatusRequest),
            "HandleReloadConfigRequest": _handler(self.HandleReloadConfigRequest, tfs.ReloadConfigRequest),
        }
        server.add_generic_rpc_handlers(
            (
                grpc.method_handlers_generic_handler(PREDICTION, predictions),
                grpc.method_handlers_generic_handler(MODEL, models),
            )
        )

    async def Predict(self, request: Request[tfs.PredictRequest], context: Any) -> bytes:
        """Runs a signature: with other callers' rows where a contract says that each is an instance, else as it is."""
        call = current_call.get()

        async def question(route: Route) -> bytes:
            servable = route.servable
            instances = _instances(request.message, servable)
            if instances is None:
                return await self._forward(route, "Predict", request.raw)
            signature, inputs, call.instances = instances
            deadline = route.deadline(call.deadline_within(self._default_timeout))
            try:
                outputs = await self._upstream.batched(servable, signature, inputs, deadline)
            except NotFinite:
                call.instances = 0
                return await self._forward(route, "Predict", request.raw)
            self._observe(route, inputs, call.instances, outputs)
            wanted = {name: outputs[name] for name in request.message.output_filter or outputs}
            return predict.response(servable.model, servable.version, signature.name, wanted, typed=True)

        return await self._routed(request.message, question)

    async def Classify(self, request: Request[tfs.ClassificationRequest], context: Any) -> bytes:
        """Classifies tf.Examples."""
        return await self._routed(request.message, lambda route: self._forward(route, "Classify", request.raw))

    async def Regress(self, request: Request[tfs.RegressionRequest], context: Any) -> bytes:
        """Gives a value for each tf.Example."""
        return await self._routed(request.message, lambda route: self._forward(route, "Regress", request.raw))

    async def MultiInference(self, request: Request[tfs.MultiInferenceRequest], context: Any) -> bytes:
        """Runs several signatures over the same tf.Examples; the first task says which version."""
        tasks = request.message.tasks
        if not tasks:
            raise InvalidInput(_NO_NAME)
        for task in tasks:
            current_call.get().principal.require("predict", task.model_spec.name)

        async def question(route: Route) -> bytes:
            tasks[0].model_spec.version.value = route.servable.version
            raw = request.message.SerializeToString()
            return await self._send(route.servable.model, "MultiInference", raw, deadline=self._deadline(route))

        return await self._routed(tasks[0], question)

    async def GetModelMetadata(self, request: Request[tfs.GetModelMetadataRequest], context: Any) -> bytes:
        """The signatures, but for the one that carries the contract, which is not for callers."""

        async def question(route: Route) -> bytes:
            raw = await self._forward(route, "GetModelMetadata", request.raw)
            return raw if route.servable.contract is None else _without_contract(raw)

        return await self._routed(request.message, question, prediction=False)

    async def GetModelStatus(self, request: Request[tfs.GetModelStatusRequest], context: Any) -> bytes:
        """The states of a model's versions, as the backend has them."""
        call = current_call.get()
        name = _name(request.message, call.principal)
        if name not in self._catalog.models:
            raise ModelNotFound(f"Could not find any versions of model {name}")
        waiting = call.enter(name)
        if waiting is not None:
            await waiting
        with _upstream_status():
            return await self._send(name, "GetModelStatus", request.raw, service=MODEL)

    async def HandleReloadConfigRequest(self, request: Request[tfs.ReloadConfigRequest], context: Any) -> bytes:
        """Changes what the backend serves; for administrators."""
        call = current_call.get()
        call.principal.require_admin()
        deadline = call.deadline_within(RELOAD_TIMEOUT)
        with _upstream_status():
            answer = await self._upstream.forward("", f"/{MODEL}/HandleReloadConfigRequest", request.raw, deadline)
        for name in list(self._catalog.models):
            await self._catalog.refresh(name)
        return answer

    async def _routed(
        self, message: Any, question: Callable[[Route], Awaitable[bytes]], *, prediction: bool = True
    ) -> bytes:
        """The answer of the version that `message.model_spec` comes to."""
        call = current_call.get()
        name = _name(message, call.principal)
        spec: tfs.ModelSpec = message.model_spec
        choice = spec.WhichOneof("version_choice")
        version = spec.version.value
        if name not in self._catalog.models or (choice == "version" and version < 1):
            raise _not_found(spec)
        waiting = call.enter(name)
        if waiting is not None:
            await waiting
        if spec.signature_name == contracts.SIGNATURE:
            raise BackendStatus("FAILED_PRECONDITION", f'Serving signature key "{contracts.SIGNATURE}" not found.')
        with _upstream_status():
            if choice == "version_label":
                version = await self._catalog.labelled(name, spec.version_label)
            try:
                route, answer = await (
                    ask(self._catalog, name, version, question, call.sticky_key)
                    if prediction
                    else ask_apart(self._catalog, name, version, question)
                )
            except ModelNotFound as error:
                raise _not_found(spec) from error
        call.answered_by(route.servable.version, route.variant)
        return answer

    async def _forward(self, route: Route, method: str, raw: bytes) -> bytes:
        """The answer of a version to a request whose first field is `model_spec`."""
        # A message that comes twice is merged, and of a oneof the last field counts: nothing is taken apart.
        version = tfs.PredictRequest()
        version.model_spec.version.value = route.servable.version
        raw += version.SerializeToString()
        return await self._send(route.servable.model, method, raw, deadline=self._deadline(route))

    async def _send(
        self, model: str, method: str, raw: bytes, *, service: str = PREDICTION, deadline: float | None = None
    ) -> bytes:
        until = deadline or current_call.get().deadline_within(self._default_timeout)
        return await self._upstream.forward(model, f"/{service}/{method}", raw, until)

    def _deadline(self, route: Route) -> float:
        return route.deadline(current_call.get().deadline_within(self._default_timeout))


def _handler(method: Callable[[Request[Any], Any], Awaitable[bytes]], message: type[Message]) -> Any:
    # The stubs know servicers that block.
    behaviour: Any = method
    return grpc.unary_unary_rpc_method_handler(
        behaviour, lambda raw: Request(message.FromString(raw), raw), lambda answer: answer
    )


def _name(message: Any, principal: Principal) -> str:
    """The name of the model that is asked for, if the caller may ask it: rights come before existence."""
    if not message.HasField("model_spec"):
        raise InvalidInput("Missing ModelSpec")
    name: str = message.model_spec.name
    if not name:
        raise InvalidInput(_NO_NAME)
    principal.require("predict", name)
    return name


def _not_found(spec: tfs.ModelSpec) -> GatewayError:
    if spec.WhichOneof("version_choice") == "version_label":
        return InvalidInput(f"Unrecognized servable version label: {spec.version_label}")
    wanted = f"Specific({spec.name}, {spec.version.value})" if spec.HasField("version") else f"Latest({spec.name})"
    return ModelNotFound(f"Servable not found for request: {wanted}")


@contextmanager
def _upstream_status() -> Iterator[None]:
    """Lets an error through as the backend put it."""
    try:
        yield
    except GatewayError as error:
        if error.upstream is None:
            raise
        raise BackendStatus(*error.upstream) from error


def _instances(message: tfs.PredictRequest, servable: Servable) -> tuple[Signature, dict[str, Array], int] | None:
    """The signature, inputs and number of rows of a request that may share an upstream call; None if it goes alone.

    What is unusual goes alone too: the backend says best what it makes of it.
    """
    contract = servable.contract
    if contract is None or (message.model_spec.signature_name or DEFAULT_SIGNATURE) != contract.signature:
        return None
    signature = servable.signatures[contract.signature]
    wanted = message.output_filter
    if len(set(wanted)) != len(wanted) or not set(wanted) <= signature.outputs.keys():
        return None
    if len(UnknownFieldSet(message)) or len(UnknownFieldSet(message.model_spec)):
        return None
    try:
        inputs = {name: codec.to_numpy(proto) for name, proto in message.inputs.items()}
        return signature, inputs, check_batch(inputs, signature)
    except (codec.TensorError, GatewayError):
        return None


def _without_contract(raw: bytes) -> bytes:
    """A GetModelMetadataResponse without the signature that carries the contract."""
    try:
        response = tfs.GetModelMetadataResponse.FromString(raw)
        signatures = tfs.SignatureDefMap()
        if response.metadata[_SIGNATURES_FIELD].Unpack(signatures):
            signatures.signature_def.pop(contracts.SIGNATURE, None)
            response.metadata[_SIGNATURES_FIELD].Pack(signatures)
    except DecodeError as error:
        raise BackendFailed("the model server's metadata is unreadable") from error
    return response.SerializeToString()
