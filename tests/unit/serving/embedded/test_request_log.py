"""serving.embedded.request_log: a sample of the requests in files."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serving.embedded import request_log
from serving.embedded.config import Logging, Model
from serving.embedded.request_log import RequestLog, RequestLogs
from serving.embedded.warm_up import MAX_RECORDS
from serving.wire import tensorflow_serving_pb2 as tfs
from serving.wire.codec import to_proto
from serving.wire.errors import InvalidArgument
from tests.unit.serving.embedded.fakes import FakeRecordFile, eventually

SPEC = tfs.ModelSpec(name="m", version_label="stable")
REQUEST = tfs.PredictRequest(model_spec=SPEC, inputs={"x": to_proto(np.float32([1]))})
RESPONSE = tfs.PredictResponse(outputs={"y": to_proto(np.float32([2]))})


def logs_in(directory: Path) -> list[tfs.PredictionLog]:
    """What complete files hold."""
    files = sorted(directory.glob("requests.*.tfrecord"))
    return [tfs.PredictionLog.FromString(record) for file in files for record in FakeRecordFile.records(file)]


def offer(log: RequestLog, times: int = 1) -> None:
    """Offers a Predict."""
    for _ in range(times):
        log.offer(SPEC, 3, lambda: (REQUEST, RESPONSE))


def finish(log: RequestLog) -> None:
    """Ends a log."""
    log.end()
    log.join()


@pytest.fixture
def config(tmp_path: Path) -> Logging:
    """All requests, into a directory that is still to be made."""
    return Logging(str(tmp_path / "logs/requests"), 1.0)


def test_record(config: Logging, tmp_path: Path) -> None:
    """A record holds request, answer, the version that answered, and when."""
    log = RequestLog("m", config, FakeRecordFile)
    offer(log)
    finish(log)
    (record,) = logs_in(tmp_path / "logs")
    assert (record.predict_log.request, record.predict_log.response) == (REQUEST, RESPONSE)
    metadata = record.log_metadata
    assert (metadata.model_spec.version.value, metadata.model_spec.signature_name) == (3, "serving_default")
    assert metadata.sampling_config.sampling_rate == 1
    assert metadata.timestamp_secs > 1_700_000_000


@pytest.mark.parametrize(
    ("request_type", "response_type", "kind"),
    [
        (tfs.ClassificationRequest, tfs.ClassificationResponse, "classify_log"),
        (tfs.RegressionRequest, tfs.RegressionResponse, "regress_log"),
        (tfs.MultiInferenceRequest, tfs.MultiInferenceResponse, "multi_inference_log"),
    ],
)
def test_kinds(config: Logging, tmp_path: Path, request_type: Any, response_type: Any, kind: str) -> None:
    """Each method has its own kind of record."""
    log = RequestLog("m", config, FakeRecordFile)
    log.offer(SPEC, 1, lambda: (request_type(), response_type()))
    finish(log)
    assert [record.WhichOneof("log_type") for record in logs_in(tmp_path / "logs")] == [kind]


def test_rotation_by_count(config: Logging, tmp_path: Path) -> None:
    """A file holds as many records as warm-up takes."""
    log = RequestLog("m", config, FakeRecordFile)
    offer(log, MAX_RECORDS + 1)
    finish(log)
    counts = [len(FakeRecordFile.records(file)) for file in sorted((tmp_path / "logs").iterdir())]
    assert counts == [MAX_RECORDS, 1]


async def test_rotation_by_time(config: Logging, tmp_path: Path) -> None:
    """A file is complete after a while, although no further request comes; the next one begins another."""
    log = RequestLog("m", config, FakeRecordFile, max_file_seconds=0.05)
    for count in (1, 2):
        offer(log)
        await eventually(lambda count=count: len(logs_in(tmp_path / "logs")) == count)
    finish(log)
    assert not list((tmp_path / "logs").glob("*.partial"))


def test_sampling(tmp_path: Path) -> None:
    """A request is logged if chance is below the rate."""
    chances: Iterator[float] = iter([0.0, 0.2, 0.25, 0.5, 0.99])
    log = RequestLog("m", Logging(str(tmp_path / "requests"), 0.25), FakeRecordFile, sample=lambda: next(chances))
    offer(log, 5)
    finish(log)
    assert len(logs_in(tmp_path)) == 2


async def test_dropping(config: Logging, tmp_path: Path, monkeypatch: Any, caplog: pytest.LogCaptureFixture) -> None:
    """What cannot be written in time is dropped and told; nobody waits."""
    monkeypatch.setattr(request_log, "_MAX_PENDING_BYTES", 2 * (REQUEST.ByteSize() + RESPONSE.ByteSize()))
    gate = threading.Event()

    class Slow(FakeRecordFile):
        def write(self, record: bytes) -> None:
            assert gate.wait(20)
            super().write(record)

    log = RequestLog("m", config, Slow)
    offer(log)
    # It is being written, and two more may wait.
    await eventually(lambda: log._taken_bytes)
    offer(log, 5)
    assert log.dropped == 3
    gate.set()
    finish(log)
    assert len(logs_in(tmp_path / "logs")) == 3
    assert "3 requests of m were sampled and not logged" in caplog.text


def test_unwritable(config: Logging, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A disk that takes nothing is told; the next request tries again."""
    broken = True

    class Broken(FakeRecordFile):
        def write(self, record: bytes) -> None:
            if broken:
                raise InvalidArgument("no space left")
            super().write(record)

    log = RequestLog("m", config, Broken)
    offer(log)
    (tmp_path / "logs").mkdir(exist_ok=True)
    while "no space left" not in caplog.text:
        assert log._thread.is_alive()
    broken = False
    offer(log)
    finish(log)
    assert len(logs_in(tmp_path / "logs")) == 1


def test_close_waits_for_what_is_not_wanted_any_more(tmp_path: Path) -> None:
    """What a retired log was given is written before the server ends."""
    gate = threading.Event()

    class SlowFile(FakeRecordFile):
        def write(self, record: bytes) -> None:
            assert gate.wait(20)
            super().write(record)

    logs = RequestLogs(SlowFile)
    logs.adopt([Model("m", tmp_path, logging=Logging(str(tmp_path / "requests"), 1.0))])
    logs.offer(SPEC, 1, lambda: (REQUEST, RESPONSE))
    logs.adopt([])
    threading.Timer(0.2, gate.set).start()
    logs.close()
    assert len(logs_in(tmp_path)) == 1


def test_adopt(tmp_path: Path) -> None:
    """Models are logged as the last configuration says; a log that goes on is not interrupted."""
    logs = RequestLogs(FakeRecordFile)
    first, second = (Model("m", tmp_path, logging=Logging(str(tmp_path / name / "requests"), 1.0)) for name in "ab")
    for models, name in (
        ([first], "m"),
        ([first, Model("n", tmp_path)], "m"),
        ([second], "m"),
        ([second], "n"),
        ([], "m"),
    ):
        logs.adopt(models)
        logs.offer(tfs.ModelSpec(name=name), 1, lambda: (REQUEST, RESPONSE))
    logs.adopt([second])
    logs.close()
    assert len(list((tmp_path / "a").glob("*"))) == 1
    assert (len(logs_in(tmp_path / "a")), len(logs_in(tmp_path / "b"))) == (2, 1)
