"""A service as a process, on each transport."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from stack.processes import Child
from tests.fakes.transport_service import SERVICE
from tests.integration.conftest import TIMEOUT

UNLIMITED = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


class Service:
    """A running service."""

    def __init__(self, transport: str, log: Path, *tls: Path) -> None:
        command = [sys.executable, "-m", "tests.fakes.transport_service", transport, *map(str, tls)]
        self.process = Child(transport, command, log)
        self.transport = transport
        self.address = self.process.wait_for("serving on ", TIMEOUT).split()[-1]

    def resident_kilobytes(self) -> int:
        """The process's memory."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1])


@pytest.fixture(scope="module", params=["grpc.aio", "envoy"])
def service(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The service on each transport."""
    running = start(request.param, tmp_path_factory.mktemp("service") / "log")
    try:
        yield running
    finally:
        assert running.process.stop() == 0
        # Whatever clients did, the event loop and the host had nothing to complain of.
        log = running.process.log.read_text()
        for complaint in ("InvalidStateError", "never retrieved", "Exception in", "panicked", "was destroyed"):
            assert complaint not in log


def start(transport: str, log: Path, *tls: Path) -> Service:
    """Starts the service; skips the test if the transport is not to be had here."""
    if transport == "envoy":
        pytest.importorskip("pyvoy", reason="pyvoy has no wheel for this platform")
    return Service(transport, log, *tls)


@pytest.fixture
def channel(service: Service) -> Iterator[grpc.Channel]:
    """A channel of grpcio's synchronous client."""
    with grpc.insecure_channel(service.address, UNLIMITED) as channel:
        yield channel


def method(channel: Any, name: str) -> Any:
    """A method of the service, over bytes."""
    kind = {
        "Count": channel.unary_stream,
        "Join": channel.stream_unary,
        "Sum": channel.stream_unary,
        "SleepInStream": channel.stream_unary,
        "Chat": channel.stream_stream,
    }.get(name, channel.unary_unary)
    return kind(f"/{SERVICE}/{name}")


async def is_cancelled(channel: Any, name: str) -> bool:
    """Whether the sleeper was cancelled."""
    return name in json.loads(await method(channel, "Cancelled")(b"", timeout=TIMEOUT))
