"""TensorFlow Serving, or whatever speaks its protocol, as a Backend over gRPC."""

import asyncio
import functools
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, ParamSpec, TypeVar

import grpc
import grpc.aio
import numpy as np

from gateway import errors
from gateway.backend import BackendVersion, Signature, Tensors, TensorSpec
from gateway.backend.breaker import Breaker
from gateway.backend.hedging import Hedging
from gateway.backend.service_config import service_config
from gateway.metrics import Metrics
from gateway.settings.backend import BackendSettings, target
from serving.wire import codec, tensorflow_pb2
from serving.wire import predict as wire
from serving.wire import tensorflow_serving_pb2 as tfs
from serving.wire.tensorflow_serving_pb2_grpc import ModelServiceStub, PredictionServiceStub

Answer = TypeVar("Answer")
Arguments = ParamSpec("Arguments")

# Seconds for the small questions about models; an answer that takes longer is no answer.
CONTROL_TIMEOUT = 5.0
RETRY_AFTER = 1.0
# The share of `backend.timeout` that a call must have waited in vain for the breaker to count it.
PATIENCE = 0.5
_PREDICT = "/tensorflow.serving.PredictionService/Predict"
_RELOAD = "/tensorflow.serving.ModelService/HandleReloadConfigRequest"
# What is forwarded as it came does not say here which version it is for.
_ANY = ("", 0)
_LACKING = "not every model server has it yet"
_CHANNEL_OPTIONS = (
    # TensorFlow Serving sets no limits; the gateway's own are on its callers.
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    # A backend that comes back is found within a second, and one that does not answer is not waited for.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1000),
    ("grpc.max_reconnect_backoff_ms", 1000),
    # A connection that died without a word is noticed.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    # What is kept of a request to try it again; a larger one is tried once.
    ("grpc.per_rpc_retry_buffer_size", 16 << 20),
    # The backend is a neighbour: a proxy for the outside has no part in this.
    ("grpc.enable_http_proxy", 0),
)
_REJECTED = (
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.OUT_OF_RANGE,
    grpc.StatusCode.FAILED_PRECONDITION,
)
_UNAVAILABLE = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.ABORTED,
    # A server that ends cancels what it has not answered; what we cancel ourselves does not come this way.
    grpc.StatusCode.CANCELLED,
)


def translated(method: Callable[Arguments, Awaitable[Answer]]) -> Callable[Arguments, Coroutine[Any, Any, Answer]]:
    """Turns what gRPC and the tensor codec raise into the gateway's errors."""

    @functools.wraps(method)
    async def wrapper(*arguments: Arguments.args, **keywords: Arguments.kwargs) -> Answer:
        try:
            return await method(*arguments, **keywords)
        except grpc.aio.AioRpcError as error:
            raise _translate(error) from error
        except codec.TensorError as error:
            raise errors.BackendFailed(f"the backend answered with a broken tensor: {error}") from error

    return wrapper


def _translate(error: grpc.aio.AioRpcError) -> errors.GatewayError:
    code, text = error.code(), error.details() or ""
    upstream = (code.name, text)
    if code in _UNAVAILABLE:
        # gRPC's text names addresses; those are for the log, not for callers.
        return errors.BackendUnavailable(
            "the model server cannot be reached; retry later", retry_after=RETRY_AFTER, private=text
        )
    if code == grpc.StatusCode.DEADLINE_EXCEEDED:
        return errors.DeadlineExceeded("the model server did not answer in time")
    if code == grpc.StatusCode.NOT_FOUND:
        return errors.ModelNotFound(text, upstream=upstream)
    if code in _REJECTED:
        return errors.BackendRejected(f"the model refused the request: {text}", upstream=upstream)
    return errors.BackendFailed(f"the model server failed with {code.name}", private=text, upstream=upstream)


class TensorFlowServing:
    """Channels to the model servers."""

    def __init__(
        self, settings: BackendSettings, metrics: Metrics, interceptors: Sequence[grpc.aio.ClientInterceptor] = ()
    ) -> None:
        options = (*_CHANNEL_OPTIONS, ("grpc.service_config", service_config(settings)))
        self._channel = grpc.aio.insecure_channel(
            target(settings.addresses), options=options, interceptors=interceptors
        )
        # Each server by itself, as they need not have the same versions; a name is asked as one.
        self._servers = (
            {address: grpc.aio.insecure_channel(address, options=_CHANNEL_OPTIONS) for address in settings.addresses}
            if len(settings.addresses) > 1
            else {settings.address: self._channel}
        )
        self._prediction = PredictionServiceStub(self._channel)
        self._answer_to: Any = self._channel.unary_unary(_PREDICT, response_deserializer=tfs.PredictResponse.FromString)
        self._metrics = metrics
        self._patience = PATIENCE * settings.timeout
        self._settings = settings
        # One a version: a candidate that does not answer must not keep callers from stable.
        self._breakers: dict[tuple[str, int], Breaker] = {}
        self._open_breakers = 0
        self._hedging = Hedging(settings.hedge_after, metrics.backend_hedges.inc) if settings.hedge_after else None

    async def close(self) -> None:
        """Closes the connections; calls in flight end with BackendUnavailable."""
        await asyncio.gather(*(channel.close() for channel in {self._channel, *self._servers.values()}))

    async def versions(self, model: str) -> list[BackendVersion]:
        """The versions that the servers have in common, of those servers that have any."""
        answers = await asyncio.gather(
            *(self._ask(address, model) for address in self._servers), return_exceptions=True
        )
        known = [answer for answer in answers if not isinstance(answer, BaseException)]
        if not known:
            raise next(answer for answer in answers if isinstance(answer, BaseException))
        return in_common(known)

    async def _ask(self, address: str, model: str) -> list[BackendVersion]:
        """The versions that one server knows; none if it does not know the model."""
        up = self._metrics.backend_server_up.labels(address)
        try:
            answer = await self._versions(self._servers[address], model)
        except errors.ModelNotFound:
            answer = []
        except errors.GatewayError:
            up.set(0)
            raise
        up.set(1)
        return answer

    @translated
    async def _versions(self, channel: grpc.aio.Channel, model: str) -> list[BackendVersion]:
        request = tfs.GetModelStatusRequest(model_spec=tfs.ModelSpec(name=model))
        answer = await ModelServiceStub(channel).GetModelStatus(request, timeout=CONTROL_TIMEOUT)
        states = tfs.ModelVersionStatus
        return [
            BackendVersion(
                status.version,
                available=status.state == states.AVAILABLE,
                loading=status.state in (states.START, states.LOADING),
                detail=status.status.error_message or f"the model server says {states.State.Name(status.state)}",
            )
            for status in answer.model_version_status
        ]

    @translated
    async def signatures(self, model: str, version: int) -> dict[str, Signature]:
        """The signatures of a version by name; BackendFailed if the server's description makes no sense."""
        request = tfs.GetModelMetadataRequest(model_spec=wire.spec(model, version), metadata_field=["signature_def"])
        answer = await self._prediction.GetModelMetadata(request, timeout=CONTROL_TIMEOUT)
        described = tfs.SignatureDefMap()
        if not answer.metadata["signature_def"].Unpack(described):
            raise errors.BackendFailed("the model server's metadata holds no signature_def")
        return {
            name: Signature(
                name,
                {key: _tensor_spec(key, info) for key, info in definition.inputs.items()},
                {key: _tensor_spec(key, info) for key, info in definition.outputs.items()},
            )
            for name, definition in described.signature_def.items()
            # TensorFlow's own bookkeeping, which nobody calls.
            if not name.startswith("__saved_model")
        }

    async def predict(self, model: str, version: int, signature: str, inputs: Tensors, timeout: float) -> Tensors:
        """Runs a signature, within `timeout` seconds."""
        request = wire.request(model, version, signature, inputs)
        deadline = time.monotonic() + timeout
        return await self._guarded((model, version), lambda: self._predict(request, deadline - time.monotonic()))

    @translated
    async def _predict(self, request: bytes, timeout: float) -> Tensors:
        answer: tfs.PredictResponse = await self._answer_to(request, timeout=timeout)
        return {name: codec.to_numpy(proto) for name, proto in answer.outputs.items()}

    async def _guarded(self, version: tuple[str, int], call: Callable[[], Awaitable[Answer]]) -> Answer:
        """What a call that changes nothing returns, which may be sent twice, or not at all."""
        breaker = self._breakers.get(version) or self._new_breaker(version)
        breaker.check()
        started = time.monotonic()
        try:
            answer = await (self._hedging.run(call) if self._hedging else call())
        except errors.BackendUnavailable:
            breaker.failed()
            raise
        except (errors.DeadlineExceeded, asyncio.CancelledError):
            # Callers who wait for no more than a moment say nothing about the servers.
            if time.monotonic() - started >= self._patience:
                breaker.failed()
            raise
        except errors.GatewayError:
            breaker.succeeded()
            raise
        breaker.succeeded()
        return answer

    async def forward(self, method: str, request: bytes, timeout: float) -> bytes:
        """The answer to a request of TensorFlow Serving's protocol, neither of them parsed."""
        if method == _RELOAD:
            # Every server's business; the first failure is told.
            answers = await asyncio.gather(
                *(self._forward(channel, method, request, timeout) for channel in self._servers.values())
            )
            return answers[0]
        deadline = time.monotonic() + timeout
        return await self._guarded(
            _ANY, lambda: self._forward(self._channel, method, request, deadline - time.monotonic())
        )

    def _new_breaker(self, version: tuple[str, int]) -> Breaker:
        def on_change(is_open: bool) -> None:
            self._open_breakers += 1 if is_open else -1
            self._metrics.backend_breaker_open.set(self._open_breakers > 0)

        breaker = Breaker(self._settings.breaker_failures, self._settings.breaker_seconds, on_change=on_change)
        self._breakers[version] = breaker
        return breaker

    @translated
    async def _forward(self, channel: grpc.aio.Channel, method: str, request: bytes, timeout: float) -> bytes:
        call: Any = channel.unary_unary(method)
        answer: bytes = await call(request, timeout=timeout)
        return answer

    @translated
    async def labelled(self, model: str, label: str) -> int:
        """The version that a label points at; BackendRejected if there is no such label."""
        spec = tfs.ModelSpec(name=model, version_label=label)
        request = tfs.GetModelMetadataRequest(model_spec=spec, metadata_field=["signature_def"])
        answer = await self._prediction.GetModelMetadata(request, timeout=CONTROL_TIMEOUT)
        return answer.model_spec.version.value


def in_common(answers: Sequence[list[BackendVersion]]) -> list[BackendVersion]:
    """The versions of several servers as those of one: available only where all have it that have any.

    A server without any has just started, or serves other models; that must not take the model from the others.
    """
    having = [{version.number: version for version in answer} for answer in answers]
    having = [known for known in having if any(version.available for version in known.values())] or having
    versions = []
    for number in sorted({number for known in having for number in known}):
        found = [
            known.get(number, BackendVersion(number, available=False, loading=True, detail=_LACKING))
            for known in having
        ]
        versions.append(next((version for version in found if not version.available), found[0]))
    return versions


def _tensor_spec(name: str, info: tensorflow_pb2.TensorInfo) -> TensorSpec:
    # Resources and variants are types that no tensor on the wire can have.
    try:
        dtype = codec.element_type(info.dtype).numpy
    except codec.TensorError:
        dtype = np.dtype(np.void)
    shape = None if info.tensor_shape.unknown_rank else tuple(dim.size for dim in info.tensor_shape.dim)
    return TensorSpec(name, dtype, shape)
