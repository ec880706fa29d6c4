"""What batching refuses, and what a batch fails with: TensorFlow Serving's codes and texts.

Sources: batching_util.h and shared_batch_scheduler.h of tensorflow/core/kernels/batching_util,
tensorflow_serving/batching/batching_session.cc.

ServingError
├── InvalidArgument
│   └── NoBatchInput, ScalarBatchInput, UnequalBatchInputs, TaskTooLarge
├── BatchQueueFull, BatchQueueTooShort
└── ScalarBatchOutput, UnfitBatchOutput, BatchTooLarge
"""

from collections.abc import Collection

from grpc import StatusCode

from serving.wire.errors import InvalidArgument, ServingError


class NoBatchInput(InvalidArgument):
    """The call has no input, and so no number of rows."""

    def __init__(self) -> None:
        super().__init__("Batching Run() must have at least one input tensor")


class ScalarBatchInput(InvalidArgument):
    """An input is a scalar, and so has no rows."""

    def __init__(self) -> None:
        super().__init__("Batching Run() input tensors must have at least one dimension")


class UnequalBatchInputs(InvalidArgument):
    """The inputs have different numbers of rows."""

    def __init__(self) -> None:
        super().__init__("Batching Run() input tensors must have equal 0th-dimension size")


class TaskTooLarge(InvalidArgument):
    """The request has more rows than any may have."""

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(f"Task size {size} is larger than maximum input batch size {limit}")


class BatchQueueFull(ServingError):
    """As many batches wait as may."""

    code = StatusCode.UNAVAILABLE

    def __init__(self, batches: int, limit: int) -> None:
        super().__init__(
            f"The batch scheduling queue to which this task was submitted is full; currently {batches} batches "
            f"enqueued and max_enqueued_batches is {limit}"
        )


class BatchQueueTooShort(ServingError):
    """The batches that may still wait do not hold a request that would be split."""

    code = StatusCode.UNAVAILABLE

    def __init__(
        self, size: int, capacity: int, *, batches: int, max_batches: int, open_size: int, execution_limit: int
    ) -> None:
        super().__init__(
            f"The batch scheduling queue to which this task was submitted is full; task size is {size} but scheduling "
            f"capacity is only {capacity} (num_enqueued_batches={batches}, max_enqueued_batches={max_batches}, "
            f"open_batch_size={open_size}, max_execution_batch_size={execution_limit})"
        )


class ScalarBatchOutput(ServingError):
    """The model gave a scalar, which cannot be cut into rows."""

    code = StatusCode.FAILED_PRECONDITION

    def __init__(self) -> None:
        super().__init__("Batched output tensor has 0 dimensions")


class UnfitBatchOutput(ServingError):
    """The model gave more or fewer rows than it was given."""

    code = StatusCode.FAILED_PRECONDITION

    def __init__(self) -> None:
        super().__init__(
            "Batched output tensor's 0th dimension does not equal the sum of the 0th dimension sizes of the input "
            "tensors"
        )


class BatchTooLarge(ServingError):
    """Requests of different lengths would be too large if made equal; nobody sees it, as each is then run alone."""

    code = StatusCode.RESOURCE_EXHAUSTED

    def __init__(self, rows: int, shape: Collection[int]) -> None:
        super().__init__(f"a batch of {rows} rows of shape {list(shape)} would be too large")
