"""A server of the model `wire`, a gateway in front of it, and TensorFlow Serving's own client for each.

The suite asks the server at TENSORGATE_TFS_ADDRESS (host:port), if that is set. It is to serve, as the model `wire` and
with default flags, what `python -m tests.contract.models DIRECTORY` wrote: for TensorFlow Serving
`--model_name=wire --model_base_path=DIRECTORY`. Otherwise an embedded server is started.
"""

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from gateway.auth.keys import KeysFile, create
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


@pytest.fixture(scope="session")
def address(base: Path, request: pytest.FixtureRequest) -> str:
    """The address of the server that is on trial."""
    return os.environ.get("TENSORGATE_TFS_ADDRESS") or request.getfixturevalue("start")(base)[1]


@pytest.fixture(scope="session")
def gateway(address: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """Address and key of a gateway in front of the server that is on trial."""
    directory = tmp_path_factory.mktemp("gateway")
    key, record = create("tester", frozenset({"predict:*"}))
    KeysFile(keys=[record]).save(directory / "keys.json")
    command = [sys.executable, "-m", "gateway", "--models=wire", "--listen=127.0.0.1:0", "--http=127.0.0.1:0"]
    command += [f"--backend.address={address}", f"--auth.keys-file={directory / 'keys.json'}", "--drain.delay=0"]
    with child("the gateway", command, directory / "log") as process:
        yield json.loads(process.wait_for('"event": "serving"', TIMEOUT))["grpc"], key


@pytest.fixture(scope="session", params=["server", "gateway"])
def client(address: str, request: pytest.FixtureRequest) -> Iterator[Client]:
    """A client of the server that is on trial, and one of the gateway: they must not differ."""
    target = (address, None) if request.param == "server" else request.getfixturevalue("gateway")
    with Client(*target) as client:
        yield client
