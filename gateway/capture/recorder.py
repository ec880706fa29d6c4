"""Takes a sample of the observations, and writes it in a thread."""

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from threading import Thread

import structlog
from prometheus_client import CollectorRegistry, Counter

from gateway.capture.files import Directory
from gateway.capture.records import redaction, to_log
from gateway.observations import Observation, Variant
from gateway.settings.capture import CaptureSettings
from serving.wire.tfrecord import frame

log = structlog.get_logger("gateway.capture")

# What TensorFlow Serving takes as a warm-up file.
MAX_RECORDS = 1000
MAX_FILE_BYTES = 16 << 20
# Of observations that wait to be written; beyond that they are dropped.
_MAX_PENDING_BYTES = 32 << 20
# Seconds that the end of the gateway waits for a file system.
_CLOSE_TIMEOUT = 10.0


class CaptureMetrics:
    """What was captured and what was not."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.records = Counter(
            "tensorgate_capture_records", "Requests that were written.", ("model",), registry=registry
        )
        self.dropped = Counter(
            "tensorgate_capture_dropped",
            "Requests in the sample that were not written: rate, size, load, redacted (by the hook, or it failed), "
            "failed (the file could not be written).",
            ("model", "reason"),
            registry=registry,
        )


@dataclass
class _File:
    """Records that will be a file."""

    deadline: float
    frames: list[bytes] = field(default_factory=list)
    size: int = 0


@dataclass
class _Bucket:
    """How many requests of a model may still be taken."""

    level: float
    filled: float


class Recorder:
    """Captures what `observe` is told, as the settings say; CaptureError if that cannot be.

    A thread encodes and writes: who asks pays for a random number, and one in a hundred for an entry in a queue.
    """

    def __init__(
        self,
        settings: CaptureSettings,
        models: Sequence[str],
        metrics: CaptureMetrics,
        *,
        sample: Callable[[], float] = random.random,
    ) -> None:
        self._settings = settings
        self._metrics = metrics
        self._sample = sample
        self._redact = redaction(settings.redact)
        self._directories: dict[str, Directory] = {}
        for model in models:
            self._directory(model)
        self._burst = max(1.0, settings.max_rate)
        self._buckets: dict[str, _Bucket] = {}
        self._queue: SimpleQueue[tuple[Observation, int, int] | None] = SimpleQueue()
        # Each is one thread's to change.
        self._offered_bytes = self._taken_bytes = 0
        self._files: dict[str, _File] = {}
        self._thread = Thread(target=self._write_all, name="capture", daemon=True)
        self._thread.start()

    def observe(self, observation: Observation) -> None:
        """An Observer."""
        # What a shadow is asked, the version before it was asked too.
        if self._sample() >= self._settings.sampling_rate or observation.variant is Variant.SHADOW:
            return
        model = observation.servable.model
        size = observation.nbytes
        if size > self._settings.max_record_bytes:
            self._drop(model, "size")
        elif not self._may(model):
            self._drop(model, "rate")
        elif self._offered_bytes - self._taken_bytes + size > _MAX_PENDING_BYTES:
            self._drop(model, "load")
        else:
            self._offered_bytes += size
            self._queue.put((observation, size, int(time.time())))

    def close(self) -> None:
        """Writes what is left, but waits for no file system for ever."""
        self._queue.put(None)
        self._thread.join(_CLOSE_TIMEOUT)

    def _may(self, model: str) -> bool:
        """Whether the rate allows one more request of the model."""
        now = time.monotonic()
        bucket = self._buckets.setdefault(model, _Bucket(self._burst, now))
        bucket.level = min(self._burst, bucket.level + (now - bucket.filled) * self._settings.max_rate)
        bucket.filled = now
        if bucket.level < 1:
            return False
        bucket.level -= 1
        return True

    def _drop(self, model: str, reason: str, count: int = 1) -> None:
        self._metrics.dropped.labels(model, reason).inc(count)

    def _directory(self, model: str) -> Directory:
        if model not in self._directories:
            settings = self._settings
            self._directories[model] = Directory(settings.path, model, settings.max_total_bytes)
        return self._directories[model]

    def _write_all(self) -> None:
        ended = False
        while not ended:
            deadline = min((file.deadline for file in self._files.values()), default=None)
            try:
                entry = self._queue.get(timeout=None if deadline is None else max(0.0, deadline - time.monotonic()))
            except Empty:
                entry = None
            else:
                ended = entry is None
            if entry is not None:
                observation, size, seconds = entry
                self._add(observation, seconds)
                self._taken_bytes += size
            now = time.monotonic()
            for model, file in list(self._files.items()):
                if ended or now >= file.deadline or len(file.frames) >= MAX_RECORDS or file.size >= MAX_FILE_BYTES:
                    del self._files[model]
                    self._publish(model, file)

    def _add(self, observation: Observation, seconds: int) -> None:
        model = observation.servable.model
        try:
            record = self._redact(to_log(observation, self._settings, seconds))
        except Exception:
            # The hook is somebody else's code: what it may have left in is not written.
            log.exception("a request is not captured", model=model)
            record = None
        if record is None:
            self._drop(model, "redacted")
            return
        file = self._files.setdefault(model, _File(time.monotonic() + self._settings.max_file_seconds))
        file.frames.append(frame(record.SerializeToString()))
        file.size += len(file.frames[-1])

    def _publish(self, model: str, file: _File) -> None:
        try:
            self._directory(model).publish(b"".join(file.frames))
        except Exception as error:
            # Each file system has errors of its own.
            self._drop(model, "failed", len(file.frames))
            log.error("captured requests are lost", model=model, requests=len(file.frames), message=str(error))  # noqa: TRY400  # the message says it
        else:
            self._metrics.records.labels(model).inc(len(file.frames))
