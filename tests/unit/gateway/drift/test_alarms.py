"""gateway.drift.alarms and gateway.drift.comparison"""

import numpy as np
import pytest

from gateway.drift.alarms import Alarms
from gateway.drift.comparison import Comparison, compare
from gateway.drift.sketch import Kind, Sketch
from serving.contract import Reference
from serving.reference import by_quantiles, counted
from tests.fakes import digits

FEATURES, REFERENCE = 6, 1000
LABELS = tuple("0123456789")


class World:
    """Features that hang together, classes of unequal size and confidence near 1; `shift` moves the first feature."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.shares = self.rng.dirichlet(np.full(10, 3.0))
        values = self._values(REFERENCE, 0.0)
        classes = np.bincount(self.rng.choice(10, REFERENCE, p=self.shares), minlength=10)
        self.reference = Reference(
            instances=REFERENCE,
            inputs={f"x{number}": by_quantiles(values[:, number]) for number in range(FEATURES)},
            predictions=dict(zip(LABELS, classes.tolist(), strict=True)),
            confidence=by_quantiles(self.rng.beta(20, 1, REFERENCE).round(4)),
        )
        contract = digits.contract(reference=self.reference)
        self.sketch = Sketch(contract, self.reference)

    def _values(self, rows: int, shift: float) -> np.ndarray:
        values = self.rng.normal(size=(rows, FEATURES)) + self.rng.normal(size=(rows, 1))
        values[:, 0] += shift
        return values

    def counts(self, rows: int, shift: float = 0.0) -> np.ndarray:
        """A sketch of so many rows."""
        values = self._values(rows, shift)
        parts = [counted(values[:, number], self.reference.inputs[f"x{number}"]) for number in range(FEATURES)]
        parts.append(self.rng.multinomial(rows, self.shares))
        parts.append(counted(self.rng.beta(20, 1, rows), self.reference.confidence))
        return np.concatenate(parts)


def alarms_of(world: World, alpha: float = 0.01, look_rows: int = 250, min_psi: float = 0.1) -> Alarms:
    """Alarms with the gateway's defaults."""
    return Alarms(world.sketch, look_rows=look_rows, alpha=alpha, min_psi=min_psi)


def comparisons(world: World, counts: np.ndarray) -> list[Comparison]:
    """A sketch beside the reference."""
    return compare(world.sketch.features, world.sketch.parts(counts))


def test_clean_traffic_raises_no_alarm() -> None:
    """Of 100 versions that are looked at 20 times and more, 1 % have an alarm at the level 1 %, at most."""
    false = 0
    for seed in range(100):
        world = World(seed)
        alarms = alarms_of(world, min_psi=0.0)
        ever = set()
        for _ in range(20):
            alarms.take(world.counts(250), 250, 0.0)
            ever |= alarms.raised.keys()
        assert alarms.looks == 20 + 5 + 1
        false += bool(ever)
    # More than 4 of 100 have a chance below one in two hundred at a rate of 1 %.
    assert false <= 4


def test_one_look_keeps_its_level() -> None:
    """Corrected over all features, clean blocks are below 5 % in 5 % of looks at most, and not in none."""
    false = looks = 0
    for seed in range(80):
        world = World(seed)
        for _ in range(4):
            false += min(found.p_value for found in comparisons(world, world.counts(250))) < 0.05
            looks += 1
    # Looks at one reference are not independent: three standard deviations and a half, of as many references.
    assert 0.002 * looks < false <= 0.05 * looks + 3.5 * (0.05 * 0.95 * looks) ** 0.5


def test_a_break_is_seen_within_500() -> None:
    """However the break lies to the blocks, and however often was looked before."""
    for before in (0, 125, 240, 250 * 1000):
        world = World(before)
        alarms = alarms_of(world)
        for block in alarms._blocks:
            block.looks = before // block.least
        alarms.take(world.counts(before % 250), before % 250, 0.0)
        seen = 0
        while seen < 500 and not alarms.raised:
            alarms.take(world.counts(25, shift=2.0), 25, 7.0)
            seen += 25
        (alarm,) = alarms.raised.values()
        assert (alarm.feature.kind, alarm.feature.name, alarm.since) == (Kind.INPUT, "x0", 7.0)
        assert alarm.psi > 0.1
        assert alarm.p_value < 0.001


def test_a_slow_change_needs_the_longer_blocks() -> None:
    """What 250 predictions do not show for certain, thousands do."""
    world = World(5)
    alarms = alarms_of(world)
    for block in alarms._blocks:
        block.looks = 500
    rows = 0
    while not alarms.raised:
        alarms.take(world.counts(250, shift=0.55), 250, 0.0)
        rows += 250
        assert rows <= 64 * 250
    assert rows > 250
    assert next(iter(alarms.raised.values())).rows > 250


def test_an_alarm_ends_with_the_drift() -> None:
    """It stays while blocks differ, from the same moment on, and the first block without ends it for good."""
    world = World(6)
    alarms = alarms_of(world)
    for now in range(6):
        alarms.take(world.counts(250, shift=2.0), 250, float(now))
        assert [alarm.since for alarm in alarms.raised.values()] == [0.0]
    for _ in range(80):
        alarms.take(world.counts(250), 250, 9.0)
        assert not alarms.raised


def test_a_small_difference_is_no_alarm() -> None:
    """However certain it is."""
    world = World(7)
    alarms = alarms_of(world, min_psi=5.0)
    alarms.take(world.counts(4000, shift=1.0), 4000, 0.0)
    assert alarms.looks == 3
    assert not alarms.raised


def test_nothing_is_no_distribution() -> None:
    """Without predictions distances are not numbers, and no test says anything."""
    world = World(8)
    for found in comparisons(world, np.zeros(world.sketch.size, np.int64)):
        assert np.isnan([found.psi, found.jensen_shannon]).all()
        assert (found.rows, found.p_value) == (0, 1)
    assert [found.kolmogorov_smirnov is None for found in comparisons(world, world.counts(9))] == [
        *[False] * FEATURES,
        True,
        False,
    ]


@pytest.mark.parametrize("rows", [0, 249])
def test_too_few_are_not_judged(rows: int) -> None:
    """Before the first block is full there is no look."""
    world = World(9)
    alarms = alarms_of(world)
    alarms.take(world.counts(rows, shift=9.0), rows, 0.0)
    assert (alarms.looks, alarms.missing, alarms.raised) == (0, 250 - rows, {})
