"""When drift is an alarm: looks at disjoint blocks of predictions, at a level that holds however many there are."""

import math
from dataclasses import dataclass

import numpy as np

from gateway.drift.comparison import Comparison, compare
from gateway.drift.sketch import Feature, Sketch
from gateway.drift.statistics import Counts

# Blocks of 1, 4, 16 and 64 times the fewest predictions: short ones see a break at once, long ones a slow change.
# Beyond that the reference, which is a sample of a thousand or so, is what limits the certainty.
LEVELS, FACTOR = 4, 4


@dataclass(frozen=True, eq=False)
class Alarm:
    """A feature that has drifted."""

    feature: Feature
    since: float
    """Unix time."""
    rows: int
    """In the block that was last found to differ."""
    psi: float
    p_value: float


@dataclass
class _Block:
    """Predictions that are gathered for the next look at this level."""

    least: int
    share: float
    """Of alpha, for all looks at this level."""
    counts: Counts
    rows: int = 0
    looks: int = 0


class Alarms:
    """The features of a version that have drifted.

    Look k at level j, from 1, is judged at alpha · 2^-j · 6 / (π² k²). Summed over all looks there may ever be, that is
    less than alpha, and by Boole's inequality so is the chance of a false alarm, though all looks have one reference.
    An alarm needs an effect of `min_psi` too. It ends with a look at the level that raised it which finds no difference
    at alpha itself, or a small one.
    """

    def __init__(self, sketch: Sketch, *, look_rows: int, alpha: float, min_psi: float) -> None:
        self.raised: dict[Feature, Alarm] = {}
        self._sketch = sketch
        self._alpha = alpha
        self._min_psi = min_psi
        self._blocks = [
            _Block(look_rows * FACTOR**level, 2.0 ** -(level + 1), np.zeros(sketch.size, np.int64))
            for level in range(LEVELS)
        ]
        self._levels: dict[Feature, int] = {}

    @property
    def looks(self) -> int:
        """How often the version was judged."""
        return sum(block.looks for block in self._blocks)

    @property
    def missing(self) -> int:
        """Predictions that are wanted before the next look."""
        return self._blocks[0].least - self._blocks[0].rows

    def take(self, counts: Counts, rows: int, now: float) -> None:
        """Counts `rows` predictions, and looks where a block is full; `now` is in Unix time."""
        for block in self._blocks:
            block.counts += counts
            block.rows += rows
        for level, block in enumerate(self._blocks):
            if block.rows >= block.least:
                self._look(level, block, now)
                block.counts[:] = 0
                block.rows = 0

    def _look(self, level: int, block: _Block, now: float) -> None:
        block.looks += 1
        certain = self._alpha * block.share * 6 / (math.pi * block.looks) ** 2
        # A copy: what is found outlives the block.
        for place, found in enumerate(compare(self._sketch.features, self._sketch.parts(block.counts.copy()))):
            large = found.psi >= self._min_psi
            if large and found.p_value < certain:
                self._raise(level, found, now)
                # Else the longer blocks would raise it again when it is long over.
                for longer in self._blocks[level + 1 :]:
                    self._sketch.parts(longer.counts)[place][:] = 0
            elif self._levels.get(found.feature) == level and not (large and found.p_value < self._alpha):
                del self._levels[found.feature], self.raised[found.feature]

    def _raise(self, level: int, found: Comparison, now: float) -> None:
        known = self.raised.get(found.feature)
        since = known.since if known else now
        self.raised[found.feature] = Alarm(found.feature, since, found.rows, found.psi, found.p_value)
        # The shortest block that sees it says when it is over.
        self._levels[found.feature] = min(level, self._levels.get(found.feature, level))
