"""gateway.batcher"""

import asyncio
import time

import numpy as np
import pytest

from gateway.backend import Tensors
from gateway.batch import Part
from gateway.batcher import Batcher
from gateway.errors import (
    BackendFailed,
    BackendRejected,
    BackendUnavailable,
    DeadlineExceeded,
    InvalidInput,
    Overloaded,
)

SOON = 5.0


class Upstream:
    """A hand-worked upstream: calls wait until `release`; doubles what it gets."""

    def __init__(self) -> None:
        self.calls: list[list[float]] = []
        self.timeouts: list[float] = []
        self.cancelled = 0
        self.gate = asyncio.Event()
        self.refuses: set[float] = set()
        self.error: Exception | None = None

    async def __call__(self, inputs: Tensors, timeout: float) -> Tensors:
        values = inputs["x"].ravel().tolist()
        self.calls.append(values)
        self.timeouts.append(timeout)
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.error:
            raise self.error
        if self.refuses & set(values):
            raise BackendRejected("bad row")
        return {"y": inputs["x"] * 2}


@pytest.fixture
async def upstream() -> Upstream:
    """An upstream that holds its calls."""
    return Upstream()


def batcher(upstream: Upstream, *, rows: int = 8, flights: int = 1, queue: int = 100) -> Batcher:
    """A batcher in front of `upstream`."""
    return Batcher(upstream, max_rows=rows, max_in_flight=flights, max_queued_rows=queue)


def submit(batcher: Batcher, *values: float, width: int = 1, seconds: float = SOON) -> "asyncio.Task[Tensors]":
    """A request with one row for each value."""
    rows = np.repeat(np.array(values, np.float32)[:, np.newaxis], width, axis=1)
    return asyncio.create_task(batcher.submit({"x": rows}, time.monotonic() + seconds))


async def turn() -> None:
    """Lets everything that can run do so."""
    for _ in range(10):
        await asyncio.sleep(0)


async def value(task: "asyncio.Task[Tensors]") -> list[float]:
    """The numbers that a request was answered with."""
    return (await task)["y"].ravel().tolist()


async def test_leaves_at_once(upstream: Upstream) -> None:
    """While a slot is free a request waits for nobody."""
    batches = batcher(upstream, flights=2)
    first = submit(batches, 1)
    await turn()
    second = submit(batches, 2)
    await turn()
    assert upstream.calls == [[1], [2]]
    upstream.gate.set()
    assert (await value(first), await value(second)) == ([2], [4])


async def test_gathers_behind_a_flight(upstream: Upstream) -> None:
    """What arrives while all slots are taken leaves as one call, up to max_rows, in order."""
    batches = batcher(upstream, rows=4)
    tasks = [submit(batches, 0)]
    await turn()
    tasks += [submit(batches, n) for n in range(1, 7)]
    await turn()
    assert upstream.calls == [[0]]
    upstream.gate.set()
    assert [await value(task) for task in tasks] == [[2 * n] for n in range(7)]
    assert upstream.calls == [[0], [1, 2, 3, 4], [5, 6]]


async def test_same_turn(upstream: Upstream) -> None:
    """Requests that arrive in one turn of the event loop share a call even when slots are free."""
    batches = batcher(upstream)
    tasks = [submit(batches, 1), submit(batches, 2, 3)]
    upstream.gate.set()
    assert [await value(task) for task in tasks] == [[2], [4, 6]]
    assert upstream.calls == [[1, 2, 3]]


async def test_check(upstream: Upstream) -> None:
    """Rows that do not pass are their senders' affair: the others leave together all the same."""

    def check(inputs: Tensors) -> None:
        if (inputs["x"] < 0).any():
            raise InvalidInput("negative")

    batches = Batcher(upstream, max_rows=8, max_in_flight=1, max_queued_rows=100, check=check)
    upstream.gate.set()
    found = await asyncio.gather(*(submit(batches, n) for n in (1, -2, 3, -4)), return_exceptions=True)
    assert [type(each) for each in found] == [Part, InvalidInput, Part, InvalidInput]
    assert upstream.calls == [[1, 3]]
    with pytest.raises(InvalidInput):
        await submit(batches, -5)
    assert not batches.busy


async def test_haste(upstream: Upstream) -> None:
    """Whose time is short waits for no others, and takes along those who do."""
    batches = batcher(upstream)
    batches._gathering._span = 1000
    tasks = [submit(batches, 1)]
    for _ in range(10):
        await turn()
    assert upstream.calls == []
    tasks.append(submit(batches, 2, seconds=0.09))
    await turn()
    assert upstream.calls == [[1, 2]]
    upstream.gate.set()
    await asyncio.gather(*tasks)


async def test_large_request_travels_alone(upstream: Upstream) -> None:
    """A request with more rows than max_rows is not split and shares with nobody."""
    batches = batcher(upstream, rows=2)
    tasks = [submit(batches, 1, 2, 3), submit(batches, 4)]
    upstream.gate.set()
    assert [await value(task) for task in tasks] == [[2, 4, 6], [8]]
    assert upstream.calls == [[1, 2, 3], [4]]


async def test_kinds_do_not_mix(upstream: Upstream) -> None:
    """Rows of different shapes never share a call, and do not overtake those of their own shape."""
    batches = batcher(upstream)
    tasks = [submit(batches, 1), submit(batches, 2, width=2), submit(batches, 3), submit(batches, 4, width=2)]
    upstream.gate.set()
    assert [await value(task) for task in tasks] == [[2], [4, 4], [6], [8, 8]]
    assert upstream.calls == [[1, 3], [2, 2, 4, 4]]


async def test_bad_row(upstream: Upstream) -> None:
    """When a batch is refused its requests go one by one, so that only the bad one fails."""
    upstream.refuses = {2.0}
    batches = batcher(upstream)
    tasks = [submit(batches, n) for n in (1, 2, 3)]
    upstream.gate.set()
    outcomes = await asyncio.gather(*map(value, tasks), return_exceptions=True)
    assert [outcomes[0], outcomes[2]] == [[2], [6]]
    assert isinstance(outcomes[1], BackendRejected)
    assert upstream.calls == [[1, 2, 3], [1], [2], [3]]


async def test_failure_is_everybodys(upstream: Upstream) -> None:
    """Any other failure of a call is not tried again: all who were in it get it."""
    upstream.error = BackendUnavailable("gone")
    batches = batcher(upstream)
    tasks = [submit(batches, 1), submit(batches, 2)]
    upstream.gate.set()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [BackendUnavailable] * 2
    assert len(upstream.calls) == 1


async def test_cancelled_in_queue(upstream: Upstream) -> None:
    """A request that is given up before it left costs no upstream row and gives its place back."""
    batches = batcher(upstream, queue=2)
    first = submit(batches, 0)
    await turn()
    waiting = [submit(batches, 1), submit(batches, 2)]
    await turn()
    waiting[0].cancel()
    await turn()
    late = submit(batches, 3)
    upstream.gate.set()
    assert [await value(first), await value(waiting[1]), await value(late)] == [[0], [4], [6]]
    assert upstream.calls == [[0], [2, 3]]


async def test_cancelled_in_flight(upstream: Upstream) -> None:
    """A call that nobody waits for any more is cancelled, and its slot is free again; not while somebody does."""
    batches = batcher(upstream)
    tasks = [submit(batches, 1), submit(batches, 2)]
    await turn()
    tasks[0].cancel()
    await turn()
    assert upstream.cancelled == 0
    tasks[1].cancel()
    await turn()
    assert upstream.cancelled == 1
    upstream.gate.set()
    assert await value(submit(batches, 3)) == [6]


async def test_deadline(upstream: Upstream) -> None:
    """A request whose time is up gets DeadlineExceeded; the call's own time-out is the longest of its requests'."""
    batches = batcher(upstream)
    short, long = submit(batches, 1, seconds=0.05), submit(batches, 2, seconds=1.0)
    with pytest.raises(DeadlineExceeded):
        await short
    assert upstream.cancelled == 0
    assert 0.5 < upstream.timeouts[0] <= 1.0
    upstream.gate.set()
    assert await value(long) == [4]


async def test_already_expired(upstream: Upstream) -> None:
    """A request that arrives too late is dropped before it costs an upstream call."""
    with pytest.raises(DeadlineExceeded):
        await submit(batcher(upstream), 1, seconds=-1)
    await turn()
    assert upstream.calls == []


async def test_full_queue(upstream: Upstream) -> None:
    """Beyond max_queued_rows a request is refused at once; a large one is taken when nothing waits."""
    batches = batcher(upstream, queue=2)
    tasks = [submit(batches, 0, 0, 0)]
    await turn()
    tasks += [submit(batches, 1, 2)]
    await turn()
    with pytest.raises(Overloaded) as caught:
        await submit(batches, 3)
    assert caught.value.retry_after
    upstream.gate.set()
    assert [await value(task) for task in tasks] == [[0, 0, 0], [2, 4]]


@pytest.mark.parametrize("shape", [(), (1,), (5, 1)])
async def test_wrong_row_count(shape: tuple[int, ...]) -> None:
    """An answer that does not have a row for each row is no answer."""

    async def send(inputs: Tensors, timeout: float) -> Tensors:
        return {"y": np.zeros(shape)}

    batches = Batcher(send, max_rows=8, max_in_flight=1, max_queued_rows=8)
    with pytest.raises(BackendFailed, match="answered 2 rows"):
        await batches.submit({"x": np.zeros((2, 1))}, time.monotonic() + SOON)


async def test_measures(upstream: Upstream) -> None:
    """Each call reports its rows, how long its requests waited, and what they are marked with."""
    seen: list[tuple[int, int, list[object]]] = []
    batches = Batcher(
        upstream,
        max_rows=8,
        max_in_flight=1,
        max_queued_rows=8,
        on_batch=lambda rows, waits, marks: seen.append((rows, len(waits), marks)),
    )
    upstream.gate.set()
    await asyncio.gather(submit(batches, 1, 2), submit(batches, 3))
    assert seen == [(3, 2, [None, None])]


async def test_deadlines_in_any_order(upstream: Upstream) -> None:
    """Each request ends at its own deadline, whether it came before or after those with other ones."""
    queue = batcher(upstream)
    times = {seconds: submit(queue, seconds, seconds=seconds) for seconds in (0.3, 0.1, 5.0, 0.2)}
    began = time.monotonic()
    for seconds in (0.1, 0.2, 0.3):
        with pytest.raises(DeadlineExceeded):
            await asyncio.wait_for(times[seconds], SOON)
        assert time.monotonic() - began >= seconds - 0.02
    upstream.gate.set()
    assert (await asyncio.wait_for(times[5.0], SOON))["y"].tolist() == [[10.0]]


async def test_cancelled_when_its_time_is_over(upstream: Upstream) -> None:
    """A caller who leaves in the very moment of the deadline leaves once, and its neighbours are served."""
    queue = batcher(upstream)
    flying = submit(queue, 1)
    await turn()
    late, waiting = submit(queue, 2, seconds=0.05), submit(queue, 3)
    await turn()
    asyncio.get_running_loop().call_later(0.06, late.cancel)
    # Both timers are due at once: the request is ended, and cancelled before its task hears of that.
    time.sleep(0.1)  # noqa: ASYNC251
    await asyncio.wait({late}, timeout=SOON)
    assert late.cancelled()
    upstream.gate.set()
    assert (await asyncio.wait_for(flying, SOON))["y"].tolist() == [[2.0]]
    assert (await asyncio.wait_for(waiting, SOON))["y"].tolist() == [[6.0]]
