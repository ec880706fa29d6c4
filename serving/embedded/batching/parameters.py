"""How requests are batched: TensorFlow Serving's BatchingParameters, in our own types."""

import os
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Parameters:
    """How requests are batched; the defaults are TensorFlow Serving's (shared_batch_scheduler.h)."""

    max_batch_size: int = 1000
    """Rows of a request at most, and of a batch unless large ones are split."""
    batch_timeout: float = 0.0
    """Seconds that a batch waits for more rows although a thread is free."""
    max_enqueued_batches: int = 10
    """Batches of one signature that wait at most; further requests are refused."""
    num_batch_threads: int = field(default_factory=lambda: os.cpu_count() or 1)
    """Batches that run at the same time, of all models."""
    thread_pool_name: str = "batch_threads"
    allowed_batch_sizes: tuple[int, ...] = ()
    """A batch gets the lowest of these that holds its rows, by repeating one of them; if empty, it stays as it is."""
    pad_variable_length_inputs: bool = False
    """Whether rows of different lengths are made equal, by a tensor's first element, rather than kept apart."""
    max_execution_batch_size: int | None = None
    """Rows of a batch at most where a larger request is split; None splits none."""

    @property
    def execution_limit(self) -> int:
        """Rows of a batch at most."""
        return self.max_execution_batch_size or self.max_batch_size

    def padded(self, size: int) -> int:
        """The rows that a batch of `size` rows is padded to."""
        return next((allowed for allowed in self.allowed_batch_sizes if allowed >= size), size)
