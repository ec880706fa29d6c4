"""The quality of every version of a model over several windows, read from the database's tallies.

Every replica reads the same tallies and comes to the same figures.
"""

import enum
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BigInteger, Connection, Table, cast, func, select

from gateway.feedback import tables
from gateway.feedback.labels import CONFIDENCE_BINS, bucket
from gateway.observations import Variant
from gateway.quality import classification, estimate, regression
from gateway.quality.classification import CalibrationBin, Cell, ClassificationQuality
from gateway.quality.estimate import Estimate, Predictions
from gateway.quality.intervals import Figure, proportion
from gateway.quality.regression import Errors, RegressionQuality


class Window(enum.Enum):
    """How far back predictions count, by the time that they were made; begins at a full five minutes."""

    HOUR = "1h"
    DAY = "24h"
    WEEK = "7d"
    ALL = "all"


_SECONDS = {Window.HOUR: 3600, Window.DAY: 86400, Window.WEEK: 7 * 86400}
LONGEST = max(_SECONDS.values())
"""Seconds; further back there is all and nothing else."""
_Group = tuple[int, Variant]


@dataclass(frozen=True, slots=True)
class Quality:
    """How good the predictions of a version were, as one variant, in a window."""

    version: int
    variant: Variant
    window: Window
    begin: float
    """Seconds since 1970; 0 for all."""
    predictions: int
    """All of them; those made while nobody counted are missing, but for labelled ones."""
    labelled: int
    coverage: Figure
    """Which share has a label."""
    delay: float | None
    """Mean seconds from prediction to label; None without labels."""
    figures: ClassificationQuality | RegressionQuality | None
    """None without labels."""
    estimate: Estimate | None
    """Of a classifier's predictions without labels."""


def read(connection: Connection, model: str) -> list[Quality]:
    """The model's qualities, by version, variant and window; blocks. Windows without predictions are left out."""
    now = time.time()
    begins = {window: bucket(now - _SECONDS[window]) if window in _SECONDS else 0 for window in Window}
    tallies = {window: _Tallies(connection, model, begin) for window, begin in begins.items()}
    everything = tallies[Window.ALL]
    query = select(tables.task.c.version).where(tables.task.c.model == model, tables.task.c.kind == "classification")
    classifiers = set(connection.execute(query).scalars())
    found = []
    for group in everything.groups:
        reference = classification.calibration(everything.cells[group]) if group[0] in classifiers else None
        found += [
            quality
            for window, begin in begins.items()
            if (quality := tallies[window].quality(group, window, begin, reference)) is not None
        ]
    return found


class _Tallies:
    """What the database has of a model's predictions since `begin`, by version and variant."""

    def __init__(self, connection: Connection, model: str, begin: int) -> None:
        def rows(table: Table, *keys: str) -> list[dict[str, Any]]:
            by = [table.c[key] for key in ("version", "variant", *keys)]
            slot = {column.name for column in table.primary_key}
            # PostgreSQL's sum of integers is a decimal.
            sums = [
                cast(func.sum(column), BigInteger).label("n")
                if column.name == "n"
                else func.sum(column).label(column.name)
                for column in table.columns
                if column.name not in slot
            ]
            query = select(*by, *sums).where(table.c.model == model, table.c.bucket >= begin).group_by(*by)
            return [dict(row) for row in connection.execute(query).mappings()]

        self.cells: Mapping[_Group, list[Cell]] = defaultdict(list)
        for row in rows(tables.classification, "predicted", "actual", "bin"):
            self.cells[_group(row)].append(Cell(**row))
        self.errors = {_group(row): Errors(**row) for row in rows(tables.regression)}
        self.predictions: Mapping[_Group, dict[int, Predictions]] = defaultdict(dict)
        for row in rows(tables.prediction, "bin"):
            group, place = _group(row), row.pop("bin")
            self.predictions[group][place] = Predictions(**row)

    @property
    def groups(self) -> list[_Group]:
        """All versions and variants."""
        return sorted({*self.cells, *self.errors, *self.predictions})

    def quality(
        self, group: _Group, window: Window, begin: int, reference: Sequence[CalibrationBin] | None
    ) -> Quality | None:
        """What they come to, calibrated on `reference` if it is a classifier; None without predictions."""
        cells, errors = self.cells.get(group, []), self.errors.get(group)
        counted = self.predictions.get(group, {})
        labelled = errors.n if errors else sum(cell.n for cell in cells)
        predictions = max(sum(each.n for each in counted.values()), labelled)
        if not predictions:
            return None
        delay = errors.delay if errors else sum(cell.delay for cell in cells)
        bins = [counted.get(place, Predictions()) for place in range(CONFIDENCE_BINS)]
        return Quality(
            *group,
            window,
            begin,
            predictions,
            labelled,
            coverage=proportion(labelled, predictions),
            delay=delay / labelled if labelled else None,
            figures=regression.of(errors) if errors else classification.of(cells),
            estimate=estimate.accuracy(bins, classification.calibration(cells), reference) if reference else None,
        )


def _group(row: dict[str, Any]) -> _Group:
    return row.pop("version"), Variant(row.pop("variant"))
