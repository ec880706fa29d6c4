"""The asynchronous client."""

from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Self

import grpc
import grpc.aio

from tensorgate.channel import DEFAULT_ADDRESS, DEFAULT_TIMEOUT, OPTIONS, Target
from tensorgate.channel import metadata as metadata_of
from tensorgate.errors import from_rpc
from tensorgate.monitoring import Drift, Quality, drift, qualities, quality_request
from tensorgate.requests import Instance, Truth, feedback_stream, predict_request, stream_request, to_feedback
from tensorgate.results import FeedbackSummary, Model, Prediction, outcome, prediction, streamed, summary
from tensorgate.v1 import feedback_service_pb2 as feedback_pb
from tensorgate.v1 import inference_service_pb2 as pb
from tensorgate.v1.drift_service_pb2 import GetDriftRequest
from tensorgate.v1.drift_service_pb2_grpc import DriftServiceStub
from tensorgate.v1.feedback_service_pb2_grpc import FeedbackServiceStub
from tensorgate.v1.inference_service_pb2_grpc import InferenceServiceStub
from tensorgate.v1.quality_service_pb2_grpc import QualityServiceStub


class AsyncClient:
    """One connection to a gateway; for one event loop. Every method may raise TensorgateError.

    `timeout` is in seconds and bounds each call that sets none of its own. `metadata` goes with every call: what stands
    in front of the gateway may want a token of its own.
    """

    def __init__(
        self,
        address: str = DEFAULT_ADDRESS,
        *,
        key: str | None = None,
        tls: bool | str | Path = False,
        timeout: float = DEFAULT_TIMEOUT,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        credentials = Target(address, tls).credentials()
        self._channel = (
            grpc.aio.secure_channel(address, credentials, OPTIONS)
            if credentials
            else grpc.aio.insecure_channel(address, OPTIONS)
        )
        self._stub = InferenceServiceStub(self._channel)
        self._feedback = FeedbackServiceStub(self._channel)
        self._quality = QualityServiceStub(self._channel)
        self._drift = DriftServiceStub(self._channel)
        self._metadata = metadata_of(key, metadata)
        self._timeout = timeout

    async def predict(
        self,
        instance: Instance,
        *,
        model: str = "",
        version: int = 0,
        signature: str = "",
        top_k: int = 0,
        timeout: float | None = None,
    ) -> Prediction:
        """The answer to one instance. An empty model means the only one, version 0 the one the gateway routes to."""
        answers = await self.predict_batch(
            [instance], model=model, version=version, signature=signature, top_k=top_k, timeout=timeout
        )
        return answers[0]

    async def predict_batch(
        self,
        instances: Sequence[Instance],
        *,
        model: str = "",
        version: int = 0,
        signature: str = "",
        top_k: int = 0,
        timeout: float | None = None,
    ) -> list[Prediction]:
        """The answers to several instances, in order; one that failed has `error`. Raises if all did."""
        request = predict_request(instances, model=model, version=version, signature=signature, top_k=top_k)
        try:
            answer = await self._stub.Predict(request, timeout=timeout or self._timeout, metadata=self._metadata)
        except grpc.aio.AioRpcError as error:
            raise from_rpc(error) from error
        return [prediction(answer, place) for place in range(len(answer.predictions))]

    async def stream(
        self,
        instances: Iterable[Instance] | AsyncIterable[Instance],
        *,
        model: str = "",
        version: int = 0,
        signature: str = "",
        top_k: int = 0,
        in_order: bool = True,
        timeout: float | None = None,
    ) -> AsyncGenerator[Prediction, None]:
        """The answer to each instance, while more are sent: for data that comes by and by, or that no batch can hold.

        Answers come in order, or as soon as they are there; `Prediction.sequence` says whose each is. One that failed
        has `error`, and the stream goes on. `timeout` bounds the whole stream; None does not. What `instances` raises
        is raised after the answers to those before.
        """
        failures: list[Exception] = []

        async def requests() -> AsyncIterator[pb.StreamPredictRequest]:
            try:
                async for instance in _each(instances):
                    yield stream_request(
                        instance, model=model, version=version, signature=signature, top_k=top_k, in_order=in_order
                    )
            except Exception as error:
                failures.append(error)

        call = self._stub.StreamPredict(requests(), timeout=timeout, metadata=self._metadata)
        try:
            async for answer in call:
                yield streamed(answer)
        except grpc.aio.AioRpcError as error:
            raise from_rpc(error) from error
        finally:
            call.cancel()
        if failures:
            raise failures[0]

    async def feedback(
        self, receipt: str, truth: Truth, *, observed_at: datetime | None = None, timeout: float | None = None
    ) -> str:
        """Says what the prediction with this id should have been; returns booked, changed or unchanged.

        `truth` is a class's name (str) or place (int), or a regression's value (float); `observed_at` (UTC if it has no
        zone) when it was known, if that is not now.
        """
        request = feedback_pb.SubmitFeedbackRequest(feedback=[to_feedback(receipt, truth, observed_at)])
        try:
            answer = await self._feedback.SubmitFeedback(
                request, timeout=timeout or self._timeout, metadata=self._metadata
            )
        except grpc.aio.AioRpcError as error:
            raise from_rpc(error) from error
        return outcome(answer)

    async def feedback_batch(
        self, labels: Iterable[tuple[str, Truth]], *, timeout: float | None = None
    ) -> FeedbackSummary:
        """Sends any number of labels, each with its prediction's id, and returns once all are kept.

        Should it fail, or `labels` raise, some may have been; to send them all again is safe. `timeout` bounds the
        whole; None does not.
        """
        failures: list[Exception] = []
        try:
            answer = await self._feedback.StreamFeedback(
                feedback_stream(labels, failures), timeout=timeout, metadata=self._metadata
            )
        except grpc.aio.AioRpcError as error:
            raise from_rpc(error) from error
        if failures:
            raise failures[0]
        return summary(answer)

    async def get_model(self, name: str = "") -> Model:
        """The model called `name`, or the only one."""
        try:
            answer = await self._stub.GetModel(
                pb.GetModelRequest(model=name), timeout=self._timeout, metadata=self._metadata
            )
        except grpc.aio.AioRpcError as error:
            raise from_rpc(error) from error
        return Model(answer.model.name, answer.model.default_version, answer.model)

    async def list_models(self) -> list[Model]:
        """The models that the key may call."""
        models: list[Model] = []
        token = ""
        while True:
            try:
                answer = await self._stub.ListModels(
                    pb.ListModelsRequest(page_token=token), timeout=self._timeout, metadata=self._metadata
                )
            except grpc.aio.AioRpcError as error:
                raise from_rpc(error) from error
            models += [Model(model.name, model.default_version, model) for model in answer.models]
            token = answer.next_page_token
            if not token:
                return models

    async def quality(self, model: str = "", *, version: int = 0, window: str = "") -> list[Quality]:
        """How good each version of a model is, by the labels that came back; sorted by version, variant and window.

        `window` is 1h, 24h, 7d or all, of the time that predictions were made; empty for each of them. Version 0 means
        all versions.
        """
        request = quality_request(model, version, window)
        try:
            answer = await self._quality.GetQuality(request, timeout=self._timeout, metadata=self._metadata)
        except grpc.aio.AioRpcError as error:
            raise from_rpc(error) from error
        return qualities(answer)

    async def drift(self, model: str = "", *, version: int = 0) -> Drift:
        """Whether a version is asked, and answers, as on its held-out data. Version 0 means the one routed to."""
        request = GetDriftRequest(model=model, version=version)
        try:
            answer = await self._drift.GetDrift(request, timeout=self._timeout, metadata=self._metadata)
        except grpc.aio.AioRpcError as error:
            raise from_rpc(error) from error
        return drift(answer)

    async def close(self) -> None:
        """Closes the connection; calls in flight end with an error."""
        await self._channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


async def _each(instances: Iterable[Instance] | AsyncIterable[Instance]) -> AsyncIterator[Instance]:
    if isinstance(instances, AsyncIterable):
        async for instance in instances:
            yield instance
    else:
        for instance in instances:
            yield instance
