"""Predictions beside their labels, one by one, as far as the database still has them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, select

from gateway.feedback import tables
from gateway.observations import Variant
from gateway.quality.report import Window
from gateway.report.quality import ModelQuality

MOST = 100_000
"""Of more labels of a version the newest."""


@dataclass(frozen=True)
class Labelled:
    """A version's predictions and what was told of them, oldest first: names of classes, or values."""

    model: str
    version: int
    predicted: Sequence[str] | Sequence[float]
    actual: Sequence[str] | Sequence[float]
    classes: Sequence[str] = ()
    """Those that come there, in the model's order."""

    @property
    def are_values(self) -> bool:
        """Whether it is a regression."""
        return not self.classes


def read(connection: Connection, found: Sequence[ModelQuality], window: Window) -> Iterator[Labelled]:
    """The labelled predictions of each version that has some in the window; blocks."""
    label = tables.label
    for model in found:
        begins = {each.version: int(each.begin) for each in model.qualities if each.window is window}
        for version, begin in begins.items():
            query = (
                select(label.c.predicted_class, label.c.label_class, label.c.predicted_value, label.c.label_value)
                .where(label.c.model == model.model, label.c.version == version)
                .where(label.c.variant.in_([int(variant) for variant in Variant]), label.c.bucket >= begin)
                .order_by(label.c.bucket.desc())
                .limit(MOST)
            )
            newest_first = connection.execute(query).all()
            if not newest_first:
                continue
            # What had its number before it may have been of another task.
            values = newest_first[0].label_class is None
            rows = [row for row in reversed(newest_first) if (row.label_class is None) == values]
            if values:
                predicted, actual = zip(*((row.predicted_value, row.label_value) for row in rows), strict=True)
                yield Labelled(model.model, version, predicted, actual)
                continue
            numbers = sorted({number for row in rows for number in (row.predicted_class, row.label_class)})
            names = {number: model.class_name(version, number) for number in numbers}
            predicted, actual = zip(
                *((names[row.predicted_class], names[row.label_class]) for row in rows), strict=True
            )
            yield Labelled(model.model, version, predicted, actual, list(names.values()))
