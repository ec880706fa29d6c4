"""Mosec."""

import sys

import numpy as np
from mosec import Server, Worker
from saved_model import PORT, load


class Digits(Worker):
    """The model."""

    def __init__(self):
        self.predict = load()

    def forward(self, data):
        """A batch of requests."""
        images = np.asarray([request["image"] for request in data], np.float32)
        return [{"probabilities": row.tolist()} for row in self.predict(images)]


if __name__ == "__main__":
    # Its own command line.
    sys.argv[1:] = ["--address", "127.0.0.1", "--port", str(PORT)]
    server = Server()
    server.append_worker(Digits, num=1, max_batch_size=64, max_wait_time=2)
    server.run()
