"""A running server of fake models, and what tests ask it."""

import asyncio
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import numpy as np
import pytest

from serving.wire import tensorflow_serving_pb2 as tfs
from serving.wire import tensorflow_serving_pb2_grpc as tfs_grpc
from serving.wire.codec import to_proto
from tests.unit.serving.embedded.fakes import TIMEOUT

UNLIMITED = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


class Server:
    """A running server, and a channel to it."""

    def __init__(self, task: asyncio.Task[None], address: str, channel: grpc.aio.Channel) -> None:
        self.task = task
        self.address = address
        self.channel = channel
        self.predictions = tfs_grpc.PredictionServiceStub(channel)
        self.models = tfs_grpc.ModelServiceStub(channel)

    async def predict(self, **spec: Any) -> tfs.PredictResponse:
        """Asks the model m for 1 + 1; `spec` says which version and signature."""
        request = tfs.PredictRequest(inputs={"x": to_proto(np.float32([1]))})
        set_spec(request, **{"name": "m"} | spec)
        return await self.predictions.Predict(request, timeout=TIMEOUT)


def set_spec(request: Any, *, version: int | None = None, **spec: str) -> None:
    """Sets a request's model_spec."""
    request.model_spec.MergeFrom(tfs.ModelSpec(**spec))
    if version is not None:
        request.model_spec.version.value = version


async def fails(call: Any) -> tuple[str, str]:
    """The code and text that a call fails with."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value.code().name, caught.value.details()


def reload_request(**bases: Path) -> tfs.ReloadConfigRequest:
    """A configuration of models by name, each at its base path."""
    request = tfs.ReloadConfigRequest()
    for name, base in bases.items():
        request.config.model_config_list.config.add(name=name, base_path=str(base), model_platform="tensorflow")
    return request
