"""serving.embedded.batching: a batcher, its queues and the scheduler, with threads that the test holds back."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.embedded.batching.batcher import Batcher
from serving.embedded.batching.parameters import Parameters
from serving.embedded.batching.scheduler import Scheduler
from serving.embedded.servable import Call
from serving.wire.codec import Array
from tests.unit.serving.embedded.fakes import eventually


class Clock:
    """Timers that go off when the test says so."""

    def __init__(self) -> None:
        self.timers: list[tuple[float, Callable[..., None], tuple[Any, ...]]] = []

    def call_later(self, delay: float, callback: Callable[..., None], *arguments: Any) -> Any:
        """As an event loop's; the handle only cancels."""
        timer = (delay, callback, arguments)
        self.timers.append(timer)

        class Handle:
            def cancel(_self) -> None:  # noqa: N805  # the outer one is meant elsewhere
                if timer in self.timers:
                    self.timers.remove(timer)

        return Handle()

    def strike(self) -> None:
        """All timers go off."""
        timers, self.timers = self.timers, []
        for _, callback, arguments in timers:
            callback(*arguments)


class Bench:
    """A batcher whose batches wait until the test runs them; `sizes` are theirs."""

    def __init__(self, **parameters: Any) -> None:
        self.clock = Clock()
        self.held: list[tuple[Callable[..., Any], Future[Any]]] = []
        self.sizes: list[int] = []
        self.scheduler = Scheduler(ThreadPoolExecutor(1), parameters.pop("num_batch_threads", 1))
        self.batcher = Batcher(self.scheduler, Parameters(**parameters), self.submit, self.clock.call_later)

    def submit(self, _threads: Executor, work: Callable[..., Any]) -> Any:
        """Holds work back."""
        future: Future[Any] = Future()
        self.held.append((work, future))
        return future

    def execute(self, arguments: Sequence[Array]) -> list[Array]:
        """The model: x + 1, ten times each."""
        self.sizes.append(len(arguments[0]))
        return [np.repeat(arguments[0][:, :1] + 1, 10, axis=1)]

    def call(self, *values: int, key: str = "key", width: int = 1) -> "asyncio.Task[dict[str, Array]]":
        """A call with a row for each value."""
        argument = np.full((len(values), width), np.array(values).reshape(-1, 1))
        return asyncio.create_task(self.batcher.run(Call(key, [argument], ["y"], self.execute)))

    async def run(self) -> None:
        """Runs the batch that is held, once there is one."""
        await eventually(lambda: self.held)
        work, future = self.held.pop(0)
        future.set_result(work(None))


async def settle() -> None:
    """Lets the event loop turn more often than a batch has patience for."""
    for _ in range(200):
        await asyncio.sleep(0)


def values(outputs: dict[str, Array]) -> list[int]:
    """The model's answer, a value for each row."""
    assert outputs["y"].shape[1:] == (10,)
    return [int(value) for value in outputs["y"][:, 0]]


async def test_gathers_while_threads_are_busy() -> None:
    """The first call leaves; those that come meanwhile leave as one when the thread is free."""
    bench = Bench()
    calls = [bench.call(1)]
    await eventually(lambda: bench.held)
    calls += [bench.call(2), bench.call(3, 4)]
    await settle()
    assert len(bench.held) == 1
    await bench.run()
    await bench.run()
    assert [values(outputs) for outputs in await asyncio.gather(*calls)] == [[2], [3], [4, 5]]
    assert bench.sizes == [1, 3]


async def test_timeout() -> None:
    """With batch_timeout a batch waits although a thread is free, until the time is up or it is full."""
    bench = Bench(batch_timeout=0.5, max_batch_size=3)
    calls = [bench.call(1), bench.call(2)]
    await settle()
    assert not bench.held
    assert [timer[0] for timer in bench.clock.timers] == [0.5]
    bench.clock.strike()
    await bench.run()
    calls += [bench.call(1), bench.call(2, 3)]
    await bench.run()
    assert not bench.clock.timers
    await asyncio.gather(*calls)
    assert bench.sizes == [2, 3]


async def test_closed() -> None:
    """Once it is closed nothing waits for time, neither what came before nor what comes then."""
    bench = Bench(batch_timeout=1000.0)
    calls = [bench.call(1)]
    await settle()
    bench.batcher.close()
    await bench.run()
    calls.append(bench.call(2, key="other"))
    await bench.run()
    await asyncio.gather(*calls)


async def test_too_large() -> None:
    """A request beyond max_batch_size is refused in TensorFlow Serving's words."""
    bench = Bench(max_batch_size=2)
    with pytest.raises(Exception, match="Task size 3 is larger than maximum input batch size 2") as caught:
        await bench.call(1, 2, 3)
    assert not bench.batcher._queues
    assert caught.value.code.name == "INVALID_ARGUMENT"


async def test_full_queue() -> None:
    """When as many batches wait as may, a request is UNAVAILABLE, and those that wait are answered."""
    bench = Bench(max_batch_size=2, max_enqueued_batches=2)
    calls = [bench.call(0)]
    await eventually(lambda: bench.held)
    calls += [bench.call(1, 2), bench.call(3)]
    await settle()
    with pytest.raises(Exception, match="full; currently 2 batches enqueued and max_enqueued_batches is 2") as caught:
        await bench.call(4, 5)
    assert caught.value.code.name == "UNAVAILABLE"
    calls.append(bench.call(6))
    for _ in range(3):
        await bench.run()
    assert [values(outputs) for outputs in await asyncio.gather(*calls)] == [[1], [2, 3], [4], [7]]


async def test_splitting() -> None:
    """A large request fills the batch that waits and the next ones, and its outputs come as one."""
    bench = Bench(max_batch_size=10, max_execution_batch_size=3, max_enqueued_batches=4)
    calls = [bench.call(0)]
    await eventually(lambda: bench.held)
    calls += [bench.call(1), bench.call(*range(2, 10))]
    await settle()
    with pytest.raises(Exception, match="task size is 5 but scheduling capacity is only 3 ") as caught:
        await bench.call(*range(5))
    assert caught.value.code.name == "UNAVAILABLE"
    for _ in range(4):
        await bench.run()
    assert [values(outputs) for outputs in await asyncio.gather(*calls)] == [[1], [2], list(range(3, 11))]
    assert bench.sizes == [1, 3, 3, 3]


async def test_cancelled() -> None:
    """Who is cancelled leaves the queue; a batch that nobody waits for is not run."""
    bench = Bench(max_batch_size=4, max_execution_batch_size=2)
    first = bench.call(0)
    await eventually(lambda: bench.held)
    leaving, split, staying = bench.call(1), bench.call(2, 3, 4), bench.call(5)
    await settle()
    leaving.cancel()
    split.cancel()
    await settle()
    await bench.run()
    await bench.run()
    assert values(await staying) == [6]
    assert values(await first) == [1]
    assert bench.sizes == [1, 1]
    assert not bench.batcher._queues


async def test_abandoned_batch() -> None:
    """Who is cancelled while the batch runs is no trouble to the others in it."""
    bench = Bench()
    leaving, staying = bench.call(1), bench.call(2)
    await eventually(lambda: bench.held)
    leaving.cancel()
    await bench.run()
    assert values(await staying) == [3]


async def test_different_shapes() -> None:
    """Rows of another shape, another signature or other outputs run apart."""
    bench = Bench()
    calls = [bench.call(1), bench.call(2, width=2), bench.call(3), bench.call(4, key="other")]
    for _ in range(3):
        await bench.run()
    assert [values(outputs) for outputs in await asyncio.gather(*calls)] == [[2], [3], [4], [5]]
    assert sorted(bench.sizes) == [1, 1, 2]


async def test_unexpected_error() -> None:
    """An error that is nobody's fault is everybody's, and the thread is free again."""
    bench = Bench()
    calls = [bench.call(1), bench.call(2)]
    await eventually(lambda: bench.held)
    bench.held.pop()[1].set_exception(ZeroDivisionError())
    assert [type(error) for error in await asyncio.gather(*calls, return_exceptions=True)] == [ZeroDivisionError] * 2
    call = bench.call(3)
    await bench.run()
    assert values(await call) == [4]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ([], "must have at least one input tensor"),
        ([np.array(1)], "must have at least one dimension"),
        ([np.ones(1), np.array(1)], "must have at least one dimension"),
        ([np.ones(1), np.ones(2)], "must have equal 0th-dimension size"),
    ],
)
async def test_no_rows(arguments: list[Array], text: str) -> None:
    """A call whose inputs have no number of rows in common is refused."""
    with pytest.raises(Exception, match=text) as caught:
        await Bench().batcher.run(Call("key", arguments, ["y"], lambda _: []))
    assert caught.value.code.name == "INVALID_ARGUMENT"


@given(
    sizes=st.lists(st.integers(0, 12), min_size=1, max_size=30),
    max_execution=st.sampled_from([None, 1, 3, 12]),
    allowed=st.booleans(),
    timeout=st.sampled_from([0.0, 0.001]),
)
def test_everyone_gets_their_own(sizes: list[int], max_execution: int | None, allowed: bool, timeout: float) -> None:
    """Whatever the sizes and parameters, every request gets the outputs of its own rows."""

    async def run() -> None:
        limit = max_execution or 12
        parameters = Parameters(
            max_batch_size=12,
            max_execution_batch_size=max_execution,
            max_enqueued_batches=1000,
            batch_timeout=timeout,
            allowed_batch_sizes=tuple(sorted({(limit + 1) // 2, limit})) if allowed else (),
        )
        with ThreadPoolExecutor(3) as threads:
            loop = asyncio.get_running_loop()
            batcher = Batcher(
                Scheduler(threads, 3), parameters, lambda pool, work: pool.submit(work, None), loop.call_later
            )
            inputs = [np.arange(size) + 100 * number for number, size in enumerate(sizes)]
            calls = [batcher.run(Call("key", [given], ["y"], lambda given: [given[0] + 1])) for given in inputs]
            for given, outputs in zip(inputs, await asyncio.gather(*calls), strict=True):
                np.testing.assert_array_equal(outputs["y"], given + 1)

    asyncio.run(run())


async def test_a_full_batch_waits_for_nobody() -> None:
    """A batch that no other request can join leaves, however long the last one's requests took to come."""
    bench = Bench(max_batch_size=3)
    bench.scheduler._gathering._span = 1000
    calls = [bench.call(1)]
    await settle()
    assert not bench.held
    calls += [bench.call(2), bench.call(3)]
    await bench.run()
    await asyncio.gather(*calls)
    assert bench.sizes == [3]
