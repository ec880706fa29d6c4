"""No client asks more than it may, and no model is asked more than it may be."""

import itertools
import secrets
from collections.abc import Awaitable, Sequence
from functools import lru_cache

from gateway.auth.principal import Principal
from gateway.call import Call
from gateway.errors import InvalidInput, Overloaded
from gateway.interceptors.interceptor import Interceptor
from gateway.limits import Refusal, Rule, Store, rules
from gateway.metrics import Metrics
from gateway.settings.guards import ClientLimitSettings, LimitSettings

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
        self._client_rules = lru_cache(1024)(self._rules_of)

    def on_start(self, call: Call) -> Awaitable[None] | None:
        """Counts the call for its client and sets its priority; Overloaded if the client has had its share."""
        call.bulk = _is_bulk(call.metadata.get(PRIORITY), self._of(call.principal))
        call.on_model = self._on_model
        return self._take(call, self._client_rules(call.principal.group, call.principal.client), "client")

    def on_message(self, call: Call) -> Awaitable[None] | None:
        """Counts a stream's messages but the first, which the stream itself was counted for."""
        if call.messages <= 1:
            return None
        return self._take(call, self._client_rules(call.principal.group, call.principal.client), "client")

    def on_end(self, call: Call) -> None:
        """Gives the call's places back."""
        held = self._held.pop(id(call), None)
        if held is not None:
            name, rules_ = held
            self._store.release(rules_, name)

    def _on_model(self, call: Call, model: str) -> Awaitable[None] | None:
        return self._take(call, self._model_rules.get(model, ()), "model")

    def _take(self, call: Call, found: Sequence[Rule], whose: str) -> Awaitable[None] | None:
        return self._taken(call, found, whose) if found else None

    async def _taken(self, call: Call, found: Sequence[Rule], whose: str) -> None:
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

    def _of(self, principal: Principal) -> ClientLimitSettings:
        # Names that anybody could make up get no entry of their own.
        return self._settings.client if principal.group else self._entry(principal.client)

    def _entry(self, client: str) -> ClientLimitSettings:
        return self._settings.clients.get(client, self._settings.client)

    def _rules_of(self, group: str, client: str) -> tuple[Rule, ...]:
        settings = self._settings.client if group else self._entry(client)
        return rules(settings, f"client:{group}:{client}", settings.calls_per_day)


def _is_bulk(asked: str | None, settings: ClientLimitSettings) -> bool:
    """Whether a call is of the class that waits for others: if it says so, or if its client may have no other."""
    if asked not in (None, "interactive", "bulk"):
        raise InvalidInput(
            f"the metadata `{PRIORITY}` is {asked[:20]!r}; expected `interactive` or `bulk`", reason="PRIORITY_UNKNOWN"
        )
    return asked == "bulk" or settings.priority == "bulk"
