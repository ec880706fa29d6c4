"""No client asks more than it may, and no model is asked more than it may be."""

import itertools
import secrets
from collections.abc import Awaitable, Sequence
from functools import lru_cache

from gateway.call import Call
from gateway.errors import InvalidInput, Overloaded
from gateway.interceptors.interceptor import Interceptor
from gateway.limits import Refusal, Rule, Store, rules
from gateway.metrics import Metrics
from gateway.settings.guards import LimitSettings

PRIORITY = "x-priority"
_TEXTS = {
    "rate": ("RATE_LIMITED", "{amount:g} calls a second"),
    "quota": ("QUOTA_EXHAUSTED", "{amount:.0f} calls a day"),
    "concurrency": ("TOO_MANY_CALLS", "{amount:.0f} calls at once"),
}


class CallLimits(Interceptor):
    """Counts calls by client when they start, and by model once they say which."""

    def __init__(self, settings: LimitSettings, store: Store, metrics: Metrics) -> None:
        self._store = store
        self._metrics = metrics
        self._names = (f"{secrets.token_hex(4)}-{number}" for number in itertools.count())
        self._held: dict[int, tuple[str, list[Rule]]] = {}
        """By the call's identity: its name and the rules under which it has a place."""
        self.replace(settings)

    def replace(self, settings: LimitSettings) -> None:
        """Takes other settings from now on; what has been counted stays."""
        self._settings = settings
        self._model_rules = {name: rules(model, f"model:{name}") for name, model in settings.models.items()}
        self._client = lru_cache(1024)(self._terms_of)

    def on_start(self, call: Call) -> Awaitable[None] | None:
        """Counts the call for its client and sets its priority; Overloaded if the client has had its share."""
        call.bulk, found = self._client(call.principal.group, call.principal.client)
        asked = call.metadata.get(PRIORITY)
        if asked is not None:
            call.bulk = _is_bulk(asked) or call.bulk
        if self._model_rules:
            call.on_model = self._on_model
        return self._take(call, found, "client") if found else None

    def on_message(self, call: Call) -> Awaitable[None] | None:
        """Counts a stream's messages but the first, which the stream itself was counted for."""
        if call.messages <= 1:
            return None
        _, found = self._client(call.principal.group, call.principal.client)
        return self._take(call, found, "client") if found else None

    def on_end(self, call: Call) -> None:
        """Gives the call's places back."""
        held = self._held.pop(id(call), None) if self._held else None
        if held is not None:
            name, rules_ = held
            self._store.release(rules_, name)

    def _on_model(self, call: Call, model: str) -> Awaitable[None] | None:
        found = self._model_rules.get(model)
        return self._take(call, found, "model") if found else None

    async def _take(self, call: Call, found: Sequence[Rule], whose: str) -> None:
        if id(call) in self._held:
            # A stream has one place however many messages it sends.
            found = [rule for rule in found if rule not in self._held[id(call)][1]]
        places = [rule for rule in found if rule.kind == "concurrency"]
        name = ""
        if places:
            # Before the question: should the caller leave meanwhile, what was taken is given back all the same.
            name, held = self._held.setdefault(id(call), (next(self._names), []))
            held += places
        refusal = await self._store.take(found, name)
        if refusal is not None:
            if places:
                # None of them was taken.
                del held[-len(places) :]
            raise self._refused(refusal, whose)

    def _refused(self, refusal: Refusal, whose: str) -> Overloaded:
        reason, text = _TEXTS[refusal.rule.kind]
        self._metrics.rejections.labels(reason, whose).inc()
        amount = text.format(amount=refusal.rule.amount)
        return Overloaded(
            f"this {whose} may have {amount}; retry in {refusal.retry_after:.3f} s",
            reason=reason,
            retry_after=refusal.retry_after,
            metadata={"limit": whose},
        )

    def _terms_of(self, group: str, client: str) -> tuple[bool, tuple[Rule, ...]]:
        """Whether a client's calls are bulk whatever they say, and what they are counted by."""
        # Names that anybody could make up get no entry of their own.
        settings = self._settings.client if group else self._settings.clients.get(client, self._settings.client)
        return settings.priority == "bulk", rules(settings, f"client:{group}:{client}", settings.calls_per_day)


def _is_bulk(asked: str) -> bool:
    """Whether a call says that it is of the class that waits for others."""
    if asked not in ("interactive", "bulk"):
        raise InvalidInput(
            f"the metadata `{PRIORITY}` is {asked[:20]!r}; expected `interactive` or `bulk`", reason="PRIORITY_UNKNOWN"
        )
    return asked == "bulk"
