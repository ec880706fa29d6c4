"""Ray Serve, with its batching."""

import os
import signal

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"

import numpy as np
import ray
from ray import serve
from saved_model import DIRECTORY, PORT
from starlette.requests import Request


@serve.deployment(max_ongoing_requests=1024, ray_actor_options={"num_cpus": 1})
class Digits:
    """The model."""

    def __init__(self, directory: str):
        import tensorflow as tf  # noqa: PLC0415  # in the replica

        self.saved = tf.saved_model.load(directory)
        self.model = self.saved.signatures["serving_default"]
        self.constant = tf.constant

    @serve.batch(max_batch_size=64, batch_wait_timeout_s=0.002)
    async def predict(self, images: list) -> list:
        """A batch."""
        return self.model(image=self.constant(np.stack(images)))["probabilities"].numpy().tolist()

    async def __call__(self, request: Request) -> dict:
        """A request."""
        image = np.asarray((await request.json())["image"], np.float32)
        return {"probabilities": await self.predict(image)}


if __name__ == "__main__":
    ray.init(include_dashboard=False, log_to_driver=False, num_cpus=2)
    serve.start(http_options={"host": "127.0.0.1", "port": PORT})
    serve.run(Digits.bind(DIRECTORY), route_prefix="/")
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    serve.shutdown()
    ray.shutdown()
