"""TensorFlow Serving, or whatever speaks its protocol, as a Backend over gRPC."""

import functools
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, ParamSpec, TypeVar

import grpc
import grpc.aio
import numpy as np

from gateway import errors
from gateway.backend import BackendVersion, Signature, Tensors, TensorSpec
from serving.wire import codec, tensorflow_pb2
from serving.wire import tensorflow_serving_pb2 as tfs
from serving.wire.tensorflow_serving_pb2_grpc import ModelServiceStub, PredictionServiceStub

Answer = TypeVar("Answer")
Arguments = ParamSpec("Arguments")

# Seconds for the small questions about models; an answer that takes longer is no answer.
CONTROL_TIMEOUT = 5.0
RETRY_AFTER = 1.0
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
    # The backend is a neighbour: a proxy for the outside has no part in this.
    ("grpc.enable_http_proxy", 0),
)
_REJECTED = (
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.OUT_OF_RANGE,
    grpc.StatusCode.FAILED_PRECONDITION,
)
_UNAVAILABLE = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.ABORTED)


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
    """A channel to one model server."""

    def __init__(self, address: str) -> None:
        self._channel = grpc.aio.insecure_channel(address, options=_CHANNEL_OPTIONS)
        self._prediction = PredictionServiceStub(self._channel)
        self._model = ModelServiceStub(self._channel)

    async def close(self) -> None:
        """Closes the channel; calls in flight end with BackendUnavailable."""
        await self._channel.close()

    async def versions(self, model: str) -> list[BackendVersion]:
        """The versions that the server knows; none if it does not know the model."""
        try:
            return await self._versions(model)
        except errors.ModelNotFound:
            return []

    @translated
    async def _versions(self, model: str) -> list[BackendVersion]:
        request = tfs.GetModelStatusRequest(model_spec=tfs.ModelSpec(name=model))
        answer = await self._model.GetModelStatus(request, timeout=CONTROL_TIMEOUT)
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
        request = tfs.GetModelMetadataRequest(model_spec=_spec(model, version), metadata_field=["signature_def"])
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

    @translated
    async def predict(self, model: str, version: int, signature: str, inputs: Tensors, timeout: float) -> Tensors:
        """Runs a signature, within `timeout` seconds."""
        request = tfs.PredictRequest(model_spec=_spec(model, version, signature))
        for name, array in inputs.items():
            request.inputs[name].CopyFrom(codec.to_proto(array))
        answer = await self._prediction.Predict(request, timeout=timeout)
        return {name: codec.to_numpy(proto) for name, proto in answer.outputs.items()}

    @translated
    async def forward(self, method: str, request: bytes, timeout: float) -> bytes:
        """The answer to a request of TensorFlow Serving's protocol, neither of them parsed."""
        call: Any = self._channel.unary_unary(method)
        answer: bytes = await call(request, timeout=timeout)
        return answer

    @translated
    async def labelled(self, model: str, label: str) -> int:
        """The version that a label points at; BackendRejected if there is no such label."""
        spec = tfs.ModelSpec(name=model, version_label=label)
        request = tfs.GetModelMetadataRequest(model_spec=spec, metadata_field=["signature_def"])
        answer = await self._prediction.GetModelMetadata(request, timeout=CONTROL_TIMEOUT)
        return answer.model_spec.version.value


def _spec(model: str, version: int, signature: str = "") -> tfs.ModelSpec:
    spec = tfs.ModelSpec(name=model, signature_name=signature)
    spec.version.value = version
    return spec


def _tensor_spec(name: str, info: tensorflow_pb2.TensorInfo) -> TensorSpec:
    # Resources and variants are types that no tensor on the wire can have.
    try:
        dtype = codec.element_type(info.dtype).numpy
    except codec.TensorError:
        dtype = np.dtype(np.void)
    shape = None if info.tensor_shape.unknown_rank else tuple(dim.size for dim in info.tensor_shape.dim)
    return TensorSpec(name, dtype, shape)
