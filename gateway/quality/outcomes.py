"""How answers turned out since a moment: counted from the labels themselves, since tallies are of five minutes each."""

from sqlalchemy import BigInteger, Connection, case, cast, func, or_, select

from gateway.feedback import tables
from gateway.feedback.labels import bucket
from gateway.observations import Variant


def count(
    connection: Connection, model: str, version: int, variant: Variant, *, since: float, tolerance: float
) -> tuple[int, int]:
    """How many labelled predictions were wrong, and how many there are; blocks.

    A class is wrong if the label is another, a value if it is further than `tolerance` from it. `since` is in seconds
    since 1970, and about when predictions were made.
    """
    label = tables.label.c
    wrong = or_(
        label.predicted_class != label.label_class,
        func.abs(label.predicted_value - label.label_value) > tolerance,
    )
    # PostgreSQL's sum of integers is a decimal.
    bad = cast(func.coalesce(func.sum(case((wrong, 1), else_=0)), 0), BigInteger)
    row = connection.execute(
        select(bad, func.count()).where(
            label.model == model,
            label.version == version,
            label.variant == int(variant),
            label.bucket >= bucket(since),
            label.predicted_at >= since,
        )
    ).one()
    return row[0], row[1]
