"""gateway.limits, in memory and in a real Redis"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import Overloaded
from gateway.limits import DAY, PLACE_RETRY_AFTER, Rule, Store, memory, redis, rules
from gateway.limits.memory import MemoryStore
from gateway.limits.redis import RedisStore
from gateway.metrics import Metrics
from gateway.settings.guards import ClientLimitSettings
from tests.fakes.redis_server import RedisServer

# Generous: what is tested is that an answer comes, and a busy machine is slow.
PATIENCE = 5.0


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Redis that the module's tests share."""
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.stop()


@pytest.fixture
async def connect(redis_server: RedisServer) -> AsyncIterator[Callable[..., RedisStore]]:
    """Makes stores in the Redis, as replicas have them."""
    stores: list[RedisStore] = []

    def make(timeout: float = PATIENCE, when_down: str = "local") -> RedisStore:
        stores.append(RedisStore(redis_server.url, Metrics(), timeout=timeout, when_down=when_down))  # type: ignore[arg-type]
        return stores[-1]

    yield make
    for store in stores:
        await store.close()


@pytest.fixture(params=["memory", "redis"])
def store(request: pytest.FixtureRequest) -> Store:
    """A store of either kind."""
    return MemoryStore() if request.param == "memory" else request.getfixturevalue("connect")()


@pytest.fixture
def subject(request: pytest.FixtureRequest) -> str:
    """A name that no other test counts under."""
    return request.node.name


async def test_rate(store: Store, subject: str) -> None:
    """A burst is let through at once, the next call is told exactly when it may come, and then may."""
    rule = Rule("rate", subject, amount=2.0, burst=3)
    assert [await store.take([rule], "") for _ in range(3)] == [None] * 3
    refusal = await store.take([rule], "")
    assert refusal is not None
    assert 0.2 < refusal.retry_after <= 0.5
    await asyncio.sleep(refusal.retry_after + 0.002)
    assert await store.take([rule], "") is None
    assert await store.take([Rule("rate", subject + "other", 2.0)], "") is None


async def test_all_or_none(store: Store, subject: str) -> None:
    """A call that one rule refuses is charged under none; the longest wait is told."""
    rate = Rule("rate", subject, amount=0.001, burst=2)
    quota = Rule("quota", subject, amount=1)
    places = Rule("concurrency", subject, amount=1)
    assert await store.take([rate, quota, places], "a") is None
    for _ in range(5):
        refusal = await store.take([rate, quota, places], "b")
        assert refusal is not None
        assert refusal.rule is quota
        assert refusal.retry_after == pytest.approx(DAY - time.time() % DAY, abs=10)
    assert await store.take([rate], "") is None
    refusal = await store.take([rate], "")
    assert refusal is not None
    assert 900 < refusal.retry_after < 1000


async def test_places(store: Store, subject: str) -> None:
    """A place is given back once, by who has it, and soon another's."""
    rule = Rule("concurrency", subject, amount=2)
    assert await store.take([rule], "a") is None
    assert await store.take([rule], "b") is None
    refusal = await store.take([rule], "c")
    assert refusal is not None
    assert refusal.retry_after == PLACE_RETRY_AFTER
    store.release([rule], "stranger")
    store.release([rule], "a")
    store.release([rule], "a")
    async with asyncio.timeout(PATIENCE):
        while await store.take([rule], "c") is not None:  # noqa: ASYNC110  # Redis tells nobody
            await asyncio.sleep(0.01)
    assert await store.take([rule], "d") is not None


async def test_replicas(connect: Callable[..., RedisStore], subject: str) -> None:
    """Replicas count together, and exactly however many ask at once."""
    replicas = [connect(), connect()]
    rule = Rule("rate", subject, amount=0.001, burst=20)
    answers = await asyncio.gather(*(replica.take([rule], "") for replica in replicas for _ in range(30)))
    assert answers.count(None) == 20


async def test_lease(connect: Callable[..., RedisStore], subject: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A place that a dead replica held is free again after its lease."""
    monkeypatch.setattr(redis, "LEASE", 0.2)
    rule = Rule("concurrency", subject, amount=1)
    assert await connect().take([rule], "dead") is None
    assert await connect().take([rule], "b") is not None
    await asyncio.sleep(0.25)
    assert await connect().take([rule], "b") is None


@pytest.mark.parametrize("trouble", ["stop", "freeze"])
async def test_redis_away(tmp_path: Path, trouble: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """While Redis is away, or hangs, a replica counts by itself or refuses, soon, and says so; then it goes on."""
    monkeypatch.setattr(redis, "REST", 0.2)
    server = RedisServer(tmp_path)
    metrics = Metrics()
    local = RedisStore(server.url, metrics, timeout=0.5, when_down="local")
    strict = RedisStore(server.url, metrics, timeout=0.5, when_down="refuse")
    rule = Rule("rate", "x", amount=0.001, burst=2)
    places = Rule("concurrency", "x", amount=1)

    def down() -> float | None:
        return metrics.registry.get_sample_value("tensorgate_limit_store_down")

    try:
        assert await local.take([rule], "") is None
        getattr(server, trouble)()
        started = time.monotonic()
        with structlog.testing.capture_logs() as lines:
            # Its own count begins anew.
            assert [await local.take([rule, places], "a") for _ in range(1)] == [None]
            assert await local.take([rule, places], "b") is not None
            local.release([places], "a")
            assert await local.take([rule], "") is None
            assert await local.take([rule], "") is not None
        assert [line["event"] for line in lines] == ["Redis is away"]
        assert down() == 1
        with pytest.raises(Overloaded) as caught:
            await strict.take([rule], "")
        assert caught.value.reason == "LIMITS_UNAVAILABLE"
        assert time.monotonic() - started < PATIENCE
        server.stop()
        server.start()
        async with asyncio.timeout(PATIENCE):
            while down():
                await local.take([rule], "")
                await asyncio.sleep(0.05)
        await asyncio.sleep(redis.REST)
        assert await strict.take([rule], "") is None
    finally:
        await local.close()
        await strict.close()
        server.stop()


@given(
    st.floats(0.01, 1000),
    st.integers(1, 50),
    st.lists(st.floats(0, 5), max_size=200),
)
def test_bucket(rate: float, burst: int, pauses: list[float]) -> None:
    """In any time no more calls pass than the burst and what the rate adds, and who waits as told is let in."""
    now = [0.0]
    store = MemoryStore(clock=lambda: now[0])
    rule = Rule("rate", "x", rate, burst)

    async def run() -> None:
        passed = 0
        for pause in pauses:
            now[0] += pause
            refusal = await store.take([rule], "")
            passed += refusal is None
            assert passed <= burst + now[0] * rate + 0.01
            if refusal:
                now[0] += refusal.retry_after
                assert await store.take([rule], "") is None
                passed += 1

    asyncio.run(run())


async def test_midnight() -> None:
    """A quota is whole again at midnight UTC."""
    now = [10 * DAY - 5.0]
    store = MemoryStore(wall=lambda: now[0])
    rule = Rule("quota", "x", amount=1)
    assert await store.take([rule], "") is None
    refusal = await store.take([rule], "")
    assert refusal is not None
    assert refusal.retry_after == 5.0
    now[0] += 5.0
    assert await store.take([rule], "") is None


async def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Subjects that have not called lately are forgotten."""
    monkeypatch.setattr(memory, "SWEEP_AT", 10)
    now = [0.0]
    store = MemoryStore(clock=lambda: now[0])
    for number in range(1000):
        now[0] += 1
        await store.take([Rule("rate", f"s{number}", 1.0)], "")
    assert len(store._buckets) <= 11


def test_rules() -> None:
    """What is not set is not limited; the burst is a second's worth unless set."""
    assert rules(ClientLimitSettings(), "x") == ()
    assert rules(ClientLimitSettings(calls_per_second=5), "x") == (Rule("rate", "x", 5, 5),)
    assert rules(ClientLimitSettings(calls_per_second=0.5), "x") == (Rule("rate", "x", 0.5, 1),)
    assert rules(ClientLimitSettings(concurrent_calls=3), "x", 7) == (
        Rule("quota", "x", 7),
        Rule("concurrency", "x", 3),
    )


async def test_a_clock_that_jumps() -> None:
    """Whatever the time of day does, a day's calls are had once, and a real new day brings new ones."""
    now, wall = 0.0, 20_000.4 * DAY
    store = MemoryStore(clock=lambda: now, wall=lambda: wall)
    found = [Rule("quota", "client", 1), Rule("rate", "client", 10.0, 100.0)]

    async def taken() -> bool:
        return await store.take(found, "") is None

    assert await taken()
    assert not await taken()
    # Forward into another day, which is believed; back and forth from there, which is not.
    wall += DAY
    assert await taken()
    for jump in (-DAY, -30 * DAY, 400 * DAY, -371 * DAY + DAY):
        wall += jump
        now += 1.0
        assert not await taken()
    # What it says after a while is the truth.
    now += 2 * 3600.0
    wall += 2 * DAY
    assert await taken()
    assert not await taken()
