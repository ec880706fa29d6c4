"""Whether a load can be answered at all, and why not."""

from argparse import Namespace
from collections.abc import Sequence

import grpc

from loadtest.grpc_user import connect
from tensorgate.channel import metadata
from tensorgate.errors import from_rpc
from tensorgate.v1 import inference_service_pb2 as pb
from tensorgate.v1.inference_service_pb2_grpc import InferenceServiceStub

TIMEOUT = 5.0


class PreflightError(Exception):
    """The target cannot be asked; the text says what to do."""


def check(address: str, options: Namespace) -> Sequence[int]:
    """The shape of one instance of the model's input; PreflightError if the gateway does not answer for it."""
    try:
        with connect(address, options.ca_file) as channel:
            model = (
                InferenceServiceStub(channel)
                .GetModel(pb.GetModelRequest(model=options.model), timeout=TIMEOUT, metadata=metadata(options.key))
                .model
            )
    except (OSError, grpc.RpcError) as error:
        told = from_rpc(error) if isinstance(error, grpc.RpcError) else error
        raise PreflightError(f"{address} cannot be loaded: {told}{_advice(error)}") from error
    versions = [version for version in model.versions if version.version == model.default_version]
    if not versions or not versions[0].HasField("contract"):
        raise PreflightError(f"no version of {options.model} with a contract is available at {address}")
    signature = next(each for each in versions[0].signatures if each.name == versions[0].contract.signature)
    return [int(size) for size in signature.inputs[0].shape[1:]]


def _advice(error: Exception) -> str:
    code = error.code() if isinstance(error, grpc.RpcError) else None
    if code == grpc.StatusCode.UNAUTHENTICATED:
        return "; set TENSORGATE_KEY, or --key"
    if code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
        return "; is it running there, and does --ca-file fit (TLS or plain text)?"
    return ""
