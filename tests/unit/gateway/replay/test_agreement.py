"""gateway.replay.agreement and corpus"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gateway.replay.agreement import Agreement, agreement
from gateway.replay.corpus import CorpusError, read
from serving.wire import tensorflow_serving_pb2 as tfs
from serving.wire.codec import to_proto
from serving.wire.tfrecord import frame


def answer(**outputs: Any) -> tfs.PredictResponse:
    """A response with these outputs."""
    response = tfs.PredictResponse()
    for name, value in outputs.items():
        response.outputs[name].CopyFrom(to_proto(np.asarray(value)))
    return response


SCORES = np.array([[0.1, 0.9], [0.6, 0.4]], np.float32)


@pytest.mark.parametrize(
    ("expected", "actual", "found"),
    [
        ({"p": SCORES}, {"p": SCORES}, (2, 2)),
        ({"p": SCORES}, {"p": SCORES[:, ::-1]}, (2, 0)),
        ({"p": SCORES}, {"p": np.array([[0.2, 0.8], [0.4, 0.6]], np.float32)}, (2, 1)),
        ({"p": SCORES, "x": [1, 2]}, {"p": SCORES, "x": [1, 3]}, (2, 1)),
        ({"p": SCORES, "x": [1, 2]}, {"p": SCORES}, (2, 2)),
        ({"v": [[1.0], [2.0]]}, {"v": [[1.0005], [2.1]]}, (2, 1)),
        ({"v": 1.0}, {"v": 1.0}, (1, 1)),
        ({"s": np.array([b"a", b"b"], object)}, {"s": np.array([b"a", b"c"], object)}, (2, 1)),
        ({"p": SCORES}, {"p": SCORES[:1]}, (2, 0)),
        ({"p": SCORES}, {"q": SCORES}, (2, 0)),
    ],
)
def test_rows_agree(expected: dict[str, Any], actual: dict[str, Any], found: tuple[int, int]) -> None:
    """By the best class, by value, or exactly, as an output is; what is not there, or of another shape, does not."""
    compared = agreement(answer(**expected), answer(**actual))
    assert (compared.rows, compared.agreed) == found


def test_the_largest_difference_is_told() -> None:
    """Of all numbers, though rows agree."""
    assert agreement(answer(p=SCORES), answer(p=SCORES + np.float32(0.05))) == Agreement(2, 2, pytest.approx(0.05))


def record(*, inputs: bool = True) -> bytes:
    """A request in a file."""
    log = tfs.PredictionLog()
    log.predict_log.request.model_spec.name = "m"
    if inputs:
        log.predict_log.request.inputs["x"].CopyFrom(to_proto(np.zeros(1)))
    return frame(log.SerializeToString())


def test_files_directories_and_patterns_are_read(tmp_path: Path) -> None:
    """In the order of their names; what is no captured file in a directory is passed over, as are other methods."""
    classified = tfs.PredictionLog()
    classified.classify_log.request.model_spec.name = "m"
    for number, content in enumerate([record(), record() + frame(classified.SerializeToString()) + record()]):
        (tmp_path / f"{number}.tfrecord").write_bytes(content)
    (tmp_path / "2.tfrecord.partial").write_bytes(b"cut")
    for path, count in ((tmp_path, 3), (tmp_path / "0.tfrecord", 1), (tmp_path / "[01].tf*", 3)):
        assert len(list(read([str(path)]))) == count


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"no such file", "record 1 is"),
        (record()[:-3], "record 1 is cut short"),
        (frame(b"\xff\xff"), "record 1 is no PredictionLog"),
        (record() + record(inputs=False), "record 2 has no inputs"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, content: bytes, text: str) -> None:
    """The file, the record, and what was expected."""
    file = tmp_path / "x.tfrecord"
    file.write_bytes(content)
    with pytest.raises(CorpusError, match=text) as caught:
        list(read([str(file)]))
    assert str(file) in str(caught.value)


@pytest.mark.parametrize("path", ["", "missing.tfrecord", "nowhere://x"])
def test_what_is_not_there_is_named(tmp_path: Path, path: str) -> None:
    """An empty directory too."""
    with pytest.raises(CorpusError):
        list(read([path if "://" in path else str(tmp_path / path)]))
