"""`python -m loadtest.bench.in_process DIRECTORY ROWS…`: what the model itself costs, called in this very process.

Prints a JSON object: rows a second by rows in a call.
"""

import json
import os
import sys
import time
from pathlib import Path

import numpy as np

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
from serving.embedded import saved_model

SECONDS = 1.0


def main(directory: Path, sizes: list[int]) -> None:
    """Measures each size for a while; the server's own way of calling, and its default threads."""
    model = saved_model.load(directory, intra_op_threads=0, inter_op_threads=-1)
    ((alias, info),) = model.signatures["serving_default"].inputs.items()
    row = [dim.size for dim in info.tensor_shape.dim[1:]]
    rates = {}
    for rows in sizes:
        inputs = {alias: np.zeros((rows, *row), np.float32)}
        model.prepare("serving_default", inputs, []).run()
        calls, began = 0, time.perf_counter()
        while (elapsed := time.perf_counter() - began) < SECONDS:
            model.prepare("serving_default", inputs, []).run()
            calls += 1
        rates[rows] = calls * rows / elapsed
    print(json.dumps(rates))


if __name__ == "__main__":
    main(Path(sys.argv[1]), [int(rows) for rows in sys.argv[2:]])
