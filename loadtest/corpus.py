"""What is sent: real images in every form and protocol that the gateway takes, and some that it must refuse."""

import io
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from gateway.replay import corpus as replay
from serving.wire import open_inference_pb2 as oip
from serving.wire import tensorflow_pb2 as tf
from serving.wire import tensorflow_serving_pb2 as tfs
from tensorgate.requests import Instance, predict_request, stream_request

_BAD: Sequence[bytes] = (b"", b"%PDF-1.7 no image", b"\x89PNG\r\n\x1a\n cut short")
STREAMED = 8
"""Requests on one stream."""


class CorpusError(Exception):
    """There is nothing to send."""


@dataclass(frozen=True)
class Input:
    """The one input of the signature that is called."""

    shape: Sequence[int]
    """Of one instance: two dimensions, grey, or three, the last of which has 1 or 3 channels."""
    name: str = ""
    signature: str = ""


@dataclass(frozen=True)
class Corpus:
    """Messages ready to be sent, by kind; each kind goes round and round."""

    png: Iterator[bytes]
    jpeg: Iterator[bytes]
    tensor: Iterator[bytes]
    batch: Iterator[bytes]
    bad: Iterator[bytes]
    stream: Iterator[Sequence[bytes]]
    bad_stream: Iterator[Sequence[bytes]]
    """The last of its requests is to be refused."""
    tfserving: Iterator[bytes]
    bad_tfserving: Iterator[bytes]
    oip: Iterator[bytes]
    bad_oip: Iterator[bytes]
    truths: Mapping[bytes, str]
    """The class in each of `png`, where its file's name has one: <class>-<anything>."""


def samples(store: Path, model: str) -> Path:
    """The samples that the trainer keeps beside the newest version; CorpusError if there is no version."""
    versions = sorted((store / model).glob("[0-9]*"), key=lambda path: int(path.name))
    if not versions:
        raise CorpusError(f"{store / model} has no version; expected a model that `make train` has published")
    return versions[-1] / "assets.extra" / "samples"


def load(directory: Path, *, model: str, batch: int, takes: Input) -> Corpus:
    """The images in `directory` as requests to `model`, `batch` of them in a batch; CorpusError if there are none.

    Tensors are float32, levels from 0 to 1.
    """
    try:
        paths = [path for path in sorted(directory.iterdir()) if path.is_file()]
        encoded = [path.read_bytes() for path in paths]
        images = [Image.open(io.BytesIO(content)).convert("RGB") for content in encoded]
    except (OSError, UnidentifiedImageError) as error:
        raise CorpusError(f"{directory} cannot be read as images: {error}") from error
    if not images:
        raise CorpusError(f"{directory} has no images; expected some to send")

    def ours(instances: Sequence[Sequence[Instance]]) -> list[bytes]:
        requests = (predict_request(each, model=model, version=0, signature="", top_k=0) for each in instances)
        return [request.SerializeToString() for request in requests]

    def streams(*more: bytes) -> Iterator[Sequence[bytes]]:
        several = [*itertools.islice(itertools.cycle(encoded), STREAMED - len(more)), *more]
        requests = (
            stream_request(each, model=model, version=0, signature="", top_k=0, in_order=True) for each in several
        )
        return itertools.cycle([[request.SerializeToString() for request in requests]])

    def foreign(make: Callable[[str, Input, bytes], bytes], contents: Sequence[bytes]) -> Iterator[bytes]:
        return itertools.cycle([make(model, takes, content) for content in contents])

    pngs = ours([[each] for each in encoded])
    tensors = [_tensor(image, takes.shape) for image in images]
    contents = [tensor.tobytes() for tensor in tensors]
    # A value short of its shape.
    short = [contents[0][: -tensors[0].itemsize]]
    return Corpus(
        png=itertools.cycle(pngs),
        jpeg=itertools.cycle(ours([[_jpeg(image)] for image in images])),
        tensor=itertools.cycle(ours([[each] for each in tensors])),
        batch=itertools.cycle(ours([list(itertools.islice(itertools.cycle(encoded), batch))])),
        bad=itertools.cycle(ours([[each] for each in _BAD])),
        stream=streams(),
        bad_stream=streams(_BAD[1]),
        tfserving=foreign(_tfserving, contents),
        bad_tfserving=foreign(_tfserving, short),
        oip=foreign(_open_inference, contents),
        bad_oip=foreign(_open_inference, short),
        truths={
            message: path.name.split("-")[0] for message, path in zip(pngs, paths, strict=True) if "-" in path.name
        },
    )


def _tfserving(model: str, takes: Input, content: bytes) -> bytes:
    shape = tf.TensorShapeProto(dim=[tf.TensorShapeProto.Dim(size=size) for size in (1, *takes.shape)])
    tensor = tf.TensorProto(dtype=tf.DT_FLOAT, tensor_shape=shape, tensor_content=content)
    spec = tfs.ModelSpec(name=model, signature_name=takes.signature)
    return tfs.PredictRequest(model_spec=spec, inputs={takes.name: tensor}).SerializeToString()


def _open_inference(model: str, takes: Input, content: bytes) -> bytes:
    tensor = oip.ModelInferRequest.InferInputTensor(name=takes.name, datatype="FP32", shape=(1, *takes.shape))
    request = oip.ModelInferRequest(model_name=model, inputs=[tensor], raw_input_contents=[content])
    return request.SerializeToString()


def captured(path: str, *, model: str) -> Iterator[bytes]:
    """The requests that a gateway captured, as TensorFlow Serving's Predict of `model`, round and round.

    CorpusError if there are none.
    """
    requests = []
    try:
        for log in replay.read([path]):
            log.request.model_spec.name = model
            requests.append(log.request.SerializeToString())
    except replay.CorpusError as error:
        raise CorpusError(str(error)) from error
    if not requests:
        raise CorpusError(f"{path} holds no requests")
    return itertools.cycle(requests)


def _jpeg(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=90)
    return file.getvalue()


def _tensor(image: Image.Image, shape: Sequence[int]) -> NDArray[np.float32]:
    height, width, *channels = shape
    sized = image.convert("RGB" if channels == [3] else "L").resize((width, height))
    return np.asarray(sized, np.float32).reshape(tuple(shape)) / np.float32(255)
