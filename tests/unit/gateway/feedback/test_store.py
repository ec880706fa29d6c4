"""gateway.feedback.store on SQLite and PostgreSQL."""

import math
import resource
import sqlite3
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Table, func, select

from gateway.feedback import tables
from gateway.feedback.database import HEAD, MIGRATIONS, DatabaseUnavailableError, connect, writing
from gateway.feedback.labels import Label, Outcome, bucket
from gateway.feedback.store import Store, Task
from tests.unit.gateway.feedback.conftest import NOW, classified

B, C, U = Outcome.BOOKED, Outcome.CHANGED, Outcome.UNCHANGED


def rows(store: Store, table: Table) -> Sequence[Any]:
    """All that a table has."""

    def read(connection: Connection) -> Sequence[Any]:
        return connection.execute(select(table)).all()

    return store.read(read)


def cells(store: Store) -> dict[tuple[int, int], int]:
    """How many labels by predicted and true class, but zeros."""
    found: dict[tuple[int, int], int] = {}
    for row in rows(store, tables.classification):
        place = (row.predicted, row.actual)
        found[place] = found.get(place, 0) + row.n
    return {place: count for place, count in found.items() if count}


def test_outcomes(store: Store) -> None:
    """The first label of a prediction is booked, another changes it, the same does not; in one batch or in several."""
    one, two = classified(3), classified(4)
    assert store.book([one, two, one, replace(one, label_class=5)]) == [B, B, U, C]
    assert store.book([one, replace(one, label_class=6), replace(two, label_class=4)]) == [C, C, U]
    labels = {row.receipt: row.label_class for row in rows(store, tables.label)}
    assert labels == {one.receipt: 6, two.receipt: 4}
    assert cells(store) == {(3, 6): 1, (3, 4): 1}
    changes = [(row.old_class, row.new_class, row.client) for row in rows(store, tables.label_change)]
    assert changes == [(3, 5, "me"), (5, 3, "me"), (3, 6, "me")]
    assert store.book([]) == []


def test_sums(store: Store) -> None:
    """The tally holds the sums of what each label adds, and what a change takes off is gone."""
    labels = [classified(3, confidence=0.75), classified(3, confidence=0.76), classified(4, confidence=0.75)]
    store.book(labels)
    store.book([replace(labels[1], label_class=4, observed_at=NOW + 500)])
    found = {row.actual: row for row in rows(store, tables.classification) if row.n}
    assert {actual: row.n for actual, row in found.items()} == {3: 1, 4: 2}
    assert found[3].bucket == bucket(NOW - 60)
    assert found[3].log_loss == pytest.approx(-math.log(0.75))
    assert found[4].confidence == pytest.approx(1.51)
    assert found[4].log_loss == pytest.approx(-math.log(0.25) - math.log(0.24))
    assert found[4].log_loss_squared == pytest.approx(math.log(0.25) ** 2 + math.log(0.24) ** 2)
    assert found[4].brier == pytest.approx(0.75**2 + 0.76**2)
    assert found[4].brier_squared == pytest.approx(0.75**4 + 0.76**4)
    # The first label's delay counts.
    assert found[4].delay == pytest.approx(120)


def test_values(store: Store) -> None:
    """Values are summed by their errors; a correction adds up anew."""
    label = replace(classified(3), predicted_class=None, label_class=None, predicted_value=10.0, label_value=7.0)
    other = replace(label, receipt=b"o" * 16, label_value=12.0)
    assert store.book([label, other, replace(other, label_value=14.0)]) == [B, B, C]
    (row,) = rows(store, tables.regression)
    assert tuple(row)[4:] == (2, -1.0, 7.0, 25.0, 337.0, pytest.approx(120))


def test_replicas(open_store: Callable[[], Store]) -> None:
    """Replicas that book the same predictions at once count each once, and their tallies agree with their labels."""
    labels = [classified(number % 10, version=number % 3) for number in range(300)]
    outcomes: list[Outcome] = []
    failures: list[BaseException] = []

    def replica(number: int) -> None:
        store = open_store()
        mine = [replace(label, label_class=(label.label_class or 0) if number % 2 else number) for label in labels]
        try:
            for begin in range(0, len(mine), 50):
                outcomes.extend(store.book(mine[begin : begin + 50][:: 1 if number % 2 else -1]))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=replica, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert (outcomes.count(B), len(outcomes)) == (300, 1200)
    store = open_store()
    booked: dict[tuple[int, int], int] = {}
    for row in rows(store, tables.label):
        place = (row.predicted_class, row.label_class)
        booked[place] = booked.get(place, 0) + 1
    assert sum(booked.values()) == 300
    assert cells(store) == booked
    assert len(rows(store, tables.label_change)) == outcomes.count(C)


def test_counts_and_tasks(open_store: Callable[[], Store]) -> None:
    """What is counted adds up, and what versions are replaces what they were."""
    key = ("digits", 1, 0, 300, 14)
    for store in (open_store(), open_store()):
        store.count({key: [2, 1.5]})
        store.describe({("digits", 1): Task("classification", ("a", "é")), ("digits", 2): Task("regression")})
    store.describe({("digits", 2): Task("classification", ("x",))})
    assert [tuple(row) for row in rows(store, tables.prediction)] == [(*key, 4, 3.0)]
    assert store.tasks() == {
        ("digits", 1): Task("classification", ("a", "é")),
        ("digits", 2): Task("classification", ("x",)),
    }


def test_old_labels_are_deleted(store: Store) -> None:
    """A few at a time, with their changes, until those that are young enough are left; tallies stay as they are."""
    old = [
        replace(classified(3, version=number % 3), predicted_at=NOW - 9000, observed_at=NOW - 1) for number in range(9)
    ]
    value = replace(old[0], receipt=b"v" * 16, predicted_class=None, label_class=None)
    value = replace(value, version=7, predicted_value=1.0, label_value=1.5)
    young = classified(3)
    store.describe({("digits", version): Task("classification", ("a", "b")) for version in (0, 1, 2, 7)})
    store.book([*old, value, young])
    store.book([replace(old[0], label_class=4), replace(young, label_class=4)])
    before = [rows(store, table) for table in (tables.classification, tables.regression)]
    assert store.prune(NOW - 9400, 4) == 0
    assert [store.prune(NOW - 8000, 4) for _ in range(4)] == [4, 4, 2, 0]
    assert [row.receipt for row in rows(store, tables.label)] == [young.receipt]
    assert [row.receipt for row in rows(store, tables.label_change)] == [young.receipt]
    assert [rows(store, table) for table in (tables.classification, tables.regression)] == before


def test_old_tallies_are_merged(store: Store) -> None:
    """Each day's become one at its begin, a day of a version at a time; the sums stay, and so do young ones."""
    day, ages = 86400, (32.5, 32.5, 30.4, 30.6, 9.5, 0)
    made = [NOW // day * day + 0.3 * day - age * day for age in ages]
    store.describe({("digits", 1): Task("classification", ("a", "b")), ("digits", 2): Task("regression")})
    labels = [replace(classified(3), predicted_at=time) for time in made]
    value = replace(labels[0], receipt=b"v" * 16, version=2, predicted_class=None, label_class=None)
    values = [replace(value, receipt=bytes([place]) * 16, predicted_at=time) for place, time in enumerate(made)]
    store.book([*labels, *(replace(each, predicted_value=1.5, label_value=1.0) for each in values)])
    store.count({("digits", 1, 0, bucket(time), 4): [2, 1.5] for time in made})
    every = (tables.classification, tables.regression, tables.prediction)

    def sums() -> list[list[float]]:
        """What the tables count, whatever the day."""
        return [
            [
                math.fsum(row[place] for row in rows(store, table))
                for place in range(len(table.primary_key), len(table.c))
            ]
            for table in every
        ]

    before, merged = sums(), []
    while count := store.merge(NOW - 10 * day):
        merged.append(count)
    # Two labels of one moment, then two of one day.
    assert merged == [1, 2] * len(every)
    for table in every:
        found = sorted({row.bucket for row in rows(store, table)})
        assert found == sorted({int(time // day * day) for time in made[:4]} | {bucket(time) for time in made[4:]})
    for left, there in zip(sums(), before, strict=True):
        assert left == pytest.approx(there)
    # What comes late after all is merged as well.
    store.count({("digits", 1, 0, bucket(made[0]), 4): [1, 0.5]})
    assert [store.merge(NOW - 10 * day) for _ in range(2)] == [1, 0]


def test_replicas_delete_side_by_side(open_store: Callable[[], Store]) -> None:
    """Each label once, whoever is at it, while new ones are booked."""
    stores = [open_store() for _ in range(3)]
    stores[0].describe({("digits", 1): Task("classification", ("a", "b"))})
    stores[0].book([replace(classified(3), predicted_at=NOW - 9000) for _ in range(300)])
    deleted: list[int] = []

    def delete(store: Store) -> None:
        while count := store.prune(NOW - 8000, 20):
            deleted.append(count)

    threads = [threading.Thread(target=delete, args=(store,)) for store in stores[:2]]
    for thread in threads:
        thread.start()
    young = [classified(3) for _ in range(20)]
    for label in young:
        stores[2].book([label])
    for thread in threads:
        thread.join()
    while count := stores[2].prune(NOW - 8000, 20):
        deleted.append(count)
    assert sum(deleted) == 300
    assert {row.receipt for row in rows(stores[2], tables.label)} == {label.receipt for label in young}


def test_migrations(store: Store, url: str) -> None:
    """The migrations make the tables that the code knows."""
    store.prepare()
    engine = connect(url)
    with writing(engine) as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, tables.metadata) == []
        assert connection.execute(select(func.count()).select_from(tables.label)).scalar() == 0
    engine.dispose()
    assert ScriptDirectory(str(MIGRATIONS)).get_current_head() == HEAD


def test_full_disk(tmp_path: Path) -> None:
    """A disk that is full refuses labels, keeps those that it has, and takes more when there is room."""
    file = tmp_path / "labels.db"
    store = Store(connect(f"sqlite:///{file}"))
    kept: list[Label] = [classified(3)]
    store.book(kept)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    size = file.with_name("labels.db-wal").stat().st_size
    # Writing beyond fails as it would on a full disk.
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 20_000, hard))
    refused = [classified(3) for _ in range(1000)]
    try:
        with pytest.raises(DatabaseUnavailableError, match=r"full|I/O"):
            store.book(refused)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [row.receipt for row in rows(store, tables.label)] == [kept[0].receipt]
    assert store.book(refused) == [B] * 1000
    assert cells(store) == {(3, 3): 1001}
    store.close()


def test_durable(tmp_path: Path) -> None:
    """SQLite writes ahead, and to the disk before it answers."""
    store = Store(connect(f"sqlite:///{tmp_path / 'labels.db'}"))
    store.prepare()

    def pragma(connection: Connection, name: str) -> Any:
        return connection.exec_driver_sql(f"PRAGMA {name}").scalar()

    assert store.read(partial(pragma, name="journal_mode")) == "wal"
    assert store.read(partial(pragma, name="synchronous")) == 2
    store.close()


def test_no_database(tmp_path: Path) -> None:
    """A database that is not there, or is no database, is said to be unavailable; one that comes later is used."""
    file = tmp_path / "labels.db"
    file.write_bytes(b"This is not a database." * 100)
    store = Store(connect(f"sqlite:///{file}"))
    with pytest.raises(DatabaseUnavailableError, match="not a database"):
        store.book([classified(3)])
    file.unlink()
    assert store.book([classified(3)]) == [B]
    store.close()
    store = Store(connect(f"postgresql://nobody@/none?host={tmp_path}"))
    with pytest.raises(DatabaseUnavailableError, match="No such file"):
        store.tasks()
    store.close()


def test_locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process that holds SQLite's lock for too long makes it unavailable, and no longer than that."""
    monkeypatch.setattr("gateway.feedback.database.TIMEOUT", 0.1)
    file = tmp_path / "labels.db"
    store = Store(connect(f"sqlite:///{file}"))
    store.prepare()
    other = sqlite3.connect(file, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(DatabaseUnavailableError, match="locked"):
        store.book([classified(3)])
    assert rows(store, tables.label) == []
    other.execute("ROLLBACK")
    other.close()
    assert store.book([classified(3)]) == [B]
    store.close()
