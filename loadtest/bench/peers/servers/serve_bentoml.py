"""BentoML, with adaptive batching; this file is also the module that `bentoml serve` imports."""

import os
import sys
from pathlib import Path

import bentoml
import numpy as np
from saved_model import PORT, load


@bentoml.service(workers=1, traffic={"timeout": 60, "max_concurrency": 1024})
class Digits:
    """The model."""

    def __init__(self):
        self.model = load()

    @bentoml.api(batchable=True, max_batch_size=64, max_latency_ms=10_000)
    def predict(self, images: np.ndarray) -> np.ndarray:
        """A batch."""
        return self.model(np.asarray(images, np.float32))


if __name__ == "__main__":
    here = Path(__file__)
    os.environ["PYTHONPATH"] = str(here.parent)
    os.environ["BENTOML_DO_NOT_TRACK"] = "true"
    program = str(Path(sys.executable).with_name("bentoml"))
    arguments = [
        "serve",
        f"{here.stem}:Digits",
        "--working-dir",
        str(here.parent),
        "--host",
        "127.0.0.1",
        "--port",
        str(PORT),
    ]
    os.execv(program, [program, *arguments])  # noqa: S606  # its own command
