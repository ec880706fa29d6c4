"""Which version answers."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from gateway.backend import Signature
from gateway.catalog import Catalog, Model, Servable
from gateway.errors import (
    BackendFailed,
    BackendRejected,
    BackendUnavailable,
    DeadlineExceeded,
    GatewayError,
    ModelNotFound,
    NotFinite,
    NotReady,
    Overloaded,
    RequestTooLarge,
)
from gateway.split import Split, Variant

Answer = TypeVar("Answer")

RETRY_AFTER = 1.0
# The share of its time that a candidate may take; the rest is stable's, should the candidate not answer.
PATIENCE = 0.5


@dataclass(slots=True, eq=False)
class Route:
    """A version that is asked, and what it is to a roll-out."""

    servable: Servable
    variant: Variant = Variant.STABLE
    failure: GatewayError | None = None
    """What went wrong with a part of the question, though there was an answer."""
    due: float | None = None
    """When a candidate's time is up, on the clock of time.monotonic; every variant is measured against it."""

    def deadline(self, deadline: float) -> float:
        """When the version must have answered; `deadline` is the caller's."""
        now = time.monotonic()
        if self.due is None:
            self.due = now + PATIENCE * (deadline - now)
        return deadline if self.variant is Variant.STABLE else self.due

    def failed(self, error: GatewayError) -> None:
        """Notes what became of a part of the question; raises it if another version can be asked all of it."""
        if self.variant is not Variant.STABLE and not _is_refusal(error):
            raise error
        self.failure = error


def route(catalog: Catalog, name: str, version: int) -> Servable:
    """The version of model `name` to ask: `version`, or with 0 the default one.

    ModelNotFound if there is no such model or version, NotReady if it exists and cannot answer yet.
    """
    model = catalog.model(name)
    if version == 0:
        default = model.default
        if default is None:
            raise NotReady(f"no version of the model {model.name!r} is ready; retry later", retry_after=RETRY_AFTER)
        return default
    known = model.versions.get(version)
    if known is None:
        # A backend that is away cannot say which versions there are.
        if not model.versions and not model.backend_up:
            raise NotReady(f"no version of the model {model.name!r} is ready; retry later", retry_after=RETRY_AFTER)
        there = ", ".join(str(number) for number in sorted(model.versions)) or "none"
        raise ModelNotFound(
            f"the model {model.name!r} has no version {version}; there are: {there}",
            reason="VERSION_NOT_FOUND",
            field="version",
        )
    if known.servable is None:
        raise NotReady(
            f"version {version} of the model {model.name!r} is {known.state.value}: {known.detail}",
            reason="VERSION_NOT_READY",
            retry_after=RETRY_AFTER,
        )
    return known.servable


def ask(
    catalog: Catalog,
    name: str,
    version: int,
    question: Callable[[Route], Awaitable[Answer]],
    sticky_key: str = "",
) -> Awaitable[tuple[Route, Answer]]:
    """The answer of the version that `route` picks; if the backend has dropped it meanwhile, of its successor.

    While a roll-out is under way, its plan says who answers a question for the default version; where that is the
    candidate and it cannot, stable does. `sticky_key` has the same version asked again and again.
    """
    model = catalog.model(name)
    split = model.split
    candidate = model.candidate if version == 0 else None
    if split is None or candidate is None:
        return ask_apart(catalog, name, version, question)
    if split.shadow or not split.picks_candidate(sticky_key):
        return _ask_stable(catalog, model, split, candidate, question)
    return _ask_candidate(catalog, model, split, candidate, question)


async def ask_apart(
    catalog: Catalog, name: str, version: int, question: Callable[[Route], Awaitable[Answer]]
) -> tuple[Route, Answer]:
    """The same without any part in a roll-out: stable is what answers by default."""
    first = Route(route(catalog, name, version))
    try:
        return first, await question(first)
    except ModelNotFound as error:
        if error.field is not None:
            raise
        # The backend has dropped the version since the last poll: see what there is now.
        servable = first.servable
        await catalog.refresh(servable.model)
        successor = route(catalog, name, version)
        if successor is servable:
            raise NotReady(
                f"version {servable.version} of the model {servable.model!r} is being replaced; retry later",
                retry_after=RETRY_AFTER,
            ) from error
        second = Route(successor)
        return second, await question(second)


async def _ask_stable(
    catalog: Catalog,
    model: Model,
    split: Split,
    candidate: Servable,
    question: Callable[[Route], Awaitable[Answer]],
) -> tuple[Route, Answer]:
    """Stable's answer; in a shadow roll-out the candidate is shown a sample of the questions afterwards."""
    started = time.perf_counter()
    try:
        asked, answer = await ask_apart(catalog, model.name, 0, question)
    except GatewayError as error:
        if _is_failure(error):
            split.witness.answered(Variant.STABLE, time.perf_counter() - started, failed=True)
        raise
    failed = asked.failure is not None and _is_failure(asked.failure)
    late = asked.due is not None and time.monotonic() > asked.due
    split.witness.answered(Variant.STABLE, time.perf_counter() - started, failed=failed or late)
    if split.shadow and split.picks_candidate(""):
        split.witness.mirror(lambda: question(Route(candidate, Variant.SHADOW)), answer)
    return asked, answer


async def _ask_candidate(
    catalog: Catalog,
    model: Model,
    split: Split,
    candidate: Servable,
    question: Callable[[Route], Awaitable[Answer]],
) -> tuple[Route, Answer]:
    """The candidate's answer, or stable's in its stead. What neither can answer is not the candidate's fault."""
    asked = Route(candidate, Variant.CANDIDATE)
    started = time.perf_counter()
    try:
        answer = await question(asked)
    except Exception as error:
        if _is_refusal(error):
            raise
        seconds = time.perf_counter() - started
        answered = await ask_apart(catalog, model.name, 0, question)
        split.witness.answered(Variant.CANDIDATE, seconds, failed=True)
        return answered
    split.witness.answered(Variant.CANDIDATE, time.perf_counter() - started, failed=False)
    return asked, answer


def _is_failure(error: GatewayError) -> bool:
    """Whether the version, and not the question, is to blame."""
    failures = (BackendUnavailable, BackendFailed, DeadlineExceeded)
    return isinstance(error, failures) and not isinstance(error, BackendRejected)


def _is_refusal(error: Exception) -> bool:
    """Whether asking another version would make it worse, or no difference."""
    return isinstance(error, Overloaded | RequestTooLarge | NotFinite)


def signature_of(servable: Servable, name: str) -> Signature:
    """The signature called `name`, or with an empty name the default one; ModelNotFound if there is none."""
    wanted = name or servable.default_signature
    if wanted not in servable.signatures:
        raise ModelNotFound(
            f"version {servable.version} of the model {servable.model!r} has no signature {wanted[:100]!r}; "
            f"there are: {', '.join(sorted(servable.signatures)) or 'none'}",
            reason="SIGNATURE_NOT_FOUND",
            field="signature",
        )
    return servable.signatures[wanted]
