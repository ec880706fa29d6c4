"""A server of the model `wire`, and TensorFlow Serving's own client for it.

The suite asks the server at TENSORGATE_TFS_ADDRESS (host:port), if that is set. It is to serve, as the model `wire` and
with default flags, what `python -m tests.contract.models DIRECTORY` wrote: for TensorFlow Serving
`--model_name=wire --model_base_path=DIRECTORY`. Otherwise an embedded server is started.
"""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from stack.processes import Child, child
from tests.contract import models
from tests.contract.client import TIMEOUT, Client

Start = Callable[..., tuple[Child, str]]


@pytest.fixture(scope="session")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """Starts embedded servers, of `wire` at a base path or as flags say; gives the process and its address."""
    with ExitStack() as children:

        def start(base: Path | None, *flags: str) -> tuple[Child, str]:
            command = [sys.executable, "-m", "serving.embedded", "--port=0", *flags]
            if base:
                command += ["--model_name=wire", f"--model_base_path={base}"]
            log = tmp_path_factory.mktemp("server") / "log"
            process = children.enter_context(child("the server", command, log))
            return process, process.wait_for("serving gRPC on ", TIMEOUT).split()[-1]

        yield start


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base path with the model `wire`; a server elsewhere has a copy."""
    base = tmp_path_factory.mktemp("wire")
    models.write_wire(base / "1")
    return base


@pytest.fixture(scope="session", params=["grpc.aio", "envoy"])
def client(base: Path, request: pytest.FixtureRequest) -> Iterator[Client]:
    """A client of the server that is on trial, by each transport."""
    address = os.environ.get("TENSORGATE_TFS_ADDRESS")
    if request.param == "envoy":
        if address:
            pytest.skip("the server at TENSORGATE_TFS_ADDRESS has one transport")
        pytest.importorskip("pyvoy", reason="pyvoy has no wheel for this platform")
    with Client(address or request.getfixturevalue("start")(base, f"--transport={request.param}")[1]) as client:
        yield client
