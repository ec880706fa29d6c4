"""A server of fake models."""

import asyncio
import logging
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from serving.embedded.flags import Flags
from serving.embedded.server import serve
from tests.unit.serving.embedded.fakes import TIMEOUT, FakeLoader, FakeRecordFile, eventually, publish
from tests.unit.serving.embedded.running import UNLIMITED, Server


@pytest.fixture
def load() -> FakeLoader:
    """The loader of fake models."""
    return FakeLoader()


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A base path with version 1."""
    publish(tmp_path, "1")
    return tmp_path


@pytest.fixture
def start(load: FakeLoader, base: Path, caplog: pytest.LogCaptureFixture) -> Callable[..., Any]:
    """Starts a server of the model m at `base`; a signal stops it at the end."""
    caplog.set_level(logging.INFO)

    @asynccontextmanager
    async def start(**flags: Any) -> AsyncIterator[Server]:
        options = {"model_base_path": base, "model_name": "m", "port": 0, "max_num_load_retries": 0} | flags
        task = asyncio.create_task(serve(Flags(**options), load, FakeRecordFile.records, FakeRecordFile))
        await eventually(lambda: task.done() or any(text.startswith("serving gRPC on") for text in caplog.messages))
        if task.done():
            await task
        (address,) = (text.split()[-1] for text in caplog.messages if text.startswith("serving gRPC on"))
        try:
            async with grpc.aio.insecure_channel(address, UNLIMITED) as channel:
                yield Server(task, address, channel)
        finally:
            if not task.done():
                os.kill(os.getpid(), signal.SIGTERM)
                await asyncio.wait_for(task, TIMEOUT)

    return start
