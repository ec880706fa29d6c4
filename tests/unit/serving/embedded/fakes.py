"""A loader and servables without TensorFlow, whose loads and calls the test holds back and lets go."""

import asyncio
import os
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from serving.embedded.errors import SignatureNotFound
from serving.embedded.servable import Call
from serving.wire import tensorflow_pb2 as tf
from serving.wire.codec import Array

TIMEOUT = 20.0 * float(os.environ.get("TENSORGATE_TEST_TIMEOUT_SCALE", "1"))


async def eventually(condition: Callable[[], object]) -> None:
    """Returns once `condition` holds; fails if it does not within TIMEOUT."""
    async with asyncio.timeout(TIMEOUT):
        while not condition():  # noqa: ASYNC110  # what is waited for sets no event
            await asyncio.sleep(0.002)


def publish(base: Path, name: str, file: str = "saved_model.pb") -> Path:
    """Puts a version's directory into a base path, with one empty file in it."""
    (base / name / file).parent.mkdir(parents=True)
    (base / name / file).touch()
    return base / name


class FakeServable:
    """Signature serving_default: `y` = `x` + 1, while `gate` is open; signature broken: an unexpected error."""

    def __init__(self) -> None:
        x = tf.TensorInfo(name="x:0", dtype=tf.DT_FLOAT)
        self.signatures: Mapping[str, tf.SignatureDef] = {
            key: tf.SignatureDef(method_name="predict", inputs={"x": x}) for key in ("serving_default", "broken")
        }
        self.gate = threading.Event()
        self.gate.set()
        self.prepared = 0
        self.running = 0
        self.shapes: list[tuple[int, ...]] = []
        self.closed = False

    def prepare(self, signature: str, inputs: Mapping[str, Array], outputs: Sequence[str]) -> Call:
        """See Servable.prepare."""
        self.prepared += 1
        if signature == "broken":
            raise ZeroDivisionError("secret")
        if signature != "serving_default":
            raise SignatureNotFound(signature)
        return Call(signature, [inputs["x"]], ["y"], self._execute)

    def _execute(self, arguments: Sequence[Array]) -> list[Array]:
        self.running += 1
        self.shapes.append(arguments[0].shape)
        assert self.gate.wait(TIMEOUT)
        assert not self.closed
        self.running -= 1
        return [arguments[0] + np.float32(1)]

    def close(self) -> None:
        """See Servable.close."""
        assert not self.running
        self.closed = True


class FakeLoader:
    """Loads a FakeServable for each version, once its failures are used up, while its gate is open."""

    def __init__(self) -> None:
        self.failures: dict[int, list[Exception]] = {}
        self.gates: dict[int, threading.Event] = {}
        self.attempts: Counter[int] = Counter()
        self.servables: dict[int, FakeServable] = {}

    def __call__(self, path: Path) -> FakeServable:
        version = int(path.name)
        self.attempts[version] += 1
        if version in self.gates:
            assert self.gates[version].wait(TIMEOUT)
        if self.failures.get(version):
            raise self.failures[version].pop(0)
        self.servables[version] = FakeServable()
        return self.servables[version]


class FakeRecordFile:
    """A file of records that are each behind their length."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")

    def write(self, record: bytes) -> None:
        """See RecordWriter.write."""
        self._file.write(len(record).to_bytes(4, "big") + record)

    def close(self) -> None:
        """See RecordWriter.close."""
        self._file.close()

    @staticmethod
    def records(path: Path) -> list[bytes]:
        """What was written to `path`."""
        content, records = path.read_bytes(), []
        while content:
            end = 4 + int.from_bytes(content[:4], "big")
            records.append(content[4:end])
            content = content[end:]
        return records
