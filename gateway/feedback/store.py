"""Where labels are kept, with tallies of them that are always right: both change in one transaction."""

import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, Table, delete, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from gateway.feedback import tables
from gateway.feedback.database import migrate, reading, writing
from gateway.feedback.labels import (
    DAY_SECONDS,
    Label,
    Outcome,
    Slot,
    Sums,
    brier,
    bucket,
    confidence_bin,
    log_loss,
    plus,
)
from gateway.observations import Variant

T = TypeVar("T")
_VARIANTS = [int(variant) for variant in Variant]


@dataclass(frozen=True, slots=True)
class Task:
    """What a version's labels are."""

    kind: str
    """classification or regression."""
    labels: tuple[str, ...] = ()


class Store:
    """The database of labels; every method blocks, and may raise DatabaseUnavailableError, which leaves no trace."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._migrated = False
        self._migrating = threading.Lock()
        self._insert: Any = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}[engine.dialect.name]

    def prepare(self) -> None:
        """Brings the tables up to date, the first time that the database is there."""
        # Alembic is for one thread at a time.
        with self._migrating:
            if not self._migrated:
                migrate(self._engine)
                self._migrated = True

    def close(self) -> None:
        """Lets go of the connections."""
        self._engine.dispose()

    def book(self, labels: Sequence[Label]) -> list[Outcome]:
        """Books every label, or none; durable when it returns. Of several for one prediction the last is in force."""
        self.prepare()
        with writing(self._engine) as connection:
            known = self._insert_new(connection, {label.receipt: label for label in reversed(labels)})
            outcomes: list[Outcome] = []
            changes: list[tuple[Label, Label]] = []
            booked: list[Label] = []
            for label in labels:
                old = known.get(label.receipt)
                if old is None:
                    booked.append(label)
                    known[label.receipt] = label
                    outcomes.append(Outcome.BOOKED)
                elif old.truth == label.truth:
                    outcomes.append(Outcome.UNCHANGED)
                else:
                    # How long the first label took stays what it was.
                    known[label.receipt] = new = replace(label, observed_at=old.observed_at)
                    changes.append((old, new))
                    outcomes.append(Outcome.CHANGED)
            if changes:
                _record(connection, changes, known)
            classes, values, stale = _tally(booked, changes)
            self._add(connection, tables.classification, classes)
            self._add(connection, tables.regression, values)
            for slot in sorted(stale):
                _tally_again(connection, slot)
        return outcomes

    def count(self, predictions: Sums) -> None:
        """Adds to the tally of all predictions: number and sum of confidence by slot and bin of confidence."""
        self.prepare()
        with writing(self._engine) as connection:
            self._add(connection, tables.prediction, predictions)

    def describe(self, tasks: Mapping[tuple[str, int], Task]) -> None:
        """Keeps what the labels of versions are, by model and version."""
        self.prepare()
        statement = self._insert(tables.task)
        statement = statement.on_conflict_do_update(
            index_elements=list(tables.task.primary_key),
            set_={"kind": statement.excluded.kind, "labels": statement.excluded.labels},
        )
        rows = [
            {"model": model, "version": version, "kind": task.kind, "labels": json.dumps(task.labels)}
            for (model, version), task in sorted(tasks.items())
        ]
        with writing(self._engine) as connection:
            connection.execute(statement, rows)

    def prune(self, before: float, limit: int) -> int:
        """Deletes `limit` labels at most, with their changes, of predictions made before a time; returns how many.

        Whole buckets alone, and not what another replica deletes; the tallies stay.
        """
        self.prepare()
        label, change = tables.label, tables.label_change
        end = bucket(before)
        with writing(self._engine) as connection:
            old: list[bytes] = []
            # One by one, as they are indexed.
            for model, version in connection.execute(select(tables.task.c.model, tables.task.c.version)).all():
                slots = (label.c.model == model, label.c.version == version, label.c.variant.in_(_VARIANTS))
                query = select(label.c.receipt).where(*slots, label.c.bucket < end)
                query = query.limit(limit - len(old)).with_for_update(skip_locked=True)
                old += connection.execute(query).scalars()
                if len(old) == limit:
                    break
            for table in (change, label):
                connection.execute(delete(table).where(table.c.receipt.in_(old)))
        return len(old)

    def merge(self, before: float) -> int:
        """Adds a day's tallies up to one for the whole day; returns how many were put together, 0 if none are left.

        Of days that ended before a time, when nothing of them changes any more: of the oldest of one version.
        """
        self.prepare()
        end = bucket(before, DAY_SECONDS)
        with writing(self._engine) as connection:
            for model, version in connection.execute(select(tables.task.c.model, tables.task.c.version)).all():
                for variant in _VARIANTS:
                    for table in (tables.classification, tables.regression, tables.prediction):
                        slots = (table.c.model == model, table.c.version == version, table.c.variant == variant)
                        if count := self._merge_first(connection, table, slots, end):
                            return count
        return 0

    def _merge_first(self, connection: Connection, table: Table, slots: Sequence[Any], end: int) -> int:
        """Merges the first day of these slots that has more than its own begin."""
        split = table.c.bucket % DAY_SECONDS != 0
        # One by one, as they are indexed.
        query = select(table.c.bucket).where(*slots, table.c.bucket < end, split).order_by(table.c.bucket).limit(1)
        first = connection.execute(query).scalar()
        if first is None:
            return 0
        begin = bucket(first, DAY_SECONDS)
        keys = len(table.primary_key)
        sums: Sums = {}
        within = (*slots, table.c.bucket > begin, table.c.bucket < begin + DAY_SECONDS)
        rows = connection.execute(delete(table).where(*within).returning(table)).all()
        for row in rows:
            slot = Slot(*row[: len(Slot._fields)])._replace(bucket=begin)
            plus(sums, (*slot, *row[len(slot) : keys]), *row[keys:])
        self._add(connection, table, sums)
        return len(rows)

    def tasks(self) -> dict[tuple[str, int], Task]:
        """What was kept of every version."""
        return self.read(tasks)

    def read(self, work: Callable[[Connection], T]) -> T:
        """What `work` returns of all that is there at one moment."""
        self.prepare()
        with reading(self._engine) as connection:
            return work(connection)

    def _insert_new(self, connection: Connection, labels: Mapping[bytes, Label]) -> dict[bytes, Label]:
        """Inserts the labels of predictions that have none; returns those that are there, locked, by receipt."""
        known = _locked(connection, list(labels))
        # Always in the same order, lest two replicas wait for one another.
        missing = sorted(labels.keys() - known.keys())
        if missing:
            rows = [asdict(labels[receipt]) | {"bucket": labels[receipt].slot.bucket} for receipt in missing]
            statement = self._insert(tables.label).on_conflict_do_nothing().returning(tables.label.c.receipt)
            inserted = set(connection.execute(statement, rows).scalars())
            overtaken = [receipt for receipt in missing if receipt not in inserted]
            if overtaken:
                # Another replica was faster.
                known |= _locked(connection, overtaken)
        return known

    def _add(self, connection: Connection, table: Table, sums: Sums) -> None:
        if not sums:
            return
        names = [column.name for column in table.columns]
        keys = [column.name for column in table.primary_key]
        statement = self._insert(table)
        statement = statement.on_conflict_do_update(
            index_elements=keys,
            set_={name: table.c[name] + statement.excluded[name] for name in names if name not in keys},
        )
        rows = [dict(zip(names, (*key, *values), strict=True)) for key, values in sorted(sums.items())]
        connection.execute(statement, rows)


def tasks(connection: Connection) -> dict[tuple[str, int], Task]:
    """What the labels of every version are, by model and version."""
    rows = connection.execute(select(tables.task)).all()
    return {(row.model, row.version): Task(row.kind, tuple(json.loads(row.labels))) for row in rows}


def _locked(connection: Connection, receipts: Sequence[bytes]) -> dict[bytes, Label]:
    label = tables.label
    rows = connection.execute(
        select(label).where(label.c.receipt.in_(receipts)).order_by(label.c.receipt).with_for_update()
    ).mappings()
    return {row["receipt"]: Label(**{name: row[name] for name in row if name != "bucket"}) for row in rows}


def _record(connection: Connection, changes: Sequence[tuple[Label, Label]], in_force: Mapping[bytes, Label]) -> None:
    """Puts the labels in force in place of the old ones, and notes every change."""
    now = time.time()
    for receipt in {new.receipt for _, new in changes}:
        new = in_force[receipt]
        connection.execute(
            update(tables.label)
            .where(tables.label.c.receipt == receipt)
            .values(label_class=new.label_class, label_value=new.label_value, client=new.client)
        )
    connection.execute(
        insert(tables.label_change),
        [
            {
                "receipt": new.receipt,
                "changed_at": now,
                "client": new.client,
                "old_class": old.label_class,
                "old_value": old.label_value,
                "new_class": new.label_class,
                "new_value": new.label_value,
            }
            for old, new in changes
        ],
    )


def _tally(booked: Sequence[Label], changes: Sequence[tuple[Label, Label]]) -> tuple[Sums, Sums, set[Slot]]:
    """What is to be added to the tallies of classes and of values, and whose values must be added up again."""
    classes: Sums = {}
    values: Sums = {}
    stale: set[Slot] = set()
    signed = [(label, 1) for label in booked]
    for old, new in changes:
        if old.predicted_class is None:
            # The error of a label that was a slip may be so large that taking it off again would leave nothing.
            stale.add(old.slot)
        else:
            signed += [(old, -1), (new, 1)]
    for label, sign in signed:
        delay = label.observed_at - label.predicted_at
        if label.predicted_class is not None and label.label_class is not None:
            right = label.predicted_class == label.label_class
            loss, score = log_loss(label.confidence, right=right), brier(label.confidence, right=right)
            key = (*label.slot, label.predicted_class, label.label_class, confidence_bin(label.confidence))
            plus(classes, key, 1, label.confidence, loss, loss**2, score, score**2, delay, sign=sign)
        else:
            assert label.predicted_value is not None and label.label_value is not None  # noqa: PT018  # one or the other
            error = label.predicted_value - label.label_value
            plus(values, label.slot, 1, error, abs(error), error**2, error**4, delay, sign=sign)
    return classes, values, stale


def _tally_again(connection: Connection, slot: Slot) -> None:
    """Adds up the values of a slot from their labels."""
    tally, label = tables.regression, tables.label
    connection.execute(delete(tally).where(*_in_slot(tally, slot)))
    error = label.c.predicted_value - label.c.label_value
    sums = (
        func.count(),
        func.sum(error),
        func.sum(func.abs(error)),
        func.sum(error * error),
        func.sum(error * error * error * error),
        func.sum(label.c.observed_at - label.c.predicted_at),
    )
    keys = [label.c[name] for name in Slot._fields]
    added = select(*keys, *sums).where(*_in_slot(label, slot)).group_by(*keys)
    connection.execute(insert(tally).from_select([column.name for column in tally.columns], added))


def _in_slot(table: Table, slot: Slot) -> tuple[Any, ...]:
    return tuple(table.c[name] == value for name, value in slot._asdict().items())
