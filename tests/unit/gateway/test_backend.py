"""gateway.backend: versions of several servers, breaker, hedging, addresses"""

import asyncio
import json
from collections.abc import Awaitable, Callable

import pytest
from pydantic import ValidationError

from gateway.backend import BackendVersion
from gateway.backend.breaker import Breaker
from gateway.backend.hedging import MAX_SAVED, Hedging
from gateway.backend.service_config import service_config
from gateway.backend.tf_serving import in_common
from gateway.errors import BackendFailed, BackendUnavailable
from gateway.settings.backend import BackendSettings, target


def version(number: int, *, available: bool = True) -> BackendVersion:
    """What a server says of a version."""
    return BackendVersion(number, available=available, loading=not available, detail="" if available else "loading")


@pytest.mark.parametrize(
    ("answers", "available", "others"),
    [
        ([[version(1)]], [1], []),
        ([[version(1)], [version(1), version(2)]], [1], [2]),
        ([[version(1), version(2, available=False)], [version(1), version(2)]], [1], [2]),
        ([[version(1)], []], [1], []),
        ([[version(1)], [version(1, available=False)]], [1], []),
        ([[version(1)], [version(2)]], [], [1, 2]),
        ([[version(1, available=False)], []], [], [1]),
        ([[], []], [], []),
    ],
)
def test_versions_in_common(answers: list[list[BackendVersion]], available: list[int], others: list[int]) -> None:
    """A version is available where every server has it; a server that has none yet takes nothing away."""
    found = in_common(answers)
    assert [entry.number for entry in found if entry.available] == available
    assert [entry.number for entry in found if not entry.available] == others
    assert all(entry.detail and entry.loading for entry in found if not entry.available)


def test_breaker() -> None:
    """It opens after failures in a row, lets one call try after its time, and closes when that is answered."""
    now, changes = [0.0], list[bool]()
    breaker = Breaker(3, 2.0, on_change=changes.append, clock=lambda: now[0])
    for outcome in (breaker.failed, breaker.failed, breaker.succeeded, breaker.failed, breaker.failed):
        breaker.check()
        outcome()
    assert not changes
    breaker.failed()
    assert changes == [True]
    now[0] = 0.5
    with pytest.raises(BackendUnavailable) as caught:
        breaker.check()
    assert caught.value.retry_after == 1.5
    now[0] = 2.0
    breaker.check()
    with pytest.raises(BackendUnavailable):
        breaker.check()
    breaker.failed()
    now[0] = 3.0
    with pytest.raises(BackendUnavailable):
        breaker.check()
    now[0] = 4.0
    breaker.check()
    breaker.succeeded()
    breaker.check()
    assert changes == [True, False]
    breaker.failed()
    breaker.check()


class Calls:
    """Calls that end one after the other as they are told: seconds, then an answer or an error."""

    def __init__(self, *plan: tuple[float, str | Exception]) -> None:
        self.plan = list(plan)
        self.cancelled = 0

    async def __call__(self) -> str:
        seconds, outcome = self.plan.pop(0)
        try:
            await asyncio.sleep(seconds)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


@pytest.mark.parametrize(
    ("plan", "answer", "hedged"),
    [
        ([(0, "fast")], "fast", 0),
        ([(60, "slow"), (0, "second")], "second", 1),
        ([(0.2, "first"), (60, "slow")], "first", 1),
        ([(0.2, "first"), (0, BackendFailed("x"))], "first", 1),
        ([(0.2, BackendFailed("x")), (0.3, "second")], "second", 1),
    ],
)
async def test_hedging(plan: list[tuple[float, str | Exception]], answer: str, hedged: int) -> None:
    """A call that takes long is sent once more, and the first answer counts; the other is cancelled."""
    calls, hedges = Calls(*plan), list[int]()
    assert await Hedging(0.1, lambda: hedges.append(1)).run(calls) == answer
    await asyncio.sleep(0)
    assert len(hedges) == hedged
    assert calls.cancelled == sum(seconds == 60 for seconds, _ in plan)


async def test_hedging_errors() -> None:
    """An error that comes at once is the call's; of two errors the first call's. A caller who leaves ends both."""
    hedging = Hedging(0.05)
    for plan in ([(0, BackendFailed("first"))], [(0.1, BackendFailed("first")), (0, BackendFailed("second"))]):
        with pytest.raises(BackendFailed, match="first"):
            await hedging.run(Calls(*plan))
    calls = Calls((60, ""), (60, ""))
    leaving = asyncio.create_task(hedging.run(calls))
    await asyncio.sleep(0.1)
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    await asyncio.sleep(0)
    assert calls.cancelled == 2


async def test_hedging_budget() -> None:
    """However slow the servers are, second requests stay a tenth of the first."""
    hedges: list[int] = []
    hedging = Hedging(0.001, lambda: hedges.append(1))
    slow: Callable[[], Awaitable[str]] = lambda: asyncio.sleep(0.003, "x")  # noqa: E731
    await asyncio.gather(*(hedging.run(slow) for _ in range(100)))
    assert len(hedges) <= MAX_SAVED + 10


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("model-server:8500", "model-server:8500"),
        ("127.0.0.1:1", "ipv4:127.0.0.1:1"),
        ("127.0.0.1:1,127.0.0.1:2", "ipv4:127.0.0.1:1,127.0.0.1:2"),
        ("[::1]:1,[::1]:2", "ipv6:[::1]:1,[::1]:2"),
    ],
)
def test_addresses(address: str, expected: str) -> None:
    """Addresses become gRPC's targets."""
    assert target(BackendSettings(address=address).addresses) == expected


@pytest.mark.parametrize(
    "address", ["", "a", "a:1,b:2", "127.0.0.1:1,[::1]:1", "127.0.0.1:1,", "127.0.0.1:1 ,127.0.0.1:2"]
)
def test_bad_addresses(address: str) -> None:
    """Several servers are given by IP addresses of one version, or by one name."""
    with pytest.raises(ValidationError):
        BackendSettings(address=address)


def test_service_config() -> None:
    """One server is not asked for its health, and one attempt is no retry policy."""
    one = json.loads(service_config(BackendSettings(attempts=1)))
    assert "healthCheckConfig" not in one
    assert "methodConfig" not in one
    several = json.loads(service_config(BackendSettings(address="a:1")))
    assert several["healthCheckConfig"] == {"serviceName": "ModelService"}
    assert several["methodConfig"][0]["retryPolicy"]["retryableStatusCodes"] == ["UNAVAILABLE"]
