"""How answers of versions on trial turned out, by the labels that callers send back."""

from datetime import datetime

from sqlalchemy import Connection, case, func, select

from gateway.errors import FeedbackUnavailable
from gateway.feedback import tables
from gateway.feedback.labels import bucket
from gateway.feedback.ledger import Ledger
from gateway.rollout.evidence import Counts
from gateway.split import Variant


class LedgerLabels:
    """The Labels of a ledger. A number is wrong if it is further off than `tolerance`, relative to the truth."""

    def __init__(self, ledger: Ledger, tolerance: float) -> None:
        self._ledger = ledger
        self._tolerance = tolerance

    async def outcomes(self, model: str, version: int, variant: Variant, since: datetime) -> Counts:
        """Of the answers since then, by spans of five minutes: how many have a label, and how many were wrong."""

        def read(connection: Connection) -> Counts:
            classes, values = tables.classification.c, tables.label.c
            slot = (model, version, int(variant), bucket(since.timestamp()))
            of_classes = select(func.sum(classes.n), func.sum(case((classes.predicted != classes.actual, classes.n))))
            error, allowed = values.predicted_value - values.label_value, self._tolerance * func.abs(values.label_value)
            of_values = select(func.count(), func.sum(case((func.abs(error) > allowed, 1)))).where(
                values.label_value.is_not(None)
            )
            counts = Counts()
            for query, columns in ((of_classes, classes), (of_values, values)):
                where = (columns.model, columns.version, columns.variant)
                chosen = query.where(*(column == value for column, value in zip(where, slot, strict=False)))
                total, wrong = connection.execute(chosen.where(columns.bucket >= slot[-1])).one()
                counts += Counts(int(wrong or 0), int(total or 0))
            return counts

        try:
            return await self._ledger.read(lambda store: store.read(read))
        except FeedbackUnavailable as error:
            raise OSError(error.message) from error
