"""The prediction service, measured."""

# ruff: noqa: N802  # names are gRPC's

from collections.abc import Awaitable
from typing import Any, TypeVar

from serving.embedded.monitoring import Metrics
from serving.embedded.servicers import PredictionServicer
from serving.wire import tensorflow_serving_pb2 as tfs
from serving.wire import tensorflow_serving_pb2_grpc as tfs_grpc

Response = TypeVar(
    "Response", tfs.PredictResponse, tfs.ClassificationResponse, tfs.RegressionResponse, tfs.MultiInferenceResponse
)


class MeteredPredictionServicer(tfs_grpc.PredictionServiceServicer):
    """Counts and times the calls that run a model, under the names that TFS has for them."""

    def __init__(self, servicer: PredictionServicer, metrics: Metrics) -> None:
        self._servicer = servicer
        self._metrics = metrics

    async def Predict(self, request: tfs.PredictRequest, context: Any) -> tfs.PredictResponse:
        """See PredictionServicer.Predict."""
        return await self._measured("Predict", request.model_spec, self._servicer.Predict(request, context))

    async def Classify(self, request: tfs.ClassificationRequest, context: Any) -> tfs.ClassificationResponse:
        """See PredictionServicer.Classify."""
        return await self._measured("Classify", request.model_spec, self._servicer.Classify(request, context))

    async def Regress(self, request: tfs.RegressionRequest, context: Any) -> tfs.RegressionResponse:
        """See PredictionServicer.Regress."""
        return await self._measured("Regress", request.model_spec, self._servicer.Regress(request, context))

    async def MultiInference(self, request: tfs.MultiInferenceRequest, context: Any) -> tfs.MultiInferenceResponse:
        """See PredictionServicer.MultiInference."""
        spec = request.tasks[0].model_spec if request.tasks else tfs.ModelSpec()
        return await self._measured("MultiInference", spec, self._servicer.MultiInference(request, context))

    async def GetModelMetadata(
        self, request: tfs.GetModelMetadataRequest, context: Any
    ) -> tfs.GetModelMetadataResponse:
        """See PredictionServicer.GetModelMetadata; no model runs."""
        return await self._servicer.GetModelMetadata(request, context)

    async def _measured(self, api: str, spec: tfs.ModelSpec, call: Awaitable[Response]) -> Response:
        with self._metrics.request(spec.name, api, "GRPC") as measured:
            response = await call
            resolved = response.results[0] if isinstance(response, tfs.MultiInferenceResponse) else response
            measured.version = str(resolved.model_spec.version.value)
            return response
