"""The model that is put under load, and a request for whatever model a server has."""

from pathlib import Path

import grpc
import numpy as np
from PIL import Image

from serving.wire import tensorflow_serving_pb2 as tfs
from serving.wire.codec import Array, to_proto
from serving.wire.tensorflow_serving_pb2_grpc import PredictionServiceStub
from stack.__main__ import MODEL, MODELS, ensure_model

_TIMEOUT = 120


def newest() -> Path:
    """The directory of the newest version of the digits model, which is trained if there is none."""
    ensure_model()
    return max((MODELS / MODEL).resolve().glob("[0-9]*"), key=lambda path: int(path.name))


def request_of(address: str, name: str, rows: int) -> tfs.PredictRequest:
    """A Predict of so many rows of zeros, which the server at `address` was seen to answer."""
    with grpc.insecure_channel(address) as channel:
        stub = PredictionServiceStub(channel)
        spec = tfs.ModelSpec(name=name)
        metadata = stub.GetModelMetadata(
            tfs.GetModelMetadataRequest(model_spec=spec, metadata_field=["signature_def"]), timeout=_TIMEOUT
        )
        signatures = tfs.SignatureDefMap.FromString(metadata.metadata["signature_def"].value)
        ((alias, info),) = signatures.signature_def["serving_default"].inputs.items()
        shape = [rows, *(dim.size for dim in info.tensor_shape.dim[1:])]
        request = tfs.PredictRequest(model_spec=spec, inputs={alias: to_proto(np.zeros(shape, np.float32))})
        stub.Predict(request, timeout=_TIMEOUT)
    return request


def digit(directory: Path) -> Array:
    """A seven, 0 to 1: (28, 28)."""
    sample = min((directory / "assets.extra/samples").glob("7-*.png"))
    return np.asarray(Image.open(sample).convert("L"), np.float32) / 255
