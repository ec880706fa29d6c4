"""loadtest.corpus"""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from loadtest import corpus
from loadtest.corpus import CorpusError, Input
from serving.wire import codec
from serving.wire import open_inference_pb2 as oip
from serving.wire import tensorflow_serving_pb2 as tfs
from serving.wire.codec import to_proto
from serving.wire.tfrecord import frame
from tensorgate.v1 import inference_service_pb2 as pb


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A directory with two images."""
    for number, level in enumerate((0, 255)):
        Image.fromarray(np.full((28, 28), level, np.uint8)).save(tmp_path / f"{number}.png")
    return tmp_path


def test_messages(images: Path) -> None:
    """Each form of each image in turn, and a batch of as many as were asked for."""
    made = corpus.load(images, model="digits", batch=5, takes=Input((28, 28)))
    pngs = [pb.PredictRequest.FromString(next(made.png)) for _ in range(3)]
    assert pngs[0] == pngs[2] != pngs[1]
    assert [request.model for request in pngs] == ["digits"] * 3
    assert not made.truths
    (images / "1.png").rename(images / "7-0001.png")
    (truth,) = corpus.load(images, model="digits", batch=5, takes=Input((28, 28))).truths.items()
    assert truth == (pngs[1].SerializeToString(), "7")
    assert pb.PredictRequest.FromString(next(made.jpeg)).instances[0].image.startswith(b"\xff\xd8")
    next(made.tensor)
    white = pb.PredictRequest.FromString(next(made.tensor)).instances[0].tensor
    assert list(white.shape) == [28, 28]
    assert np.frombuffer(white.data, "<f4").tolist() == [1.0] * 784
    assert len(pb.PredictRequest.FromString(next(made.batch)).instances) == 5


def test_foreign_protocols(images: Path) -> None:
    """The same tensor by each protocol's name for everything; a bad one is a value short."""
    made = corpus.load(images, model="digits", batch=1, takes=Input((28, 28), "image", "serving_default"))
    black = np.zeros((1, 28, 28), np.float32)
    theirs = tfs.PredictRequest.FromString(next(made.tfserving))
    assert (theirs.model_spec.name, theirs.model_spec.signature_name) == ("digits", "serving_default")
    assert (codec.to_numpy(theirs.inputs["image"]) == black).all()
    with pytest.raises(codec.TensorError):
        codec.to_numpy(tfs.PredictRequest.FromString(next(made.bad_tfserving)).inputs["image"])
    request = oip.ModelInferRequest.FromString(next(made.oip))
    assert (request.model_name, request.inputs[0].name, list(request.inputs[0].shape)) == (
        "digits",
        "image",
        [1, 28, 28],
    )
    assert request.raw_input_contents == [black.tobytes()]
    assert len(oip.ModelInferRequest.FromString(next(made.bad_oip)).raw_input_contents[0]) == black.nbytes - 4


def test_streams(images: Path) -> None:
    """As many requests each; the last of a bad one has no image."""
    made = corpus.load(images, model="digits", batch=1, takes=Input((28, 28)))
    good, bad = (
        [pb.StreamPredictRequest.FromString(each) for each in next(kind)] for kind in (made.stream, made.bad_stream)
    )
    assert len(good) == len(bad) == corpus.STREAMED
    assert good[:-1] == bad[:-1]
    assert not bad[-1].request.instances[0].image.startswith(b"\x89PNG")


@pytest.mark.parametrize("shape", [(10, 12), (10, 12, 1), (10, 12, 3)])
def test_tensors_have_the_models_shape(images: Path, shape: tuple[int, ...]) -> None:
    """Grey or in colours, as the model takes them."""
    made = corpus.load(images, model="x", batch=1, takes=Input(shape))
    assert tuple(pb.PredictRequest.FromString(next(made.tensor)).instances[0].tensor.shape) == shape


def test_nothing_to_send(tmp_path: Path) -> None:
    """No directory, no image, no model: each is said."""
    with pytest.raises(CorpusError, match="cannot be read as images"):
        corpus.load(tmp_path / "missing", model="x", batch=1, takes=Input((1, 1)))
    with pytest.raises(CorpusError, match="has no images"):
        corpus.load(tmp_path, model="x", batch=1, takes=Input((1, 1)))
    (tmp_path / "a.png").write_text("no image")
    with pytest.raises(CorpusError, match="cannot be read as images"):
        corpus.load(tmp_path, model="x", batch=1, takes=Input((1, 1)))
    with pytest.raises(CorpusError, match="has no version"):
        corpus.samples(tmp_path, "digits")


def test_samples_of_the_newest_version(tmp_path: Path) -> None:
    """Versions are numbers, not words."""
    for version in (2, 10):
        (tmp_path / "digits" / str(version)).mkdir(parents=True)
    assert corpus.samples(tmp_path, "digits").parts[-3] == "10"


def test_captured_requests(tmp_path):
    """They go round and round, to the model that is loaded."""
    log = tfs.PredictionLog()
    log.predict_log.request.model_spec.name = "old"
    log.predict_log.request.inputs["x"].CopyFrom(to_proto(np.zeros(1)))
    (tmp_path / "1.tfrecord").write_bytes(frame(log.SerializeToString()))
    messages = corpus.captured(str(tmp_path), model="new")
    assert next(messages) == next(messages)
    assert tfs.PredictRequest.FromString(next(messages)).model_spec.name == "new"
    with pytest.raises(CorpusError, match="nowhere"):
        corpus.captured(str(tmp_path / "nowhere"), model="new")
