"""tensorgate.v1.InferenceService."""

import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Iterable
from contextlib import aclosing
from typing import Any

import numpy as np
from google.protobuf import struct_pb2

from gateway import catalog as catalogs
from gateway import status, stream
from gateway.backend import TensorSpec
from gateway.call import Call, Serialized, current_call
from gateway.catalog import Catalog, State
from gateway.errors import DeadlineExceeded, GatewayError, InvalidInput, RequestTooLarge
from gateway.instances import Image, Instance, Pixels, Tensors, record
from gateway.metrics import Metrics
from gateway.predictor import Predictor, Query
from gateway.servicers import predictions, tensors
from gateway.servicers.access import authorized
from gateway.servicers.instance_errors import instance_error, located
from tensorgate.v1 import inference_service_pb2 as pb
from tensorgate.v1 import model_pb2
from tensorgate.v1.inference_service_pb2_grpc import InferenceServiceServicer

NAME = "tensorgate.v1.InferenceService"
_TASKS = {
    "classification": model_pb2.TASK_CLASSIFICATION,
    "regression": model_pb2.TASK_REGRESSION,
    "raw": model_pb2.TASK_RAW,
}
_STATES = {
    State.LOADING: model_pb2.MODEL_VERSION_STATE_LOADING,
    State.AVAILABLE: model_pb2.MODEL_VERSION_STATE_AVAILABLE,
    State.REFUSED: model_pb2.MODEL_VERSION_STATE_REFUSED,
    State.UNAVAILABLE: model_pb2.MODEL_VERSION_STATE_UNAVAILABLE,
}
_COLUMNS = {
    "number": model_pb2.COLUMN_TYPE_NUMBER,
    "string": model_pb2.COLUMN_TYPE_STRING,
    "boolean": model_pb2.COLUMN_TYPE_BOOLEAN,
}
_Question = tuple[int, pb.StreamPredictRequest | GatewayError]
_CHANNELS = (1, 3, 4)
# Seconds by which a timer may be early.
_TIMER_SLACK = 0.02
_DEFAULT_PAGE, _MAX_PAGE = 100, 1000


class Inference(InferenceServiceServicer):
    """Predict, StreamPredict, GetModel and ListModels."""

    def __init__(
        self,
        predictor: Predictor,
        catalog: Catalog,
        metrics: Metrics,
        *,
        default_timeout: float,
        max_stream_in_flight: int,
    ) -> None:
        self._predictor = predictor
        self._catalog = catalog
        self._metrics = metrics
        self._default_timeout = default_timeout
        self._max_stream_in_flight = max_stream_in_flight

    def Predict(self, request: pb.PredictRequest, context: Any) -> Awaitable[Serialized]:  # type: ignore[override]
        """Answers one or many instances, by a PredictResponse."""
        return self._predict(request)

    async def StreamPredict(
        self, requests: AsyncIterator[pb.StreamPredictRequest], context: Any
    ) -> AsyncIterator[pb.StreamPredictResponse]:
        """Answers a stream of requests."""
        answers = stream.answers(
            _numbered(requests),
            self._answer,
            in_order=lambda question: isinstance(question[1], pb.StreamPredictRequest) and question[1].in_order,
            max_in_flight=self._max_stream_in_flight,
        )
        async with aclosing(answers):
            async for answer in answers:
                yield answer

    async def _answer(self, question: _Question) -> pb.StreamPredictResponse:
        sequence, request = question
        call = current_call.get()
        response = pb.StreamPredictResponse(sequence=sequence)
        code = "OK"
        try:
            if isinstance(request, GatewayError):
                raise request
            response.tag = request.tag
            response.response.MergeFromString((await self._predict(request.request)).message)
        except GatewayError as error:
            if isinstance(error, DeadlineExceeded) and _is_over(call):
                # What ran out is the stream's own time.
                raise
            response.error.CopyFrom(instance_error(error))
            code = status.code(error).name
        self._metrics.stream_messages.labels(call.method, call.model, code).inc()
        return response

    async def _predict(self, request: pb.PredictRequest) -> Serialized:
        call = current_call.get()
        model = authorized(self._catalog, request.model).name
        waiting = call.enter(model)
        if waiting is not None:
            await waiting
        instances = _instances(request.instances)
        call.instances += len(instances)
        query = Query(model, instances, request.version, request.signature, request.top_k, call.sticky_key)
        result = await self._predictor.predict(query, call.deadline_within(self._default_timeout))
        call.answered_by(result.servable.version, result.variant)
        errors = [prediction for prediction in result.predictions if isinstance(prediction, GatewayError)]
        if errors:
            call.failed_instances += len(errors)
            for error in errors:
                self._metrics.instance_errors.labels(model, error.reason).inc()
            if len(errors) == len(instances):
                raise located(errors[0], "instances[0]")
        return Serialized(predictions.response(model, result.servable.version, result.predictions))

    async def GetModel(self, request: pb.GetModelRequest, context: Any) -> pb.GetModelResponse:
        """Describes one model."""
        return pb.GetModelResponse(model=_model(authorized(self._catalog, request.model)))

    async def ListModels(self, request: pb.ListModelsRequest, context: Any) -> pb.ListModelsResponse:
        """Lists the models that the caller may call."""
        if request.page_size < 0:
            raise InvalidInput(f"page_size is {request.page_size}; expected 0 or more", field="page_size")
        principal = current_call.get().principal
        names = sorted(name for name in self._catalog.models if principal.may("predict", name))
        if request.page_token:
            if request.page_token not in names:
                raise InvalidInput("page_token comes from no answer of this method", field="page_token")
            names = names[names.index(request.page_token) :]
        size = min(request.page_size or _DEFAULT_PAGE, _MAX_PAGE)
        page, rest = names[:size], names[size:]
        return pb.ListModelsResponse(
            models=[_model(self._catalog.models[name]) for name in page], next_page_token=rest[0] if rest else ""
        )


def _is_over(call: Call) -> bool:
    return call.deadline is not None and call.deadline <= time.monotonic() + _TIMER_SLACK


async def _numbered(requests: AsyncIterator[pb.StreamPredictRequest]) -> AsyncIterator[_Question]:
    """The requests with their places; one that cannot be read stands as its error."""
    for sequence in itertools.count():
        try:
            yield sequence, await anext(requests)
        except StopAsyncIteration:
            return
        except (InvalidInput, RequestTooLarge) as error:
            yield sequence, error


def _instances(messages: Iterable[pb.Instance]) -> list[Instance | GatewayError]:
    """Each instance, or what is wrong with it."""
    instances: list[Instance | GatewayError] = []
    for message in messages:
        try:
            instances.append(_instance(message))
        except GatewayError as error:
            instances.append(error)
    return instances


def _instance(instance: pb.Instance) -> Instance:
    kind = instance.WhichOneof("input")
    if kind == "image":
        return Image(instance.image)
    if kind == "pixels":
        return _pixels(instance.pixels)
    if kind == "tensor":
        return Tensors({None: tensors.to_numpy(instance.tensor)})
    if kind == "tensors":
        return Tensors({name: tensors.to_numpy(tensor) for name, tensor in instance.tensors.tensors.items()})
    if kind == "row":
        # Lists and structs are of no column's type; as they are, the pipeline says so.
        return record({name: _value(value) for name, value in instance.row.fields.items()})
    raise InvalidInput("the instance is empty; expected image, pixels, tensor, tensors or row", reason="INSTANCE_EMPTY")


def _value(value: struct_pb2.Value) -> Any:
    kind = value.WhichOneof("kind")
    if kind in ("list_value", "struct_value"):
        return [] if kind == "list_value" else {}
    return None if kind in (None, "null_value") else getattr(value, kind)


def _pixels(pixels: pb.Pixels) -> Pixels:
    channels = pixels.channels or 1
    shape = (pixels.height, pixels.width, channels)
    if pixels.height < 1 or pixels.width < 1 or channels not in _CHANNELS:
        raise InvalidInput(
            f"pixels of {shape[0]}×{shape[1]} with {channels} channels; expected sides above 0 and 1, 3 or 4 channels",
            reason="PIXELS_MALFORMED",
        )
    if len(pixels.data) != shape[0] * shape[1] * shape[2]:
        raise InvalidInput(
            f"pixels of {shape[0]}×{shape[1]} with {channels} channels need {shape[0] * shape[1] * shape[2]} bytes, "
            f"there are {len(pixels.data)}",
            reason="PIXELS_MALFORMED",
        )
    return Pixels(np.frombuffer(pixels.data, np.uint8).reshape(shape))


def _model(model: catalogs.Model) -> model_pb2.Model:
    default = model.default
    return model_pb2.Model(
        name=model.name,
        default_version=default.version if default else 0,
        versions=[_version(model.versions[number]) for number in sorted(model.versions, reverse=True)],
    )


def _version(version: catalogs.Version) -> model_pb2.ModelVersion:
    described = model_pb2.ModelVersion(
        version=version.number, state=_STATES[version.state], state_detail=version.detail
    )
    if version.servable is None:
        return described
    for name, signature in sorted(version.servable.signatures.items()):
        described.signatures.add(
            name=name,
            inputs=[_spec(spec) for _, spec in sorted(signature.inputs.items())],
            outputs=[_spec(spec) for _, spec in sorted(signature.outputs.items())],
        )
    contract, pipeline = version.servable.contract, version.servable.pipeline
    if contract is not None and pipeline is not None:
        described.contract.CopyFrom(
            model_pb2.Contract(
                task=_TASKS[contract.postprocessing.task],
                labels=contract.postprocessing.labels,
                accepts_images=pipeline.accepts_images,
                columns=[
                    model_pb2.Column(name=column.name, type=_COLUMNS[column.type], nullable=column.nullable)
                    for column in pipeline.columns
                ],
                preprocessing=[step.name for step in contract.preprocessing],
                signature=contract.signature,
                evaluation=contract.evaluation,
                lineage=contract.lineage,
            )
        )
    return described


def _spec(spec: TensorSpec) -> model_pb2.TensorSpec:
    return model_pb2.TensorSpec(
        name=spec.name, dtype=tensors.data_type(spec.dtype), shape=spec.shape or (), unknown_rank=spec.shape is None
    )
