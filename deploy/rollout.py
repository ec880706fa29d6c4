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
from gateway.rollout.commands import TAKEN_BACK, TIMED_OUT
from loadtest.connection import connect, headers
from tensorgate.v1 import inference_service_pb2 as pb
from tensorgate.v1 import model_pb2
from tensorgate.v1.inference_service_pb2_grpc import InferenceServiceStub

_POLL, _TIMEOUT = 5.0, 10.0


def wait(endpoint: str, model: str, version: int, *, seconds: float = 600.0, tls: bool = True) -> None:
    """Waits until the gateway routes to a version; DeployError if it refuses it, or does not within `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        told, refused = "it is not listed", False
        try:
            versions = _describe(endpoint, model, tls).versions
            state = next((each for each in versions if each.version == version), model_pb2.ModelVersion())
            if state.state == model_pb2.MODEL_VERSION_STATE_AVAILABLE:
                return
            told = state.state_detail or told
            refused = state.state == model_pb2.MODEL_VERSION_STATE_REFUSED
        except grpc.RpcError as error:
            told = error.details() or error.code().name
        if refused or time.monotonic() > deadline:
            raise DeployError(f"{model} version {version} does not answer at {endpoint}: {told}")
        time.sleep(_POLL)


def default_version(endpoint: str, model: str, *, tls: bool = True) -> int:
    """The version that answers now; 0 if none does. DeployError if the gateway cannot be asked."""
    try:
        return _describe(endpoint, model, tls).default_version
    except grpc.RpcError as error:
        if error.code() == grpc.StatusCode.NOT_FOUND:
            return 0
        raise DeployError(f"{endpoint} cannot be asked for {model}: {error.details()}") from error


def promote(endpoint: str, model: str, version: int, stable: int) -> None:
    """Rolls a version out against `stable` and waits for the verdict; RolledBack if the candidate was taken back.

    TENSORGATE_KEY is a key with the scope `admin`. DeployError if there is no verdict.
    """
    command = [sys.executable, "-m", "gateway", "rollout", "--address", endpoint, "--tls", "--model", model]
    command += ["start", str(version), "--stable", str(stable), "--wait", "--timeout", "18000"]
    status = subprocess.run(command, cwd=ROOT, check=False).returncode
    if status == TAKEN_BACK:
        raise RolledBack(f"{model} version {version}; version {stable} answers, `gateway rollout history` says why")
    if status:
        what = "has no verdict yet and goes on" if status == TIMED_OUT else "was not put on trial"
        raise DeployError(f"{model} version {version} {what}: `gateway rollout status` says more")


def _describe(endpoint: str, model: str, tls: bool) -> model_pb2.Model:
    environment = {"key": os.environ.get("TENSORGATE_KEY"), "metadata": os.environ.get("TENSORGATE_METADATA", "")}
    options = Namespace(**environment, tls=tls, ca_file="")
    with connect(endpoint, options) as channel:
        stub = InferenceServiceStub(channel)
        return stub.GetModel(pb.GetModelRequest(model=model), timeout=_TIMEOUT, metadata=headers(options)).model
