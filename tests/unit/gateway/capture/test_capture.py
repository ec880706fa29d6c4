"""gateway.capture"""

import io
import itertools
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from gateway.answers import Classification
from gateway.capture import recorder as recorders
from gateway.capture.files import Directory
from gateway.capture.recorder import CaptureMetrics, Recorder
from gateway.capture.records import CaptureError
from gateway.catalog import Servable
from gateway.observations import Observation, Variant
from gateway.settings.capture import CaptureSettings
from serving.contract import Reference
from serving.reference import source
from serving.wire import tensorflow_serving_pb2 as tfs
from serving.wire.codec import to_numpy
from serving.wire.tfrecord import records
from tests.fakes import digits

HOOKS = "tests.unit.gateway.capture.hooks"
SERVABLE = Servable("digits", 3, {}, digits.contract(reference=Reference(instances=1)))


def observation(rows: int = 1, value: float = 0.25) -> Observation:
    """Grey images, all answered with 7."""
    tensors = np.full((rows, 28, 28), value, np.float32)
    outputs = {"probabilities": np.eye(10, dtype=np.float32)[[7] * rows]}
    answers = [Classification("0123456789", [7], [1.0])] * rows
    sources = [source(np.full((56, 56, 1), 51, np.uint8))] * rows
    return Observation(SERVABLE, Variant.STABLE, {"image": tensors}, answers, outputs, sources)


class Captured:
    """A recorder that writes to `path`."""

    def __init__(self, path: str, *, sample: Callable[[], float] = lambda: 0.0, **settings: Any) -> None:
        self.registry = CollectorRegistry()
        options = CaptureSettings(path=path, **{"sampling_rate": 1.0, "max_rate": 1e6} | settings)
        self.recorder = Recorder(options, ["digits"], CaptureMetrics(self.registry), sample=sample)
        self.path = Path(path)

    def see(self, *observations: Observation) -> list[tfs.PredictionLog]:
        """What is in the files after these observations, oldest first."""
        for each in observations:
            self.recorder.observe(each)
        self.recorder.close()
        return list(self.logs())

    def logs(self) -> Iterator[tfs.PredictionLog]:
        """All records."""
        for file in sorted(self.path.glob("digits/*.tfrecord")):
            yield from map(tfs.PredictionLog.FromString, records(io.BytesIO(file.read_bytes())))

    def dropped(self, reason: str) -> float | None:
        """How many were not written for this reason."""
        return self.registry.get_sample_value("tensorgate_capture_dropped_total", {"model": "digits", "reason": reason})

    @property
    def written(self) -> float | None:
        """How many were."""
        return self.registry.get_sample_value("tensorgate_capture_records_total", {"model": "digits"})


def test_a_record_is_what_was_asked_and_answered(tmp_path: Path) -> None:
    """For any version to be asked again, with the version that answered, the share and the time."""
    captured = Captured(str(tmp_path))
    (log,) = captured.see(observation(2))
    request, response = log.predict_log.request, log.predict_log.response
    assert (request.model_spec.name, request.model_spec.signature_name) == ("digits", "serving_default")
    assert not request.model_spec.HasField("version")
    assert response.model_spec.version.value == log.log_metadata.model_spec.version.value == 3
    np.testing.assert_array_equal(to_numpy(request.inputs["image"]), np.full((2, 28, 28), 0.25, np.float32))
    assert to_numpy(response.outputs["probabilities"]).argmax(axis=1).tolist() == [7, 7]
    assert log.log_metadata.sampling_config.sampling_rate == 1
    assert abs(log.log_metadata.timestamp_secs - time.time()) < 60
    assert captured.written == 1


def test_a_sample_is_taken(tmp_path: Path) -> None:
    """As large as the settings say."""
    turns = itertools.cycle(np.linspace(0, 1, 10, endpoint=False).tolist())
    captured = Captured(str(tmp_path), sample=lambda: next(turns), sampling_rate=0.3)
    assert len(captured.see(*[observation()] * 100)) == 30


def test_no_request_is_captured_twice(tmp_path: Path) -> None:
    """A shadow's answer is not the caller's."""
    shadow = observation()._replace(variant=Variant.SHADOW)
    assert len(Captured(str(tmp_path)).see(shadow, observation(), shadow)) == 1


def test_a_rate_is_kept(tmp_path: Path) -> None:
    """Beyond it requests are dropped, and counted."""
    captured = Captured(str(tmp_path), max_rate=5.0)
    found = len(captured.see(*[observation()] * 50))
    assert 5 <= found <= 10
    assert captured.dropped("rate") == 50 - found


def test_large_requests_are_left_out(tmp_path: Path) -> None:
    """By the size of inputs and outputs."""
    captured = Captured(str(tmp_path), max_record_bytes=4000)
    assert len(captured.see(observation(1), observation(2))) == 1
    assert captured.dropped("size") == 1


def test_load_is_not_made_heavier(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the thread cannot keep up with is dropped, not queued."""
    monkeypatch.setattr(recorders, "_MAX_PENDING_BYTES", 10_000)
    monkeypatch.setattr(Directory, "publish", lambda *_: time.sleep(0.3))
    captured = Captured(str(tmp_path), max_file_seconds=1e-9)
    started = time.monotonic()
    captured.see(*[observation()] * 20)
    assert time.monotonic() - started < 5
    assert (captured.dropped("load") or 0) > 10


@pytest.mark.parametrize(
    ("inputs", "names"),
    [
        ("none", set()),
        ("features", {"mean_intensity", "ink_share", "image_pixels", "image_brightness", "image_contrast"}),
    ],
)
def test_inputs_may_be_left_out(tmp_path: Path, inputs: str, names: set[str]) -> None:
    """Wholly, or but for their features; the answer stays."""
    (log,) = Captured(str(tmp_path), inputs=inputs).see(observation(2))
    found = {name: to_numpy(proto) for name, proto in log.predict_log.request.inputs.items()}
    assert found.keys() == names
    assert inputs == "none" or found["image_brightness"].tolist() == [0.2, 0.2]
    assert "probabilities" in log.predict_log.response.outputs


def test_a_hook_says_what_is_kept(tmp_path: Path) -> None:
    """It may drop a request, or take things out of it."""
    captured = Captured(str(tmp_path), redact=f"{HOOKS}:second_only")
    (log,) = captured.see(observation(1), observation(2), observation(3))
    assert not log.predict_log.request.inputs
    assert captured.dropped("redacted") == 2


def test_a_hook_that_fails_lets_nothing_through(tmp_path: Path) -> None:
    """What it was to take out might still be there."""
    captured = Captured(str(tmp_path), redact=f"{HOOKS}:broken")
    assert captured.see(observation()) == []
    assert captured.dropped("redacted") == 1


@pytest.mark.parametrize("path", ["no_such_module:f", f"{HOOKS}:no_such_function", f"{HOOKS}:NO_FUNCTION"])
def test_a_hook_that_is_not_there_is_said_at_the_start(tmp_path: Path, path: str) -> None:
    """Not with the first request."""
    with pytest.raises(CaptureError, match=r"capture\.redact"):
        Captured(str(tmp_path), redact=path)


def test_a_path_that_cannot_be_is_said_at_the_start() -> None:
    """A protocol that there is no file system for."""
    with pytest.raises(CaptureError, match=r"capture\.path: nowhere://x"):
        Captured("nowhere://x")


def test_files_end_by_count_and_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No file has more requests than a warm-up file may, and none waits longer than it should."""
    monkeypatch.setattr(recorders, "MAX_RECORDS", 4)
    captured = Captured(str(tmp_path), max_file_seconds=0.2)
    for _ in range(10):
        captured.recorder.observe(observation())
    deadline = time.monotonic() + 20
    while captured.written != 10 and time.monotonic() < deadline:
        time.sleep(0.02)
    files = sorted((tmp_path / "digits").iterdir())
    assert [len(list(records(io.BytesIO(file.read_bytes())))) for file in files] == [4, 4, 2]
    captured.recorder.close()


def test_nobody_sees_half_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under its name a file is complete; one that could not be written leaves nothing, and is counted."""
    seen = []

    def write(self: object, path: str, content: bytes, **_: Any) -> None:
        Path(path).write_bytes(content[:10])
        seen.append([file.suffix for file in (tmp_path / "digits").iterdir()])
        raise OSError(28, "No space left on device")

    captured = Captured(str(tmp_path))
    monkeypatch.setattr("fsspec.implementations.local.LocalFileSystem.pipe_file", write)
    assert captured.see(observation(), observation()) == []
    assert seen == [[".partial"]]
    assert list((tmp_path / "digits").iterdir()) == []
    assert captured.dropped("failed") == 2


def test_the_oldest_files_make_room(tmp_path: Path) -> None:
    """Those of this model that a gateway wrote, and no others."""
    other = tmp_path / "digits" / "mine.tfrecord"
    other.parent.mkdir()
    other.write_bytes(b"x" * 1000)
    directory = Directory(str(tmp_path), "digits", 250)
    for content in (b"a", b"b", b"c", b"d"):
        directory.publish(content * 100)
    files = sorted(file.read_bytes()[:1] for file in other.parent.iterdir())
    assert files == [b"c", b"d", b"x"]


def test_any_file_system_will_do(tmp_path: Path) -> None:
    """A bucket, whose objects are there as a whole or not at all."""
    import fsspec  # noqa: PLC0415  # for this test alone

    captured = Captured(f"memory://bucket{tmp_path.name}/captured")
    captured.see(observation())
    files = fsspec.filesystem("memory")
    (name,) = files.ls(f"/bucket{tmp_path.name}/captured/digits", detail=False)
    assert name.endswith(".tfrecord")
    assert files.cat_file(name)
