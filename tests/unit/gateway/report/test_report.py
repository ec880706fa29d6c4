"""gateway.report"""

from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from gateway.report.commands import run
from serving.wire import tensorflow_serving_pb2 as tfs
from serving.wire.codec import fill_proto
from serving.wire.tfrecord import frame


def capture(file: Path, inputs: dict[str, np.ndarray], outputs: dict[str, np.ndarray]) -> str:
    """A captured file of one request."""
    log = tfs.PredictionLog()
    for tensors, described in ((inputs, log.predict_log.request.inputs), (outputs, log.predict_log.response.outputs)):
        for name, array in tensors.items():
            fill_proto(described[name], array)
    file.write_bytes(frame(log.SerializeToString()))
    return str(file)


def images(tmp_path: Path, name: str, level: float) -> str:
    """A capture of grey images of about one level, with even answers."""
    rng = np.random.default_rng(int(level * 100))
    tensors = np.broadcast_to(rng.normal(level, 0.1, (600, 1, 1)), (600, 8, 8)).astype(np.float32)
    scores = np.eye(5, dtype=np.float32)[rng.integers(0, 5, 600)] * 0.9 + 0.02
    return capture(tmp_path / name, {"image": tensors}, {"p": scores})


def test_images_are_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What has drifted is said and drawn; the page is whole by itself."""
    reference, current = images(tmp_path, "a.tfrecord", 0.3), images(tmp_path, "<b>.tfrecord", 0.6)
    out = tmp_path / "report.html"
    assert run([current, "--reference", reference, "--out", str(out)]) == 0
    lines = {line.split()[0]: line.endswith("drifted") for line in capsys.readouterr().out.splitlines()[:-1]}
    assert lines == {"mean_intensity": True, "ink_share": True, "prediction": False, "confidence": False}
    text = out.read_text()
    HTMLParser().feed(text)
    assert "Drifted: <strong>mean_intensity, ink_share</strong>" in text
    assert text.count("<svg role=") == 4
    assert "<b>" not in text
    assert "src=" not in text
    assert "href=" not in text


def test_tables_and_features_are_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Columns by number, features that stand for inputs by name, values of a regression."""
    rng = np.random.default_rng(0)
    files = [
        capture(
            tmp_path / f"{number}.tfrecord",
            {"rows": rng.normal(shift, 1, (500, 2)), "brightness": rng.normal(size=500)},
            {"value": rng.normal(shift, 1, (500, 1)), "ids": np.arange(500)},
        )
        for number, shift in enumerate([0, 1])
    ]
    assert run([files[1], "--reference", files[0], "--out", str(tmp_path / "x.html")]) == 0
    lines = {
        line.split("PSI")[0].strip(): line.endswith("drifted") for line in capsys.readouterr().out.splitlines()[:-1]
    }
    assert lines == {"rows[0]": True, "rows[1]": True, "brightness": False, "prediction (value)": True}


def test_what_cannot_be_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line says why."""
    one = capture(tmp_path / "1.tfrecord", {"x": np.zeros(3)}, {})
    other = capture(tmp_path / "2.tfrecord", {"y": np.zeros(3)}, {})
    for files in ((one, other), (one, str(tmp_path / "nowhere"))):
        assert run([files[0], "--reference", files[1], "--out", str(tmp_path / "x.html")]) == 2
        assert capsys.readouterr().err.startswith("report: ")
