"""A model version in front of callers, by the gateway's own roll-outs and their verdict."""

import os
import subprocess
import sys
import time
from argparse import Namespace

import grpc

from deploy.commands import DeployError
from deploy.images import ROOT
from deploy.release import RolledBack
from loadtest.connection import connect, headers
from tensorgate.v1 import inference_service_pb2 as pb
from tensorgate.v1 import model_pb2
from tensorgate.v1.inference_service_pb2_grpc import InferenceServiceStub

_POLL, _TIMEOUT = 5.0, 10.0


def wait(endpoint: str, model: str, version: int, *, seconds: float = 600.0, tls: bool = True) -> None:
    """Waits until the gateway routes to a version; DeployError if it refuses it, or does not within `seconds`."""
    environment = {"key": os.environ.get("TENSORGATE_KEY"), "metadata": os.environ.get("TENSORGATE_METADATA", "")}
    options = Namespace(**environment, tls=tls, ca_file="")
    deadline, told = time.monotonic() + seconds, "it is not listed"
    with connect(endpoint, options) as channel:
        stub = InferenceServiceStub(channel)
        while True:
            try:
                request = pb.GetModelRequest(model=model)
                found = stub.GetModel(request, timeout=_TIMEOUT, metadata=headers(options)).model
                state = next((each for each in found.versions if each.version == version), model_pb2.ModelVersion())
                if state.state == model_pb2.MODEL_VERSION_STATE_AVAILABLE:
                    return
                told = state.state_detail or told
                refused = state.state == model_pb2.MODEL_VERSION_STATE_REFUSED
            except grpc.RpcError as error:
                told, refused = error.details() or error.code().name, False
            if refused or time.monotonic() > deadline:
                raise DeployError(f"{model} version {version} does not answer at {endpoint}: {told}")
            time.sleep(_POLL)


def promote(endpoint: str, model: str, version: int) -> None:
    """Rolls a version out and waits for the verdict; RolledBack if the version before it was better.

    TENSORGATE_KEY is a key with the scope `admin`.
    """
    command = [sys.executable, "-m", "gateway", "rollout", "start", "--address", endpoint, "--tls", "--model", model]
    command += ["--candidate", str(version), "--wait"]
    if subprocess.run(command, cwd=ROOT, check=False).returncode:
        raise RolledBack(f"{model} version {version} is not promoted; `gateway rollout history` says why")
