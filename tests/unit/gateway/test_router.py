"""gateway.router and gateway.split, while a roll-out divides the traffic"""

import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.catalog import Catalog
from gateway.errors import (
    BackendFailed,
    BackendRejected,
    BackendUnavailable,
    DeadlineExceeded,
    GatewayError,
    InvalidInput,
    Overloaded,
)
from gateway.metrics import Metrics
from gateway.router import Route, ask
from gateway.split import Split, Variant
from tests.fakes.backend import FakeBackend


class FakeWitness:
    """Remembers what it hears."""

    def __init__(self) -> None:
        self.heard: list[tuple[Variant, bool]] = []
        self.copies: list[tuple[Callable[[], Awaitable[Any]], Any]] = []

    def answered(self, variant: Variant, seconds: float, *, failed: bool) -> None:
        assert seconds >= 0
        self.heard.append((variant, failed))

    def mirror(self, ask_candidate: Callable[[], Awaitable[Any]], answer: Any) -> None:
        self.copies.append((ask_candidate, answer))


@pytest.fixture
def witness() -> FakeWitness:
    """Who hears how they do."""
    return FakeWitness()


async def catalog(split: Split, *versions: int) -> Catalog:
    """A catalog with so many versions of a model, divided so."""
    found = Catalog(["digits"], FakeBackend(available=list(versions)), Metrics(), timeout=1)
    await found.refresh("digits")
    found.models["digits"].split = split
    return found


def failing(*versions: int, error: Exception) -> Callable[[Route], Awaitable[int]]:
    """A question that some versions cannot answer."""

    async def question(route: Route) -> int:
        route.deadline(time.monotonic() + 10)
        if route.servable.version in versions:
            raise error
        return route.servable.version

    return question


FINE = failing(error=AssertionError())


@given(st.text(), st.floats(0, 1), st.floats(0, 1), st.binary(max_size=64))
def test_a_larger_share_keeps_who_had_the_candidate(key: str, one: float, other: float, salt: bytes) -> None:
    """By its key a caller is the same version's, on every replica and at every larger share."""
    small, large = (Split(1, FakeWitness(), candidate=2, share=share, salt=salt) for share in sorted((one, other)))
    if key:
        assert small.picks_candidate(key) <= large.picks_candidate(key)
        assert small.picks_candidate(key) is small.picks_candidate(key)


def test_keys_are_spread_by_the_share() -> None:
    """And over other keys in the next roll-out."""
    first, second = (Split(1, FakeWitness(), candidate=2, share=0.3, salt=salt) for salt in (b"2", b"3"))
    keys = [f"user-{number}" for number in range(5000)]
    ours = {key for key in keys if first.picks_candidate(key)}
    assert 1350 < len(ours) < 1650
    assert 350 < len(ours & {key for key in keys if second.picks_candidate(key)}) < 550
    assert 1350 < sum(first.picks_candidate("") for _ in keys) < 1650


async def test_a_split_leaves_named_versions_alone(witness: FakeWitness) -> None:
    """They are no part of the roll-out, and no evidence."""
    served = await catalog(Split(1, witness, candidate=2, share=1.0), 1, 2, 3)
    assert [(await ask(served, "", version, FINE))[1] for version in (0, 1, 2, 3)] == [2, 1, 2, 3]
    assert witness.heard == [(Variant.CANDIDATE, False)]


async def test_a_plan_keeps_new_versions_from_the_traffic(witness: FakeWitness) -> None:
    """Stable answers; should it be gone the candidate does, and without that the highest there is."""
    split = Split(1, witness, candidate=2, share=0.0)
    assert (await ask(await catalog(split, 1, 2, 3), "", 0, FINE))[1] == 1
    assert (await ask(await catalog(split, 2, 3), "", 0, FINE))[1] == 2
    assert (await ask(await catalog(split, 3), "", 0, FINE))[1] == 3


@pytest.mark.parametrize(
    "error",
    [
        BackendFailed("x"),
        BackendUnavailable("x"),
        BackendRejected("x"),
        DeadlineExceeded("x"),
        InvalidInput("x"),
        KeyError(),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_stable_answers_for_a_candidate_that_cannot(witness: FakeWitness, error: Exception) -> None:
    """Whatever keeps it from answering what stable can answer is its fault."""
    served = await catalog(Split(1, witness, candidate=2, share=1.0), 1, 2)
    route, answer = await ask(served, "", 0, failing(2, error=error))
    assert (route.variant, answer) == (Variant.STABLE, 1)
    assert witness.heard == [(Variant.CANDIDATE, True)]


async def test_what_neither_can_answer_is_the_callers_business(witness: FakeWitness) -> None:
    """The caller hears stable's error, and the candidate is not blamed."""
    served = await catalog(Split(1, witness, candidate=2, share=1.0), 1, 2)
    with pytest.raises(BackendRejected):
        await ask(served, "", 0, failing(1, 2, error=BackendRejected("x")))
    assert witness.heard == []


async def test_an_overload_is_not_doubled(witness: FakeWitness) -> None:
    """What is refused because there is too much to do is not asked of another version."""
    served = await catalog(Split(1, witness, candidate=2, share=1.0), 1, 2)
    with pytest.raises(Overloaded):
        await ask(served, "", 0, failing(2, error=Overloaded("x")))
    assert witness.heard == []


@pytest.mark.parametrize(
    ("error", "heard"),
    [
        (BackendFailed("x"), [(Variant.STABLE, True)]),
        (DeadlineExceeded("x"), [(Variant.STABLE, True)]),
        (BackendRejected("x"), []),
        (InvalidInput("x"), []),
    ],
)
async def test_stables_failures_count_and_callers_do_not(
    witness: FakeWitness, error: GatewayError, heard: list[Any]
) -> None:
    """What the caller did wrong says nothing of a version."""
    served = await catalog(Split(1, witness, candidate=2, share=0.0), 1, 2)
    with pytest.raises(type(error)):
        await ask(served, "", 0, failing(1, error=error))
    assert witness.heard == heard


async def test_both_are_measured_by_the_same_time(witness: FakeWitness) -> None:
    """A candidate has half of what the caller gives; stable may take all, and is late after half like the other."""
    served = await catalog(Split(1, witness, candidate=2, share=0.0), 1, 2)

    async def slow(route: Route) -> float:
        left = route.deadline(time.monotonic() + 10) - time.monotonic()
        route.due = time.monotonic() - 1
        return left

    _, left = await ask(served, "", 0, slow)
    assert left == pytest.approx(10, abs=0.5)
    assert witness.heard == [(Variant.STABLE, True)]
    candidate = Route(served.models["digits"].versions[2].servable, Variant.CANDIDATE)  # type: ignore[arg-type]
    assert candidate.deadline(time.monotonic() + 10) - time.monotonic() == pytest.approx(5, abs=0.5)


async def test_a_part_that_failed_counts_as_a_failure(witness: FakeWitness) -> None:
    """Stable answers the rest of a query; a candidate leaves all of it to stable."""
    served = await catalog(Split(1, witness, candidate=2, share=0.0), 1, 2)

    async def partly(route: Route) -> int:
        route.failed(BackendFailed("x"))
        return route.servable.version

    assert (await ask(served, "", 0, partly))[1] == 1
    served.models["digits"].split = Split(1, witness, candidate=2, share=1.0)
    assert (await ask(served, "", 0, partly))[1] == 1
    assert witness.heard == [(Variant.STABLE, True), (Variant.CANDIDATE, True)]


async def test_the_shadow_is_asked_afterwards(witness: FakeWitness) -> None:
    """Stable has answered; the copy is a question to the candidate, to be put by whoever has time."""
    served = await catalog(Split(1, witness, candidate=2, share=1.0, shadow=True), 1, 2)
    _, answer = await ask(served, "", 0, FINE)
    assert answer == 1
    ((ask_candidate, copied),) = witness.copies
    assert (copied, await ask_candidate()) == (1, 2)
    served.models["digits"].split = Split(1, witness, candidate=2, share=0.0, shadow=True)
    await ask(served, "", 0, FINE)
    assert len(witness.copies) == 1
