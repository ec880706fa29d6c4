"""serving.grpc_core: what is set is known to the gRPC that is installed, and set in time."""

import os
import subprocess
import sys

import pytest


def stderr_of(code: str, **environment: str) -> str:
    """What a Python process that runs `code` says there."""
    process = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | environment, capture_output=True, text=True, check=True
    )
    return process.stderr


SERVER = "from serving import grpc_core; grpc_core.configure(); import grpc; grpc.server(None)"


def test_known() -> None:
    """What is set here is no experiment that this gRPC has never heard of, of which it would complain."""
    assert "Unknown experiment" in stderr_of(SERVER, GRPC_VERBOSITY="ERROR", GRPC_EXPERIMENTS="-no_such_thing")
    assert not stderr_of(SERVER, GRPC_VERBOSITY="ERROR")


@pytest.mark.parametrize(("program", "arguments"), [("gateway", "[]"), ("serving.embedded", "")])
def test_in_time(program: str, arguments: str) -> None:
    """A program says so before it imports gRPC."""
    told = "import sys; from serving import grpc_core; grpc_core.configure = lambda: sys.exit('grpc' in sys.modules)"
    main = f"from {program}.__main__ import main; main({arguments})"
    assert not stderr_of(f"{told}; {main}; sys.exit('configured by nobody')")
