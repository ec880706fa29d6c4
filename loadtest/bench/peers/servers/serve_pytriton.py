"""Triton Inference Server through nvidia-pytriton, with dynamic batching."""

import numpy as np
from pytriton.decorators import batch
from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig
from saved_model import PORT, load

if __name__ == "__main__":
    model = load()

    @batch
    def infer(image):
        """A batch."""
        return {"probabilities": model(image)}

    config = TritonConfig(
        grpc_address="127.0.0.1",
        grpc_port=PORT,
        http_address="127.0.0.1",
        http_port=PORT + 1,
        allow_metrics=False,
    )
    with Triton(config=config) as triton:
        triton.bind(
            model_name="digits",
            infer_func=infer,
            inputs=[Tensor(name="image", dtype=np.float32, shape=(28, 28))],
            outputs=[Tensor(name="probabilities", dtype=np.float32, shape=(10,))],
            config=ModelConfig(max_batch_size=64, batcher=DynamicBatcher(max_queue_delay_microseconds=2000)),
            strict=True,
        )
        triton.serve()
