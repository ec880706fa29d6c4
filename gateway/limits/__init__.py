"""How much each client may ask and each model is asked: token buckets, daily quotas, calls at once."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from gateway.settings.guards import RateSettings

Kind = Literal["rate", "quota", "concurrency"]
# Seconds after which to ask again for a place among the calls at once: when one ends nobody can know.
PLACE_RETRY_AFTER = 0.1
DAY = 86_400
# Who waits exactly as long as told must not be refused for the last bit of a token.
ROUNDING = 1e-6


@dataclass(frozen=True, slots=True)
class Rule:
    """One limit of one client or model.

    `amount` is calls per second, calls per day (UTC) or calls at once; `burst` the bucket's size, for rates alone.
    """

    kind: Kind
    subject: str
    amount: float
    burst: float = 1.0


@dataclass(frozen=True, slots=True)
class Refusal:
    """The rule that refuses a call, and the seconds after which it would not."""

    rule: Rule
    retry_after: float


class Store(Protocol):
    """Where calls are counted."""

    async def take(self, rules: Sequence[Rule], holder: str) -> Refusal | None:
        """Counts one call under every rule, or under none if one refuses it; of several the longest wait.

        `holder` is the call's name, by which its places among the calls at once are given back.
        """

    def release(self, rules: Sequence[Rule], holder: str) -> None:
        """Gives back what places `holder` has under the rules for calls at once."""

    async def close(self) -> None:
        """Ends what is under way."""


def rules(settings: RateSettings, subject: str, calls_per_day: int | None = None) -> tuple[Rule, ...]:
    """What the settings say of a subject."""
    found = []
    if settings.calls_per_second is not None:
        burst = settings.burst or max(1.0, settings.calls_per_second)
        found.append(Rule("rate", subject, settings.calls_per_second, burst))
    if calls_per_day is not None:
        found.append(Rule("quota", subject, calls_per_day))
    if settings.concurrent_calls is not None:
        found.append(Rule("concurrency", subject, settings.concurrent_calls))
    return tuple(found)
