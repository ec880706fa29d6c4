"""Counts in Redis, which all replicas share; one round trip takes all of a call's rules."""

import asyncio
import time
from collections.abc import Sequence
from typing import Any, Literal

import redis.asyncio
import structlog
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from gateway.errors import Overloaded
from gateway.limits import PLACE_RETRY_AFTER, ROUNDING, Refusal, Rule
from gateway.limits.memory import MemoryStore
from gateway.metrics import Metrics

log = structlog.get_logger("gateway.limits")

# Seconds after which a place among the calls at once is free again though nobody gave it back: its replica has died.
LEASE = 300.0
# Seconds in which a Redis that failed is not asked again.
REST = 1.0

# On Redis's own clock, so that replicas whose clocks differ agree. All rules are looked at before any is charged.
_TAKE = """
local clock = redis.call('TIME')
local now = tonumber(clock[1]) + tonumber(clock[2]) / 1000000
local holder, lease, place_wait, rounding = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local day = math.floor(now / 86400)
local worst, longest, levels = 0, 0, {}
for i, key in ipairs(KEYS) do
  local kind, amount, burst = ARGV[3 * i + 2], tonumber(ARGV[3 * i + 3]), tonumber(ARGV[3 * i + 4])
  local wait = 0
  if kind == 'rate' then
    local state = redis.call('HMGET', key, 'tokens', 'at')
    local gained = math.max(0, now - (tonumber(state[2]) or now)) * amount
    levels[i] = math.min(burst, (tonumber(state[1]) or burst) + gained)
    local missing = 1 - levels[i]
    if missing > rounding then wait = missing / amount end
  elseif kind == 'quota' then
    local state = redis.call('HMGET', key, 'day', 'used')
    levels[i] = tonumber(state[1]) == day and tonumber(state[2]) or 0
    if levels[i] >= amount then wait = 86400 - now % 86400 end
  else
    redis.call('ZREMRANGEBYSCORE', key, '-inf', now)
    if redis.call('ZCARD', key) >= amount then wait = place_wait end
  end
  if wait > longest then worst, longest = i, wait end
end
if worst > 0 then return {worst, string.format('%.6f', longest)} end
for i, key in ipairs(KEYS) do
  local kind, amount, burst = ARGV[3 * i + 2], tonumber(ARGV[3 * i + 3]), tonumber(ARGV[3 * i + 4])
  if kind == 'rate' then
    redis.call('HSET', key, 'tokens', string.format('%.6f', levels[i] - 1), 'at', string.format('%.6f', now))
    redis.call('EXPIRE', key, math.ceil(burst / amount) + 1)
  elseif kind == 'quota' then
    redis.call('HSET', key, 'day', day, 'used', levels[i] + 1)
    redis.call('EXPIRE', key, 86400)
  else
    redis.call('ZADD', key, now + lease, holder)
    redis.call('EXPIRE', key, math.ceil(lease))
  end
end
return {0, '0'}
"""


class RedisStore:
    """Counts in the Redis at `url`.

    While it is away, `when_down` says whether this replica counts by itself ("local") or refuses calls ("refuse").
    """

    def __init__(self, url: str, metrics: Metrics, *, timeout: float, when_down: Literal["local", "refuse"]) -> None:
        # One attempt, within the time-out: a call would rather be counted here than wait.
        self._redis = redis.asyncio.from_url(
            url, socket_timeout=timeout, socket_connect_timeout=timeout, retry=Retry(NoBackoff(), 0)
        )
        self._script = self._redis.register_script(_TAKE)
        self._timeout = timeout
        self._local = MemoryStore() if when_down == "local" else None
        self._down = metrics.limit_store_down
        self._down_until = 0.0
        self._releasing: set[asyncio.Task[None]] = set()

    async def take(self, rules: Sequence[Rule], holder: str) -> Refusal | None:
        """Counts one call under every rule, or under none if one refuses it."""
        if time.monotonic() < self._down_until:
            return await self._take_without(rules, holder)
        keys = [_key(rule) for rule in rules]
        arguments: list[Any] = [holder, LEASE, PLACE_RETRY_AFTER, ROUNDING]
        for rule in rules:
            arguments += [rule.kind, rule.amount, rule.burst]
        try:
            async with asyncio.timeout(self._timeout):
                place, wait = await self._script(keys, arguments)
        except (RedisError, OSError, TimeoutError) as error:
            self._fail(error)
            return await self._take_without(rules, holder)
        self._recover()
        return Refusal(rules[place - 1], float(wait)) if place else None

    def release(self, rules: Sequence[Rule], holder: str) -> None:
        """Gives back what places `holder` has, in the background."""
        if self._local:
            self._local.release(rules, holder)
        keys = [_key(rule) for rule in rules if rule.kind == "concurrency"]
        if keys and time.monotonic() >= self._down_until:
            task = asyncio.get_running_loop().create_task(self._remove(keys, holder))
            self._releasing.add(task)
            task.add_done_callback(self._releasing.discard)

    async def close(self) -> None:
        """Gives back what is being given back, and closes the connections."""
        await asyncio.gather(*self._releasing)
        await self._redis.aclose()

    async def _remove(self, keys: list[str], holder: str) -> None:
        try:
            for key in keys:
                async with asyncio.timeout(self._timeout):
                    await self._redis.zrem(key, holder)
        except (RedisError, OSError, TimeoutError) as error:
            # The place is free again when its lease ends.
            self._fail(error)

    async def _take_without(self, rules: Sequence[Rule], holder: str) -> Refusal | None:
        if self._local is None:
            raise Overloaded("the limits cannot be checked; retry later", reason="LIMITS_UNAVAILABLE", retry_after=REST)
        return await self._local.take(rules, holder)

    def _fail(self, error: Exception) -> None:
        if not self._down_until:
            log.error("Redis is away", message=str(error) or type(error).__name__, local=self._local is not None)
        self._down_until = time.monotonic() + REST
        self._down.set(1)

    def _recover(self) -> None:
        if self._down_until:
            log.info("Redis is back")
            self._down_until = 0.0
            self._down.set(0)


def _key(rule: Rule) -> str:
    # The braces put all of a subject's keys on one node of a cluster.
    return f"tensorgate:{{{rule.subject}}}:{rule.kind}"
