"""Request logging: a sample of the requests that were answered, as warm-up of versions to come, or to train on.

TensorFlow Serving samples by a model's `logging_config` and leaves the collecting to a plug-in. Ours writes TFRecord
files of PredictionLog, no longer than a warm-up file may be: any of them, copied to
`<version>/assets.extra/tf_serving_warmup_requests`, is one.
"""

import itertools
import logging
import random
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, Protocol

from google.protobuf.message import Message

from serving.embedded.config import Logging, Model
from serving.embedded.inference import resolved
from serving.embedded.warm_up import MAX_RECORDS
from serving.wire import tensorflow_serving_pb2 as tfs
from serving.wire.errors import ServingError

logger = logging.getLogger(__name__)

# What waits to be written may take so much memory; beyond it requests are not logged.
_MAX_PENDING_BYTES = 64 << 20
_MAX_FILE_SECONDS = 60.0
_KINDS = {
    tfs.PredictRequest: "predict_log",
    tfs.ClassificationRequest: "classify_log",
    tfs.RegressionRequest: "regress_log",
    tfs.MultiInferenceRequest: "multi_inference_log",
}
_NUMBERS = itertools.count()


class RecordWriter(Protocol):
    """A TFRecord file that is being written."""

    def write(self, record: bytes) -> None:
        """Appends a record; ServingError."""

    def close(self) -> None:
        """Writes what is left; ServingError."""


Exchange = Callable[[], tuple[Message, Message]]
"""Makes a request and its response."""
OpenWriter = Callable[[Path], RecordWriter]
"""Begins a TFRecord file; ServingError."""


@dataclass(frozen=True, slots=True)
class _Entry:
    """What is to be logged."""

    spec: tfs.ModelSpec
    request: Any
    response: Any
    size: int
    seconds: int


class RequestLogs:
    """The logs of all models that are configured to have one; belongs to the event loop."""

    def __init__(self, open_writer: OpenWriter) -> None:
        self._open_writer = open_writer
        self._logs: dict[str, RequestLog] = {}
        self._ending: list[RequestLog] = []

    def adopt(self, models: Sequence[Model]) -> None:
        """From now on each of `models` is logged as it says; a log that is not wanted any more is closed by and by."""
        before, self._logs = self._logs, {}
        for model in models:
            if model.logging:
                known = before.get(model.name)
                if known and known.logging == model.logging:
                    self._logs[model.name] = before.pop(model.name)
                else:
                    self._logs[model.name] = RequestLog(model.name, model.logging, self._open_writer)
        self._end(before.values())

    def offer(self, spec: tfs.ModelSpec, number: int, exchange: Exchange) -> None:
        """Logs a request for `spec` that version `number` answered, if its model has a log and the sample takes it."""
        if self._logs and (log := self._logs.get(spec.name)):
            log.offer(spec, number, exchange)

    def close(self) -> None:
        """Returns once everything is written."""
        self._end(self._logs.values())
        for log in self._ending:
            log.join()

    def _end(self, logs: Iterable["RequestLog"]) -> None:
        self._ending = [log for log in self._ending if log.writing]
        for log in logs:
            log.end()
            self._ending.append(log)


class RequestLog:
    """The log of one model. A file is complete, and loses its `.partial`, after 1000 records or a minute.

    A thread writes, so that nobody waits for a disk; what it cannot keep up with is `dropped`, counted, and told.
    """

    def __init__(
        self,
        name: str,
        config: Logging,
        open_writer: OpenWriter,
        *,
        sample: Callable[[], float] = random.random,
        max_file_seconds: float = _MAX_FILE_SECONDS,
    ) -> None:
        self.logging = config
        self._name = name
        self._open_writer = open_writer
        self._sample = sample
        self._max_file_seconds = max_file_seconds
        self._entries: SimpleQueue[_Entry | None] = SimpleQueue()
        # Each is one thread's to change.
        self._offered_bytes = self._taken_bytes = 0
        self._refused = self._failed = 0
        self._ended = False
        self._reported = 0
        self._thread = Thread(target=self._write_all, name=f"request log of {name}", daemon=True)
        self._thread.start()

    @property
    def dropped(self) -> int:
        """Requests that were sampled and are not logged."""
        return self._refused + self._failed

    def offer(self, spec: tfs.ModelSpec, number: int, exchange: Exchange) -> None:
        """Logs a request, if the sample takes it and there is room; both messages must stay as they are."""
        if self._sample() >= self.logging.sampling_rate:
            return
        request, response = exchange()
        size = request.ByteSize() + response.ByteSize()
        if self._offered_bytes - self._taken_bytes + size > _MAX_PENDING_BYTES:
            self._refused += 1
            return
        self._offered_bytes += size
        self._entries.put(_Entry(resolved(spec, number), request, response, size, int(time.time())))

    @property
    def writing(self) -> bool:
        """Whether there may be something left to write."""
        return self._thread.is_alive()

    def end(self) -> None:
        """Lets what was offered be written, and the log then be closed."""
        self._entries.put(None)

    def join(self) -> None:
        """Returns once a log that was told to end has."""
        self._thread.join()

    def _write_all(self) -> None:
        # A file begins with a request, so that there are no empty ones.
        while not self._ended and (entry := self._entries.get()) is not None:
            self._write_file(entry)
            self._report()
        self._report()

    def _write_file(self, first: _Entry) -> None:
        prefix = Path(self.logging.filename_prefix)
        file = prefix.with_name(f"{prefix.name}.{datetime.now(UTC):%Y%m%dT%H%M%SZ}.{next(_NUMBERS):06}.tfrecord")
        partial = file.with_name(f"{file.name}.partial")
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            with closing(self._open_writer(partial)) as writer:
                for entry in self._for_one_file(first):
                    writer.write(self._record(entry))
            partial.rename(file)
        except (OSError, ServingError) as error:
            self._failed += 1
            logger.error("requests of %s are not logged to %s: %s", self._name, partial, error)  # noqa: TRY400  # it says all

    def _for_one_file(self, first: _Entry) -> Iterator[_Entry]:
        deadline = time.monotonic() + self._max_file_seconds
        entry: _Entry | None = first
        for number in range(1, MAX_RECORDS + 1):
            if entry is None:
                self._ended = True
                return
            self._taken_bytes += entry.size
            yield entry
            if number < MAX_RECORDS:
                try:
                    entry = self._entries.get(timeout=max(deadline - time.monotonic(), 0))
                except Empty:
                    return

    def _record(self, entry: _Entry) -> bytes:
        log = tfs.PredictionLog()
        log.log_metadata.model_spec.CopyFrom(entry.spec)
        log.log_metadata.sampling_config.sampling_rate = self.logging.sampling_rate
        log.log_metadata.timestamp_secs = entry.seconds
        body = getattr(log, _KINDS[type(entry.request)])
        body.request.CopyFrom(entry.request)
        body.response.CopyFrom(entry.response)
        return log.SerializeToString()

    def _report(self) -> None:
        dropped = self.dropped
        if dropped > self._reported:
            self._reported = dropped
            logger.warning("%d requests of %s were sampled and not logged, since the start", dropped, self._name)
