"""What is sent: real images in every form that the gateway takes, and some that it must refuse."""

import io
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from gateway.replay import corpus as replay
from tensorgate.requests import Instance, predict_request

_BAD: Sequence[bytes] = (b"", b"%PDF-1.7 no image", b"\x89PNG\r\n\x1a\n cut short")


class CorpusError(Exception):
    """There is nothing to send."""


@dataclass(frozen=True)
class Corpus:
    """Messages ready to be sent, by kind; each kind goes round and round."""

    png: Iterator[bytes]
    jpeg: Iterator[bytes]
    tensor: Iterator[bytes]
    batch: Iterator[bytes]
    bad: Iterator[bytes]


def samples(store: Path, model: str) -> Path:
    """The samples that the trainer keeps beside the newest version; CorpusError if there is no version."""
    versions = sorted((store / model).glob("[0-9]*"), key=lambda path: int(path.name))
    if not versions:
        raise CorpusError(f"{store / model} has no version; expected a model that `make train` has published")
    return versions[-1] / "assets.extra" / "samples"


def load(directory: Path, *, model: str, batch: int, shape: Sequence[int]) -> Corpus:
    """The images in `directory` as requests to `model`, `batch` of them in a batch; CorpusError if there are none.

    Tensors are float32 of `shape`, levels from 0 to 1: for an input of two dimensions, grey, or of three, the last of
    which has 1 or 3 channels.
    """
    try:
        encoded = [path.read_bytes() for path in sorted(directory.iterdir()) if path.is_file()]
        images = [Image.open(io.BytesIO(content)).convert("RGB") for content in encoded]
    except (OSError, UnidentifiedImageError) as error:
        raise CorpusError(f"{directory} cannot be read as images: {error}") from error
    if not images:
        raise CorpusError(f"{directory} has no images; expected some to send")

    def messages(instances: Sequence[Sequence[Instance]]) -> Iterator[bytes]:
        requests = (predict_request(each, model=model, version=0, signature="", top_k=0) for each in instances)
        return itertools.cycle([request.SerializeToString() for request in requests])

    jpegs = [_jpeg(image) for image in images]
    tensors = [_tensor(image, shape) for image in images]
    several = itertools.islice(itertools.cycle(encoded), batch)
    return Corpus(
        png=messages([[each] for each in encoded]),
        jpeg=messages([[each] for each in jpegs]),
        tensor=messages([[each] for each in tensors]),
        batch=messages([list(several)]),
        bad=messages([[each] for each in _BAD]),
    )


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


def _tensor(image: Image.Image, shape: Sequence[int]) -> np.ndarray:
    height, width, *channels = shape
    sized = image.convert("RGB" if channels == [3] else "L").resize((width, height))
    return (np.asarray(sized, np.float32) / 255).reshape(tuple(shape))
