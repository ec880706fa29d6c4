"""The REST API as an ASGI application: a request is read, the gRPC services' method answers, its answer is written.

Sources: tensorflow_serving/model_servers/{http_server,http_rest_api_handler}.cc.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from serving.embedded import inference
from serving.embedded.monitoring import Metrics
from serving.embedded.monitoring import Request as MeasuredRequest
from serving.embedded.predictions import Predictions, Received
from serving.embedded.servicers import ModelServicer
from serving.rest import answers
from serving.rest.bodies import unzipped
from serving.rest.errors import SignatureNotDefined, TimedOut
from serving.rest.http_status import http_status
from serving.rest.paths import target
from serving.rest.requests import InputsOf, read_examples, read_predict
from serving.wire import tensorflow_pb2 as tf
from serving.wire import tensorflow_serving_pb2 as tfs
from serving.wire.errors import ServingError

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

_DEFAULT_SIGNATURE = "serving_default"
_MAX_UNZIPPED_BYTES = 100 << 20
# What is smaller is read and written in less time than another thread takes to do so.
_SMALL_BYTES = 16 << 10
_CORS = {
    "access-control-allow-origin": "*",
    "access-control-allow-methods": "POST, GET",
    "access-control-allow-headers": "Content-Type",
}


@dataclass(frozen=True, kw_only=True)
class RestOptions:
    """How the API behaves."""

    timeout: float | None
    """Seconds that an answer may take; None for any."""
    cors: bool
    """Whether pages from anywhere may call it."""
    metrics_path: str | None
    """Where Prometheus finds the metrics, if anywhere."""


class RestApi:
    """The application; large bodies are read, and large answers written, on `workers`."""

    def __init__(
        self,
        predictions: Predictions,
        models: ModelServicer,
        metrics: Metrics,
        workers: Executor,
        options: RestOptions,
    ) -> None:
        self._predictions = predictions
        self._models = models
        self._metrics = metrics
        self._workers = workers
        self._options = options
        self._headers = {"content-type": "application/json"} | (_CORS if options.cors else {})
        self._methods: dict[str, Callable[[tfs.ModelSpec, bytes, MeasuredRequest], Awaitable[str]]] = {
            "predict": self._predict,
            "classify": self._classify,
            "regress": self._regress,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request."""
        request = Request(scope, receive)
        path = scope["raw_path"].decode("latin-1")
        if path == self._options.metrics_path and request.method == "GET":
            response = Response(self._metrics.page(), headers={"content-type": CONTENT_TYPE_PLAIN_0_0_4})
        elif request.method == "OPTIONS" and self._options.cors:
            response = Response(headers=self._headers)
        elif not path.lower().startswith("/v1/"):
            response = self._failure(404, "Not Found")
        else:
            try:
                response = await self._respond(request, path)
            except ClientDisconnect:
                return
        await response(scope, receive, send)

    async def _respond(self, request: Request, path: str) -> Response:
        body = await request.body()
        try:
            text = await self._answer(request, path, body)
        except ServingError as error:
            return self._failure(http_status(error.code), error.text)
        except Exception:
            logger.exception("%s %s failed", request.method, path)
            return self._failure(500, "internal error")
        return Response(text, headers=self._headers)

    def _failure(self, status: int, text: str) -> Response:
        return Response(answers.error(text), status, headers=self._headers)

    async def _answer(self, request: Request, path: str, body: bytes) -> str:
        method, spec = target(request.method, path)
        if method == "status":
            return answers.status(await self._models.GetModelStatus(tfs.GetModelStatusRequest(model_spec=spec), None))
        if method == "metadata":
            asked = tfs.GetModelMetadataRequest(model_spec=spec, metadata_field=["signature_def"])
            return answers.metadata(self._predictions.metadata(asked))
        with self._metrics.request(spec.name, method, "REST") as measured:
            try:
                async with asyncio.timeout(self._options.timeout):
                    if "gzip" in request.headers.get("content-encoding", ""):
                        body = await self._offload(_MAX_UNZIPPED_BYTES, partial(unzipped, body, _MAX_UNZIPPED_BYTES))
                    return await self._methods[method](spec, body, measured)
            except TimeoutError:
                raise TimedOut from None

    async def _predict(self, spec: tfs.ModelSpec, body: bytes, measured: MeasuredRequest) -> str:
        inputs_of = self._inputs_of(spec)
        read = await self._offload(len(body), lambda: read_predict(body, inputs_of))
        spec.signature_name = read.signature
        asked = inference.Predict(spec, (), lambda: read.inputs, lambda: read.message(spec))
        answer = await self._predictions.answer(spec, inference.predict, Received(asked, len(body)), measured)
        write = answers.rows if read.rows else answers.columns
        size = sum(array.nbytes for array in answer.outputs.values())
        return await self._offload(size, lambda: write(answer.outputs))

    async def _classify(self, spec: tfs.ModelSpec, body: bytes, measured: MeasuredRequest) -> str:
        request = tfs.ClassificationRequest(model_spec=spec)
        await self._offload(len(body), lambda: read_examples(body, request))
        received = Received(request, len(body))
        response = await self._predictions.answer(spec, inference.classify, received, measured)
        return await self._offload(response.ByteSize(), lambda: answers.classification(response.result))

    async def _regress(self, spec: tfs.ModelSpec, body: bytes, measured: MeasuredRequest) -> str:
        request = tfs.RegressionRequest(model_spec=spec)
        await self._offload(len(body), lambda: read_examples(body, request))
        received = Received(request, len(body))
        response = await self._predictions.answer(spec, inference.regress, received, measured)
        return await self._offload(response.ByteSize(), lambda: answers.regression(response.result))

    def _inputs_of(self, spec: tfs.ModelSpec) -> InputsOf:
        """Looks the model up now, on its event loop, for use on a worker; as in TFS the body's faults come first."""
        try:
            signatures = self._predictions.find(spec).servable.signatures
        except ServingError as error:
            failure = error

            def fail(_: str) -> Mapping[str, tf.TensorInfo]:
                raise failure

            return fail

        def inputs_of(key: str) -> Mapping[str, tf.TensorInfo]:
            try:
                return signatures[key or _DEFAULT_SIGNATURE].inputs
            except KeyError:
                raise SignatureNotDefined(key or _DEFAULT_SIGNATURE) from None

        return inputs_of

    async def _offload(self, size: int, work: Callable[[], Result]) -> Result:
        if size <= _SMALL_BYTES:
            return work()
        return await asyncio.get_running_loop().run_in_executor(self._workers, work)
