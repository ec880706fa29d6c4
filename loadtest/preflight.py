"""Whether a load can be answered at all, and why not; by each protocol that it speaks."""

from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence

import grpc

from loadtest.connection import connect, headers
from loadtest.corpus import Input
from serving.wire import open_inference_pb2 as oip
from serving.wire import tensorflow_pb2 as tf
from serving.wire import tensorflow_serving_pb2 as tfs
from serving.wire.open_inference_pb2_grpc import GRPCInferenceServiceStub
from serving.wire.tensorflow_serving_pb2_grpc import PredictionServiceStub
from tensorgate.errors import from_rpc
from tensorgate.v1 import feedback_service_pb2 as feedback_pb
from tensorgate.v1 import inference_service_pb2 as pb
from tensorgate.v1.feedback_service_pb2_grpc import FeedbackServiceStub
from tensorgate.v1.inference_service_pb2_grpc import InferenceServiceStub

TIMEOUT = 5.0
_DEFAULT_SIGNATURE = "serving_default"

_Ask = Callable[[grpc.Channel, Namespace], Input]


class PreflightError(Exception):
    """The target cannot be asked; the text says what to do."""


def check(address: str, options: Namespace, protocols: Sequence[str]) -> Input:
    """What the model takes, by the first of the protocols; PreflightError if the target does not answer in each."""
    try:
        with connect(address, options) as channel:
            first, *_ = [_ASK[protocol](channel, options) for protocol in protocols]
            return first
    except (OSError, grpc.RpcError) as error:
        told = from_rpc(error) if isinstance(error, grpc.RpcError) else error
        raise PreflightError(f"{address} cannot be loaded: {told}{_advice(error)}") from error
    except _NoInputError as error:
        raise PreflightError(f"{options.model} at {address}: {error}") from error


def check_feedback(address: str, options: Namespace) -> None:
    """PreflightError if the target takes no feedback."""
    with connect(address, options) as channel:
        try:
            stub = FeedbackServiceStub(channel)
            stub.SubmitFeedback(feedback_pb.SubmitFeedbackRequest(), timeout=TIMEOUT, metadata=headers(options))
        except grpc.RpcError as error:
            # None at all is refused by whoever takes some.
            if error.code() != grpc.StatusCode.INVALID_ARGUMENT:
                advice = "; set the gateway's feedback.database_url, or leave --feedback-share out"
                raise PreflightError(f"{address} takes no feedback: {from_rpc(error)}{advice}") from error


class _NoInputError(Exception):
    """The model is there and has no such input as is sent."""


def _tensorgate(channel: grpc.Channel, options: Namespace) -> Input:
    request = pb.GetModelRequest(model=options.model)
    model = InferenceServiceStub(channel).GetModel(request, timeout=TIMEOUT, metadata=headers(options)).model
    versions = [version for version in model.versions if version.version == model.default_version]
    if not versions or not versions[0].HasField("contract"):
        raise _NoInputError("no version with a contract is available")
    signature = next(each for each in versions[0].signatures if each.name == versions[0].contract.signature)
    tensor = signature.inputs[0]
    return Input([int(size) for size in tensor.shape[1:]], tensor.name, signature.name)


def _tfserving(channel: grpc.Channel, options: Namespace) -> Input:
    spec = tfs.ModelSpec(name=options.model)
    request = tfs.GetModelMetadataRequest(model_spec=spec, metadata_field=["signature_def"])
    stub = PredictionServiceStub(channel)
    answer = stub.GetModelMetadata(request, timeout=TIMEOUT, metadata=headers(options))
    described = tfs.SignatureDefMap.FromString(answer.metadata["signature_def"].value)
    tensors = described.signature_def[_DEFAULT_SIGNATURE].inputs
    floats = {name: tensor for name, tensor in tensors.items() if tensor.dtype == tf.DT_FLOAT}
    if len(floats) != len(tensors) or len(floats) != 1:
        raise _NoInputError(f"the signature {_DEFAULT_SIGNATURE} does not take one float32 tensor")
    ((name, tensor),) = floats.items()
    return Input([dimension.size for dimension in tensor.tensor_shape.dim][1:], name, _DEFAULT_SIGNATURE)


def _open_inference(channel: grpc.Channel, options: Namespace) -> Input:
    request = oip.ModelMetadataRequest(name=options.model)
    stub = GRPCInferenceServiceStub(channel)
    tensors = stub.ModelMetadata(request, timeout=TIMEOUT, metadata=headers(options)).inputs
    if [tensor.datatype for tensor in tensors] != ["FP32"]:
        raise _NoInputError("it does not take one FP32 tensor")
    return Input(list(tensors[0].shape)[1:], tensors[0].name)


_ASK: Mapping[str, _Ask] = {"tensorgate": _tensorgate, "tfserving": _tfserving, "oip": _open_inference}


def _advice(error: Exception) -> str:
    code = error.code() if isinstance(error, grpc.RpcError) else None
    if code == grpc.StatusCode.UNAUTHENTICATED:
        return "; set TENSORGATE_KEY, or --key"
    if code == grpc.StatusCode.UNIMPLEMENTED:
        return "; it speaks another protocol: choose by --tags"
    if code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
        return "; is it running there, and does --ca-file or --tls fit (TLS or plain text)?"
    return ""
