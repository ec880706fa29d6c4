"""What reports are made of: captured files, and a database of labels."""

import os
import time
from pathlib import Path

import numpy as np

from gateway.feedback.database import connect
from gateway.feedback.labels import Label, bucket, confidence_bin
from gateway.feedback.store import Store, Task
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


def labels_of_three(file: Path) -> str:
    """The URL of a database: 90 of 100 labels of `pets` 1 agree, 5 of 5 of `pets` 2; `price` 1 is 0.5 too high."""
    url = f"sqlite:///{file}"
    store = Store(connect(url))
    names = ("cat", "<dog>")
    store.describe({("pets", 1): Task("classification", names), ("pets", 2): Task("classification", names)})
    store.describe({("price", 1): Task("regression"), ("unused", 1): Task("regression")})
    now = time.time()
    common = {"variant": 0, "predicted_at": now - 60, "observed_at": now, "client": "me"}
    store.book(
        [
            Label(
                os.urandom(16),
                "pets",
                1 + number // 100,
                confidence=0.9,
                predicted_class=number % 2,
                label_class=number % 2 if number % 10 else 1,
                **common,
            )
            for number in range(105)
        ]
        + [
            Label(os.urandom(16), "price", 1, confidence=0, predicted_value=value + 0.5, label_value=value, **common)
            for value in (1.0, 2.0)
        ]
    )
    store.count({("pets", 1, 0, bucket(now - 60), confidence_bin(0.9)): [200, 180.0]})
    store.close()
    return url
