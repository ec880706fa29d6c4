"""Databases of labels."""

import itertools
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.feedback.database import connect
from gateway.feedback.labels import Label
from gateway.feedback.store import Store
from tests.fakes.postgres_server import PostgresServer, postgres_server

NOW = time.time()
_numbers = itertools.count()


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server for all tests here."""
    with postgres_server() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'labels.db'}"
    server: PostgresServer = request.getfixturevalue("postgres")
    return server.create(f"labels{next(_numbers)}")


@pytest.fixture
def open_store(url: str) -> Iterator[Callable[[], Store]]:
    """Opens the database, as one replica each."""
    stores: list[Store] = []

    def opened() -> Store:
        stores.append(Store(connect(url)))
        return stores[-1]

    yield opened
    for store in stores:
        store.close()


@pytest.fixture
def store(open_store: Callable[[], Store]) -> Store:
    """The database, opened."""
    return open_store()


def classified(truth: int, predicted: int = 3, **fields: Any) -> Label:
    """A label of a prediction that was made a minute ago."""
    fields = {"receipt": os.urandom(16), "confidence": 0.75, "client": "me", "variant": 0, "version": 1} | fields
    return Label(
        model="digits",
        predicted_at=NOW - 60,
        observed_at=NOW,
        predicted_class=predicted,
        label_class=truth,
        **fields,
    )
