"""tensorgate.v1.InferenceService."""

import itertools
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import grpc
import grpc.aio

from gateway import catalog as catalogs
from gateway import status, stream
from gateway.backend import TensorSpec
from gateway.call import Call, current_call
from gateway.catalog import Catalog, State
from gateway.errors import DeadlineExceeded, GatewayError, InvalidInput, RequestTooLarge
from gateway.metrics import Metrics
from gateway.predictor import Predictor, Query
from gateway.servicers import predict_requests, predictions, tensors
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
        self._requests = predict_requests.PredictRequests()

    def register(self, server: grpc.aio.Server) -> None:
        """Adds the service to a server."""
        handlers: dict[str, Any] = {
            "Predict": grpc.unary_unary_rpc_method_handler(self._predict, self._requests.read),
            "StreamPredict": grpc.stream_stream_rpc_method_handler(
                self.StreamPredict, pb.StreamPredictRequest.FromString, pb.StreamPredictResponse.SerializeToString
            ),
            "GetModel": grpc.unary_unary_rpc_method_handler(
                self.GetModel, pb.GetModelRequest.FromString, pb.GetModelResponse.SerializeToString
            ),
            "ListModels": grpc.unary_unary_rpc_method_handler(
                self.ListModels, pb.ListModelsRequest.FromString, pb.ListModelsResponse.SerializeToString
            ),
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(NAME, handlers),))

    async def Predict(self, request: pb.PredictRequest, context: Any) -> pb.PredictResponse:
        """Answers one or many instances."""
        return pb.PredictResponse.FromString(await self._predict(predict_requests.query(request)))

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
            response.response.MergeFromString(await self._predict(predict_requests.query(request.request)))
        except GatewayError as error:
            if isinstance(error, DeadlineExceeded) and _is_over(call):
                # What ran out is the stream's own time.
                raise
            response.error.CopyFrom(instance_error(error))
            code = status.code(error).name
        self._metrics.stream_messages.labels(call.method, call.model, code).inc()
        return response

    async def _predict(self, query: Query, context: Any = None) -> bytes:
        """The PredictResponse, serialized."""
        call = current_call.get()
        model = authorized(self._catalog, query.model).name
        waiting = call.enter(model)
        if waiting is not None:
            await waiting
        count = len(query.instances)
        call.instances += count
        if call.sticky_key:
            query = query._replace(sticky_key=call.sticky_key)
        route, predicted = await self._predictor.predict(query, call.deadline_within(self._default_timeout))
        version = route.servable.version
        call.answered_by(version, route.variant)
        errors = [prediction for prediction in predicted if isinstance(prediction, GatewayError)]
        if errors:
            call.failed_instances += len(errors)
            for error in errors:
                self._metrics.instance_errors.labels(model, error.reason).inc()
            if len(errors) == count:
                raise located(errors[0], "instances[0]")
        return predictions.response(model, version, predicted)

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
