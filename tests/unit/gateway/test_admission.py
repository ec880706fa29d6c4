"""gateway.interceptors.admission and gateway.interceptors.call_limits"""

import asyncio
import time
from typing import Any

import pytest

from gateway.auth.principal import Principal
from gateway.call import Call
from gateway.errors import GatewayError, InvalidInput, Overloaded
from gateway.interceptors.admission import Admission
from gateway.interceptors.call_limits import CallLimits
from gateway.interceptors.interceptor import Interceptor
from gateway.limits.memory import MemoryStore
from gateway.metrics import Metrics
from gateway.settings.guards import LimitSettings
from tests.fakes import calls


def call(
    *, bulk: bool = False, deadline: float | None = None, size: int = 0, client: str = "ada", **metadata: str
) -> Call:
    """A call that has just come."""
    until = None if deadline is None else time.monotonic() + deadline
    return calls.call(
        metadata={key.replace("_", "-"): value for key, value in metadata.items()},
        deadline=until,
        request_bytes=size,
        bulk=bulk,
        principal=Principal(client),
    )


async def begin(interceptor: Interceptor, call_: Call) -> None:
    """What the chain does when a call comes."""
    waiting = interceptor.on_start(call_)
    if waiting is not None:
        await waiting


class Door:
    """An admission and the calls that came to it."""

    def __init__(self, **limits: Any) -> None:
        self.metrics = Metrics()
        self.admission = Admission(
            LimitSettings(**{"max_concurrent_calls": 1, "max_waiting_calls": 2} | limits), self.metrics
        )
        self.entered: list[str] = []
        self.leave: dict[str, asyncio.Event] = {}

    def come(self, name: str, call_: Call) -> "asyncio.Task[str]":
        """Lets a call come; the task's result is how it went."""
        self.leave[name] = asyncio.Event()

        async def run() -> str:
            try:
                await begin(self.admission, call_)
                self.entered.append(name)
                await self.leave[name].wait()
            except GatewayError as error:
                return type(error).__name__
            finally:
                self.admission.on_end(call_)
            return "OK"

        return asyncio.create_task(run())


async def settle() -> None:
    """Lets everything happen that can."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_turns() -> None:
    """Interactive calls go before bulk, each class in order; beyond the queue callers are told so at once."""
    door = Door(max_waiting_calls=3)
    tasks = {"first": door.come("first", call())}
    await settle()
    for name, bulk in (("bulk", True), ("a", False), ("b", False)):
        tasks[name] = door.come(name, call(bulk=bulk))
        await settle()
    assert await door.come("beyond", call(bulk=True)) == "Overloaded"
    assert door.metrics.registry.get_sample_value("tensorgate_calls_waiting") == 3
    for event in door.leave.values():
        event.set()
    assert set(await asyncio.gather(*tasks.values())) == {"OK"}
    assert door.entered == ["first", "a", "b", "bulk"]
    assert door.metrics.registry.get_sample_value("tensorgate_calls_waiting") == 0


async def test_displaced() -> None:
    """An interactive call takes the place of the bulk call that came last, never of another interactive one."""
    door = Door()
    door.come("first", call())
    await settle()
    early, late = door.come("early", call(bulk=True)), door.come("late", call(bulk=True))
    await settle()
    waiting = door.come("x", call())
    assert await late == "Overloaded"
    door.come("y", call())
    assert await early == "Overloaded"
    assert await door.come("z", call()) == "Overloaded"
    for event in door.leave.values():
        event.set()
    assert await waiting == "OK"


async def test_deadlines() -> None:
    """A call that would come too late is refused at once; one that waited in vain ends at its deadline."""
    door = Door()
    door.admission._seconds = 10.0
    first = door.come("first", call())
    await settle()
    started = time.monotonic()
    assert await door.come("hopeless", call(deadline=5.0)) == "Overloaded"
    assert time.monotonic() - started < 1.0
    door.admission._seconds = 0.0
    assert await door.come("in vain", call(deadline=0.05)) == "DeadlineExceeded"
    door.leave["first"].set()
    assert await first == "OK"
    assert not door.admission._waiting
    assert not any(door.admission._queues.values())


@pytest.mark.parametrize("bulk", [False, True])
async def test_cancelled(bulk: bool) -> None:
    """Who leaves while waiting, even in the moment of its turn or of being displaced, takes no place with it."""
    door = Door(max_waiting_calls=1)
    first = door.come("first", call())
    await settle()
    leaving = door.come("leaving", call(bulk=bulk))
    await settle()
    leaving.cancel()
    if bulk:
        door.come("interactive", call())
    else:
        door.leave["first"].set()
    await settle()
    for event in door.leave.values():
        event.set()
    await asyncio.gather(first, leaving, return_exceptions=True)
    after = door.come("after", call())
    await settle()
    door.leave["after"].set()
    assert await after == "OK"
    assert not door.admission._admitted
    assert not door.admission._waiting
    assert door.admission._bytes_in_flight == 0


async def test_streams() -> None:
    """Streams have places of their own."""
    door = Door(max_concurrent_streams=1, max_waiting_calls=0)
    first = door.come("call", call())
    opened, refused = (calls.call("/s/S", streaming=True) for _ in range(2))
    stream = door.come("stream", opened)
    await settle()
    assert await door.come("refused", refused) == "Overloaded"
    for event in door.leave.values():
        event.set()
    assert await asyncio.gather(first, stream) == ["OK", "OK"]
    again = door.come("again", refused)
    await settle()
    door.leave["again"].set()
    assert await again == "OK"


async def test_bytes() -> None:
    """Requests together have no more bytes than allowed; one alone may."""
    door = Door(max_concurrent_calls=9, max_bytes_in_flight=100)
    big = door.come("big", call(size=150))
    await settle()
    assert await door.come("small", call(size=1)) == "Overloaded"
    door.leave["big"].set()
    assert await big == "OK"
    again = door.come("small", call(size=1))
    await settle()
    door.leave["small"].set()
    assert await again == "OK"


def limits(**settings: Any) -> CallLimits:
    """Limits in memory."""
    return CallLimits(LimitSettings(**settings), MemoryStore(), Metrics())


async def entered(call_: Call, model: str) -> None:
    """The call says which model it is for."""
    waiting = call_.enter(model)
    if waiting is not None:
        await waiting


async def refused(limits: CallLimits, call_: Call, model: str = "") -> tuple[str, str] | None:
    """Reason and whose limit a call is refused for; it ends."""
    try:
        await begin(limits, call_)
        if model:
            await entered(call_, model)
    except Overloaded as error:
        return (error.reason, error.metadata["limit"]) if error.retry_after else None
    finally:
        limits.on_end(call_)
    return None


async def test_client_limits() -> None:
    """Each client has its own limits or the common ones, and its own count."""
    guard = limits(
        client={"calls_per_second": 0.01}, clients={"web": {"calls_per_day": 2}, "batch": {"priority": "bulk"}}
    )
    assert [await refused(guard, call(client="ada")) for _ in range(2)] == [None, ("RATE_LIMITED", "client")]
    assert await refused(guard, call(client="bob")) is None
    assert [await refused(guard, call(client="web")) for _ in range(3)] == [None, None, ("QUOTA_EXHAUSTED", "client")]
    assert [await refused(guard, call(client="batch")) for _ in range(9)] == [None] * 9
    guard.replace(LimitSettings())
    assert await refused(guard, call(client="ada")) is None


async def test_borrowed_name() -> None:
    """A token's subject that has a client's name has neither its limits nor its count."""
    guard = limits(client={"calls_per_second": 0.01}, clients={"web": {"calls_per_second": 1000}})
    impostor = call(client="web")
    impostor.principal = Principal("web", group="https://issuer.test")
    assert [await refused(guard, impostor) for _ in range(2)] == [None, ("RATE_LIMITED", "client")]
    assert await refused(guard, call(client="web")) is None


async def test_model_limits() -> None:
    """A model's limit is for all clients together, and leaves other models alone."""
    guard = limits(models={"slow": {"calls_per_second": 0.01, "burst": 2}})
    answers = [await refused(guard, call(client=f"c{n}"), "slow") for n in range(3)]
    assert answers == [None, None, ("RATE_LIMITED", "model")]
    assert await refused(guard, call(), "fast") is None


async def test_calls_at_once() -> None:
    """Places are taken while a call lasts; one that is refused, by its client's limit or its model's, leaves none."""
    guard = limits(client={"concurrent_calls": 2}, models={"m": {"concurrent_calls": 1}})
    first, second = call(), call()
    await begin(guard, first)
    await entered(first, "m")
    assert await refused(guard, second, "m") == ("TOO_MANY_CALLS", "model")
    await begin(guard, second)
    assert await refused(guard, call()) == ("TOO_MANY_CALLS", "client")
    guard.on_end(first)
    await entered(second, "m")
    guard.on_end(second)
    assert not guard._held
    assert await refused(guard, call(), "m") is None


async def test_stream() -> None:
    """Each message of a stream counts for its model's rate; the stream is one call at once."""
    guard = limits(models={"m": {"calls_per_second": 0.01, "burst": 3, "concurrent_calls": 1}})
    stream = call()
    await begin(guard, stream)
    for _ in range(3):
        await entered(stream, "m")
    with pytest.raises(Overloaded):
        await entered(stream, "m")
    guard.on_end(stream)


@pytest.mark.parametrize(
    ("client", "asked", "bulk"),
    [
        ("ada", None, False),
        ("ada", "interactive", False),
        ("ada", "bulk", True),
        ("night", "interactive", True),
        ("night", None, True),
    ],
)
async def test_priority(client: str, asked: str | None, bulk: bool) -> None:
    """A call may lower its class, and not raise it above its client's."""
    one = call(client=client, **({"x_priority": asked} if asked else {}))
    await begin(limits(clients={"night": {"priority": "bulk"}}), one)
    assert one.bulk is bulk


async def test_unknown_priority() -> None:
    """A class that does not exist is an error, not a guess."""
    with pytest.raises(InvalidInput, match="expected `interactive` or `bulk`"):
        await begin(limits(), call(x_priority="urgent"))
