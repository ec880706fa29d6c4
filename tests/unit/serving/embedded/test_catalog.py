"""serving.embedded.catalog: models come and go with the configuration, and labels name their versions."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from grpc import StatusCode

from serving.embedded.catalog import Catalog
from serving.embedded.config import All, Model
from serving.embedded.errors import (
    LabelledVersionUnavailable,
    ModelError,
    ServableNotFound,
    ServablesUnavailable,
    UnknownLabel,
)
from serving.embedded.manager import Manager
from serving.embedded.version import Loader
from serving.embedded.workers import Workers
from tests.unit.serving.embedded.fakes import FakeLoader, eventually, publish


@pytest.fixture
def manager(load: FakeLoader) -> Iterator[Manager]:
    """A manager that tries once."""
    with closing(Workers(1)) as workers:
        yield Manager(Loader(load, retries=0, retry_seconds=0), workers)


@pytest.fixture
def catalog(manager: Manager) -> Catalog:
    """A catalog that is strict with labels."""
    return Catalog(manager)


@pytest.fixture
def model(tmp_path: Path) -> Callable[..., Model]:
    """Makes a model with some versions; all of them are to be served."""

    def make(name: str, *versions: int, **labels: int) -> Model:
        base = tmp_path / name
        for version in versions:
            if not (base / str(version)).exists():
                publish(base, str(version))
        return Model(name, base, All(), labels)

    return make


def serves(manager: Manager, name: str, number: int | None = None) -> bool:
    """Whether a model, or a version of it, answers."""
    try:
        manager.find(name, number)
    except ServableNotFound:
        return False
    return True


async def test_reload(catalog: Catalog, manager: Manager, model: Callable[..., Model]) -> None:
    """A reload is total: new models are there when it is done, those left out go, the others stay as they are."""
    await catalog.reload([model("a", 1), model("b", 1)])
    kept = manager.find("b", 1)
    await catalog.reload([model("b", 1), model("c", 2, 3)])
    assert [serves(manager, name) for name in "abc"] == [False, True, True]
    assert manager.find("b", 1) is kept
    assert serves(manager, "c", 2)
    await catalog.reload([])
    assert not any(serves(manager, name) for name in "abc")


async def test_missing_base_path(catalog: Catalog, manager: Manager, model: Callable[..., Model]) -> None:
    """A base path that is missing is told, keeps no other model back, and is served once it is there."""
    with pytest.raises(ServablesUnavailable) as caught:
        await catalog.reload([model("gone"), model("a", 1)])
    assert caught.value.text == (
        "1 servable(s) did not become available: {{name: gone due to error: no version found}, }"
    )
    assert serves(manager, "a")
    assert not catalog.ready()
    model("gone", 1)
    await catalog.poll()
    await manager.attempted()
    assert catalog.ready()


async def test_broken_version(
    catalog: Catalog, load: FakeLoader, manager: Manager, model: Callable[..., Model]
) -> None:
    """A version that cannot be loaded is told with its error, and the rest is served."""
    load.failures[2] = [ModelError(StatusCode.DATA_LOSS, "torn")]
    with pytest.raises(ServablesUnavailable, match=r"{name: a version: 2 due to error: torn}"):
        await catalog.reload([model("a", 1, 2)])
    assert serves(manager, "a", 1)


async def test_overtaken_look(catalog: Catalog, manager: Manager, model: Callable[..., Model]) -> None:
    """What a look for versions finds of a model that is gone by then is forgotten."""
    catalog.adopt([model("a", 1)])
    poll = asyncio.create_task(catalog.poll())
    await asyncio.sleep(0)
    catalog.adopt([])
    await poll
    assert manager.wanted("a") == []


async def test_reload_outlives_its_caller(catalog: Catalog, manager: Manager, model: Callable[..., Model]) -> None:
    """A configuration is loaded even if whoever sent it does not wait."""
    reload = asyncio.create_task(catalog.reload([model("a", 1)]))
    await asyncio.sleep(0)
    reload.cancel()
    await eventually(lambda: serves(manager, "a"))


async def test_labels(catalog: Catalog, model: Callable[..., Model]) -> None:
    """A label may be given to a version that is available, moved to another, and taken away."""
    await catalog.reload([model("a", 1, 2)])
    for number in (1, 2):
        await catalog.reload([model("a", 1, 2, stable=number)])
        assert catalog.labelled("a", "stable") == number
    await catalog.reload([model("a", 1, 2)])
    for name in ("a", "b"):
        with pytest.raises(UnknownLabel):
            catalog.labelled(name, "stable")


async def test_label_of_an_unavailable_version(catalog: Catalog, manager: Manager, model: Callable[..., Model]) -> None:
    """A label of a version that is not available is refused, and the configuration stays as it was."""
    await catalog.reload([model("a", 1)])
    await catalog.reload([model("a", 1, stable=1)])
    for refused in ([model("a", 1, 2, stable=2)], [model("b", 1, stable=1)]):
        with pytest.raises(LabelledVersionUnavailable):
            await catalog.reload(refused)
    assert catalog.labelled("a", "stable") == 1
    assert not serves(manager, "b")
    assert not serves(manager, "a", 2)


async def test_unavailable_labels(manager: Manager, load: FakeLoader, model: Callable[..., Model]) -> None:
    """Where they are allowed, only a label that is new may name a version that is not available."""
    catalog = Catalog(manager, unavailable_labels=True)
    load.gates[1] = threading.Event()
    catalog.adopt([model("a", 1, stable=1)])
    assert catalog.labelled("a", "stable") == 1
    with pytest.raises(LabelledVersionUnavailable):
        catalog.adopt([model("a", 1, stable=2)])
    catalog.adopt([model("a", 1, stable=1, canary=2)])
    assert catalog.labelled("a", "canary") == 2
