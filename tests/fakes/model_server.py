"""A model server without TensorFlow: TFS's protocol over gRPC, behaviour under the test's control."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any

import grpc
import grpc.aio
import numpy as np
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from serving import contract as contracts
from serving.wire import codec, tensorflow_pb2
from serving.wire import tensorflow_serving_pb2 as tfs
from serving.wire.tensorflow_serving_pb2_grpc import (
    ModelServiceServicer,
    PredictionServiceServicer,
    add_ModelServiceServicer_to_server,
    add_PredictionServiceServicer_to_server,
)

# Seconds for which a server is away that a version brought down.
DOWN = 0.1
Spec = tuple[type[Any], tuple[int, ...]]


def signature_def(inputs: Mapping[str, Spec], outputs: Mapping[str, Spec]) -> tensorflow_pb2.SignatureDef:
    """A SignatureDef of tensors by name, each a numpy type and a shape."""
    definition = tensorflow_pb2.SignatureDef(method_name="tensorflow/serving/predict")
    for tensors, described in ((inputs, definition.inputs), (outputs, definition.outputs)):
        for name, (dtype, shape) in tensors.items():
            described[name].dtype = codec.element_type_of(np.empty(0, dtype)).code
            for size in shape:
                described[name].tensor_shape.dim.add(size=size)
    return definition


IMAGES = signature_def({"image": (np.float32, (-1, 28, 28))}, {"probabilities": (np.float32, (-1, 10))})
CONTRACT = signature_def({contracts.VERSIONS_INPUT: (object, (-1,))}, {contracts.JSON_OUTPUT: (object, (-1,))})


def brightest_row(image: np.ndarray) -> np.ndarray:
    """The fake digit classifier: nearly sure of the class whose band of rows is the brightest."""
    bands = np.stack([band.mean(axis=(1, 2)) for band in np.array_split(image, 10, axis=1)], axis=1)
    scores = np.full(bands.shape, 0.01, np.float32)
    scores[np.arange(len(bands)), bands.argmax(axis=1)] = 0.91
    return scores


@dataclass
class FakeModel:
    """One model: which versions are AVAILABLE, what they say, and how they behave."""

    versions: list[int] = field(default_factory=lambda: [1])
    contract: str | None = None
    """The contract's JSON; None for a model that carries none."""
    signatures: dict[str, tensorflow_pb2.SignatureDef] = field(default_factory=lambda: {"serving_default": IMAGES})
    compute: Callable[[Mapping[str, np.ndarray]], Mapping[str, np.ndarray]] | None = None
    """Its outputs by its inputs; None for digits of images, and inputs given back."""
    states: dict[int, int] = field(default_factory=dict)
    """States other than AVAILABLE."""
    labels: dict[str, int] = field(default_factory=dict)


class FakeModelServer(PredictionServiceServicer, ModelServiceServicer):
    """Serves `models` on a port and a thread of its own; stop and start it to see what a client makes of that."""

    def __init__(self, **models: FakeModel) -> None:
        self.models = models
        self.host, self.port = "127.0.0.1", 0
        self.delay = 0.0
        self.error: tuple[grpc.StatusCode, str] | None = None
        self.delays: dict[int, float] = {}
        self.errors: dict[int, tuple[grpc.StatusCode, str]] = {}
        self.computes: dict[int, Callable[[np.ndarray], np.ndarray]] = {}
        """How versions behave that are not as the others."""
        self.crashes: set[int] = set()
        """Versions that bring the server down, which comes back a moment later."""
        self.asked: list[int] = []
        """The version of every Predict but those for the contract."""
        self.garbage: tfs.PredictResponse | None = None
        self.compute = brightest_row
        self.batches: list[int] = []
        """Rows of every Predict but those for the contract."""
        self.cancelled = 0
        self.health: health.aio.HealthServicer | None = None
        """grpc.health.v1, which TFS has only if asked."""
        self.timeouts: list[float | None] = []
        self.last: tfs.PredictRequest | None = None
        """The last Predict as it came."""
        self.metadata: dict[str, str | bytes] = {}
        """What came with it."""
        self._released = asyncio.Event()
        self._released.set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._server: grpc.aio.Server | None = None
        self._restarting: asyncio.Task[None] | None = None

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"

    def start(self) -> None:
        """Listens; on the same port as before, if it was started before."""
        self._run(self._start())

    def stop(self) -> None:
        """Breaks every connection at once."""
        if self._server is not None:
            self._run(self._server.stop(None))
            self._server = None

    def close(self) -> None:
        """Stops for good."""
        self.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def hold(self) -> None:
        """Lets no Predict be answered until `release`."""
        self._loop.call_soon_threadsafe(self._released.clear)

    def release(self) -> None:
        """Answers what was held."""
        self._loop.call_soon_threadsafe(self._released.set)

    def tell(self, service: str, *, serving: bool) -> None:
        """Sets the health of a service."""
        states = health_pb2.HealthCheckResponse
        assert self.health is not None
        self._run(self.health.set(service, states.SERVING if serving else states.NOT_SERVING))

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=30)

    async def _start(self) -> None:
        self._server = grpc.aio.server(options=(("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", -1)))
        add_PredictionServiceServicer_to_server(self, self._server)
        add_ModelServiceServicer_to_server(self, self._server)
        if self.health is not None:
            health_pb2_grpc.add_HealthServicer_to_server(self.health, self._server)
        self.port = self._server.add_insecure_port(self.address)
        await self._server.start()

    def _crash(self, version: int) -> None:
        if version in self.crashes and self._server:
            self._restarting = asyncio.create_task(self._restart(self._server))
            self._server = None

    async def _restart(self, server: grpc.aio.Server) -> None:
        await server.stop(None)
        await asyncio.sleep(DOWN)
        await self._start()

    async def GetModelStatus(self, request: tfs.GetModelStatusRequest, context: Any) -> tfs.GetModelStatusResponse:
        model = await self._model(request.model_spec, context)
        available = tfs.ModelVersionStatus.AVAILABLE
        return tfs.GetModelStatusResponse(
            model_version_status=[
                tfs.ModelVersionStatus(version=version, state=model.states.get(version, available))
                for version in model.versions
            ]
        )

    async def GetModelMetadata(
        self, request: tfs.GetModelMetadataRequest, context: Any
    ) -> tfs.GetModelMetadataResponse:
        model = await self._model(request.model_spec, context)
        signatures = model.signatures | ({"contract": CONTRACT} if model.contract is not None else {})
        version = model.labels.get(request.model_spec.version_label) or request.model_spec.version.value
        response = tfs.GetModelMetadataResponse(
            model_spec=tfs.ModelSpec(name=request.model_spec.name, version={"value": version})
        )
        response.metadata["signature_def"].Pack(tfs.SignatureDefMap(signature_def=signatures))
        return response

    async def Predict(self, request: tfs.PredictRequest, context: Any) -> tfs.PredictResponse:
        model = await self._model(request.model_spec, context)
        self.last = request
        try:
            inputs = {name: codec.to_numpy(tensor) for name, tensor in request.inputs.items()}
        except codec.TensorError:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "tensor parsing error")
        if request.model_spec.signature_name == contracts.SIGNATURE:
            answer = np.array([(model.contract or "").encode()], object)
            return _response({contracts.JSON_OUTPUT: answer})
        if not inputs:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "input size does not match signature")
        if "image" in inputs and inputs["image"].ndim != 3:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "a shape that the model refuses")
        rows = next(iter(inputs.values())).shape[0]
        version = request.model_spec.version.value
        self.batches.append(rows)
        self.metadata = dict(context.invocation_metadata())
        self.asked.append(version)
        self.timeouts.append(context.time_remaining())
        self._crash(version)
        try:
            await asyncio.sleep(self.delays.get(version, self.delay))
            await self._released.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if error := self.errors.get(version, self.error):
            await context.abort(*error)
        if self.garbage is not None:
            return self.garbage
        if "image" in inputs and (inputs["image"] == 666).any():
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "a row that the model refuses")
        return _response(self._outputs(model, version, inputs))

    def _outputs(self, model: FakeModel, version: int, inputs: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        if model.compute is not None:
            return model.compute(inputs)
        if "image" in inputs:
            return {"probabilities": self.computes.get(version, self.compute)(inputs["image"])}
        return {f"{name}_out": array for name, array in inputs.items()}

    async def HandleReloadConfigRequest(
        self, request: tfs.ReloadConfigRequest, context: Any
    ) -> tfs.ReloadConfigResponse:
        return tfs.ReloadConfigResponse(status=tfs.StatusProto())

    async def _model(self, spec: tfs.ModelSpec, context: Any) -> FakeModel:
        model = self.models.get(spec.name)
        if model is None or not model.versions:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"Could not find any versions of model {spec.name}")
        if spec.HasField("version") and spec.version.value not in model.versions:
            text = f"Servable not found for request: Specific({spec.name}, {spec.version.value})"
            await context.abort(grpc.StatusCode.NOT_FOUND, text)
        if spec.version_label and spec.version_label not in model.labels:
            text = f"Unrecognized servable version label: {spec.version_label}"
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, text)
        return model


def _response(outputs: Mapping[str, np.ndarray]) -> tfs.PredictResponse:
    response = tfs.PredictResponse()
    for name, array in outputs.items():
        response.outputs[name].CopyFrom(codec.to_proto(np.asarray(array), typed=True))
    return response
