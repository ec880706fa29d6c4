"""One version's life.

START → LOADING → AVAILABLE → UNLOADING → END, or from LOADING to END if it cannot be loaded.

Its state belongs to the event loop; loads, calls and unloads run on threads.
"""

import asyncio
import itertools
import logging
from collections.abc import Callable
from concurrent.futures import Executor, Future, wait
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any, TypeVar

from grpc import StatusCode

from serving.embedded.batching.batcher import Batcher
from serving.embedded.batching.parameters import Parameters
from serving.embedded.batching.scheduler import Scheduler
from serving.embedded.errors import ModelError
from serving.embedded.servable import Call, Inference, Result, Servable, advance, complete
from serving.embedded.workers import Workers
from serving.wire.errors import ServingError

logger = logging.getLogger(__name__)

Work = TypeVar("Work")


@dataclass(frozen=True)
class Loader:
    """How versions are loaded: `load` on a thread, again up to `retries` times, `retry_seconds` apart.

    `batching` says how the requests of a version are batched, None for those that are not.
    """

    load: Callable[[Path], Servable]
    retries: int
    retry_seconds: float
    batching: Callable[[Path], Parameters | None] = lambda _: None


class State(IntEnum):
    """Where a version is in its life; numbered as ModelVersionStatus.State."""

    START = 10
    LOADING = 20
    AVAILABLE = 30
    UNLOADING = 40
    END = 50


class Version:
    """A version of the model `name`, kept below `path`; `live` is its life.

    A `scheduler` runs calls in batches, if the loader has parameters for them.
    """

    def __init__(self, name: str, number: int, path: Path, scheduler: Scheduler | None = None) -> None:
        self.number = number
        self.state = State.START
        self.error: ServingError | None = None
        """Why it ended, if it failed."""
        self.attempted = asyncio.Event()
        """Set once its first load has come to an end, well or not."""
        self._label = f"{name} version {number}"
        self._path = path
        self._servable: Servable | None = None
        self._calls: set[Future[Any]] = set()
        self._retired = asyncio.Event()
        self._users = 0
        self._unused = asyncio.Event()
        self._unused.set()
        self._scheduler = scheduler
        self._batcher: Batcher | None = None

    @property
    def servable(self) -> Servable:
        """The loaded model, while AVAILABLE."""
        assert self._servable is not None
        return self._servable

    @property
    def retired(self) -> bool:
        """Whether it was told to end; it may have ended before."""
        return self._retired.is_set()

    def retire(self) -> None:
        """Lets it end: attempts to load stop, running calls finish, and the model is freed."""
        self._retired.set()

    def submit(self, workers: Executor, work: Callable[[Servable], Work]) -> "Future[Work]":
        """Runs `work` on one of `workers`; the model outlives it, even if the caller does not."""
        call = workers.submit(work, self.servable)
        self._calls.add(call)
        call.add_done_callback(self._calls.discard)
        return call

    async def infer(
        self,
        workers: Workers,
        method: Callable[[Servable], Inference[Result]],
        *,
        large: bool = False,
    ) -> Result:
        """The result of a `method` of the model: of calls in batches if there is a scheduler, else all on a worker.

        With batches the event loop does the rest, unless the request is `large`: reading that is a worker's too.
        """
        if self._batcher is None:
            self._begin()
            servable = self.servable
            return await workers.run(lambda: complete(method(servable)), self._end)
        self._begin()
        try:
            inference = method(self.servable)
            if large:
                self._begin()
                step = await workers.run(lambda: advance(inference), self._end)
            else:
                step = advance(inference)
            while isinstance(step, Call):
                step = advance(inference, await self._batcher.run(step))
            return step.result
        finally:
            self._end()

    def _begin(self) -> None:
        """One more uses the model, which is kept until it ends."""
        self._users += 1
        self._unused.clear()

    def _end(self) -> None:
        self._users -= 1
        if not self._users:
            self._unused.set()

    async def live(self, loader: Loader, on_change: Callable[[], None]) -> None:
        """From START to END; `on_change` hears when it becomes AVAILABLE and when it ceases to be."""
        self.state = State.LOADING
        try:
            self._servable, parameters = await self._load(loader)
        except ServingError as error:
            # Not the error itself: its traceback holds on to what was half loaded.
            self.error = ModelError(error.code, str(error))
        else:
            if self._scheduler and parameters:
                call_later = asyncio.get_running_loop().call_later
                self._batcher = Batcher(self._scheduler, parameters, self.submit, call_later)
            self.state = State.AVAILABLE
            logger.info("%s is available", self._label)
            on_change()
            self.attempted.set()
            await self._retired.wait()
            self.state = State.UNLOADING
            on_change()
            if self._batcher:
                self._batcher.close()
            await self._unused.wait()
            await asyncio.to_thread(self._unload)
            logger.info("%s is unloaded", self._label)
        self.state = State.END

    async def _load(self, loader: Loader) -> tuple[Servable, Parameters | None]:
        for attempt in itertools.count():
            logger.info("loading %s from %s", self._label, self._path)
            try:
                parameters = await asyncio.to_thread(loader.batching, self._path)
                return await asyncio.to_thread(loader.load, self._path), parameters
            except ServingError as error:
                failure = error
                logger.error("%s cannot be loaded: %s", self._label, error.text)  # noqa: TRY400  # the model's fault, not ours
            except Exception as error:  # whatever TensorFlow raises besides ends the load, not the server
                failure = ModelError(StatusCode.INTERNAL, f"{type(error).__name__}: {error}")
                logger.exception("%s cannot be loaded", self._label)
            self.attempted.set()
            if attempt == loader.retries or await self._retires_within(loader.retry_seconds):
                break
        raise failure

    async def _retires_within(self, seconds: float) -> bool:
        try:
            await asyncio.wait_for(self._retired.wait(), seconds)
        except TimeoutError:
            return False
        return True

    def _unload(self) -> None:
        wait(tuple(self._calls))
        servable, self._servable = self.servable, None
        try:
            servable.close()
        except Exception:  # the version is gone either way
            logger.exception("%s was not closed cleanly", self._label)
