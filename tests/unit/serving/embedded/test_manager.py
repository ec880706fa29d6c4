"""serving.embedded.manager and version: the life of versions, with a fake loader."""

import asyncio
import gc
import threading
import weakref
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from grpc import StatusCode

from serving.embedded.errors import ModelError, NoVersions, ServableNotFound, VersionNotFound
from serving.embedded.manager import Manager
from serving.embedded.servable import Inference, Servable
from serving.embedded.version import Loader, State
from serving.embedded.workers import Workers
from tests.unit.serving.embedded.fakes import FakeLoader, FakeServable, eventually

BASE = Path("/models/m")
BROKEN = ModelError(StatusCode.DATA_LOSS, "torn")


@pytest.fixture
def workers() -> Iterator[Workers]:
    """Two threads for calls."""
    with closing(Workers(2)) as workers:
        yield workers


@pytest.fixture
def manager(load: FakeLoader, workers: Workers) -> Manager:
    """A manager that tries once."""
    return Manager(Loader(load, retries=0, retry_seconds=0), workers)


def want(manager: Manager, *versions: int) -> None:
    """Wants `versions` of the model m, and no others."""
    manager.want("m", {version: BASE / str(version) for version in versions})


def states(manager: Manager) -> dict[int, str]:
    """The state of every version of m by name."""
    return {version.number: version.state.name for version in manager.statuses("m", None)}


def serving(manager: Manager) -> int | None:
    """The version that answers for m."""
    try:
        return manager.find("m", None).number
    except ServableNotFound:
        return None


def add_one(servable: Servable) -> Inference[Any]:
    """1 + 1."""
    outputs = yield servable.prepare("serving_default", {"x": np.float32(1)}, [])
    return outputs["y"]


async def test_first_version(manager: Manager) -> None:
    """A wanted version is loaded and answers by its number and as the latest."""
    want(manager, 1)
    assert states(manager) == {1: "START"}
    await manager.attempted()
    assert states(manager) == {1: "AVAILABLE"}
    assert manager.find("m", 1) is manager.find("m", None)
    assert await manager.infer(manager.find("m", 1), add_one) == 2


async def test_nothing_known(manager: Manager) -> None:
    """A model or a version that was never wanted is not found."""
    want(manager)
    for number in (None, 1):
        with pytest.raises(ServableNotFound):
            manager.find("m", number)
    with pytest.raises(NoVersions):
        manager.statuses("m", None)
    with pytest.raises(VersionNotFound):
        manager.statuses("other", 1)
    await manager.attempted()


async def test_replacement(manager: Manager, load: FakeLoader) -> None:
    """The old version answers until the new one is loaded, then it is closed."""
    want(manager, 1)
    await manager.attempted()
    load.gates[2] = threading.Event()
    want(manager, 2)
    await eventually(lambda: load.attempts[2])
    assert states(manager) == {1: "AVAILABLE", 2: "LOADING"}
    assert serving(manager) == 1
    load.gates[2].set()
    await eventually(lambda: states(manager) == {1: "END", 2: "AVAILABLE"})
    assert serving(manager) == 2
    assert load.servables[1].closed
    with pytest.raises(ServableNotFound):
        manager.find("m", 1)


async def test_calls_finish_before_unload(manager: Manager, load: FakeLoader) -> None:
    """A version that is replaced is closed only after the calls on it have finished; it takes no more."""
    want(manager, 1)
    await manager.attempted()
    load.servables[1].gate.clear()
    version = manager.find("m", 1)
    # More calls than workers: some have not begun.
    calls = [asyncio.create_task(manager.infer(version, add_one)) for _ in range(4)]
    await eventually(lambda: load.servables[1].running == 2)
    want(manager, 2)
    await eventually(lambda: states(manager) == {1: "UNLOADING", 2: "AVAILABLE"})
    assert serving(manager) == 2
    assert not load.servables[1].closed
    load.servables[1].gate.set()
    assert await asyncio.gather(*calls) == [2, 2, 2, 2]
    await eventually(lambda: states(manager)[1] == "END")
    assert load.servables[1].closed


async def test_cancelled_call(manager: Manager, load: FakeLoader) -> None:
    """A call that was cancelled while it ran still keeps its version from being closed."""
    want(manager, 1)
    await manager.attempted()
    load.servables[1].gate.clear()
    call = asyncio.create_task(manager.infer(manager.find("m", 1), add_one))
    await eventually(lambda: load.servables[1].running)
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)
    want(manager)
    await eventually(lambda: states(manager)[1] == "UNLOADING")
    assert not load.servables[1].closed
    load.servables[1].gate.set()
    await eventually(lambda: load.servables[1].closed)


async def test_nothing_wanted(manager: Manager, load: FakeLoader) -> None:
    """When no version is wanted any more the last one goes too."""
    want(manager, 1)
    await manager.attempted()
    want(manager)
    await eventually(lambda: states(manager) == {1: "END"})
    assert serving(manager) is None
    assert load.servables[1].closed


async def test_going_back(manager: Manager, load: FakeLoader) -> None:
    """A version that was unloaded is loaded anew when it is wanted again."""
    for version in (1, 2, 1):
        want(manager, version)
        await eventually(lambda version=version: serving(manager) == version)
    assert load.attempts == {1: 2, 2: 1}


async def test_wanted_again_while_unloading(manager: Manager, load: FakeLoader) -> None:
    """A version that is wanted again while it is being unloaded is loaded anew afterwards."""
    want(manager, 1)
    await manager.attempted()
    first = load.servables[1]
    first.gate.clear()
    call = asyncio.create_task(manager.infer(manager.find("m", 1), add_one))
    await eventually(lambda: first.running)
    want(manager)
    await eventually(lambda: states(manager) == {1: "UNLOADING"})
    want(manager, 1)
    assert states(manager) == {1: "START"}
    assert load.attempts[1] == 1
    first.gate.set()
    await call
    await manager.attempted()
    assert first.closed
    assert serving(manager) == 1
    assert load.servables[1] is not first


@pytest.mark.parametrize(
    ("failure", "code", "text"),
    [(BROKEN, "DATA_LOSS", "torn"), (ZeroDivisionError("by what?"), "INTERNAL", "ZeroDivisionError: by what?")],
    ids=["expected", "unexpected"],
)
async def test_failed_load(manager: Manager, load: FakeLoader, failure: Exception, code: str, text: str) -> None:
    """A version that cannot be loaded ends with its error; the one before goes on."""
    load.failures[2] = [failure]
    want(manager, 1)
    await manager.attempted()
    want(manager, 2)
    await eventually(lambda: states(manager) == {1: "AVAILABLE", 2: "END"})
    (version,) = manager.statuses("m", 2)
    assert version.error
    assert (version.error.code.name, version.error.text) == (code, text)
    assert serving(manager) == 1


async def test_failed_load_keeps_nothing(workers: Workers) -> None:
    """What a failed load had in its hands is let go, although its error is kept."""
    halves = weakref.WeakSet[FakeServable]()

    def load(path: Path) -> Servable:
        half = FakeServable()
        halves.add(half)
        raise ModelError(StatusCode.DATA_LOSS, "torn") from ZeroDivisionError(half)

    manager = Manager(Loader(load, retries=0, retry_seconds=0), workers)
    want(manager, 1)
    await eventually(lambda: states(manager) == {1: "END"})
    gc.collect()
    assert not halves


async def test_failed_version_is_left_alone(manager: Manager, load: FakeLoader) -> None:
    """A version that failed is not tried again while it is there, but is after it was gone."""
    load.failures[1] = [BROKEN]
    for versions in ((1,), (1,), (), (1,)):
        want(manager, *versions)
        await manager.attempted()
        await eventually(lambda: states(manager)[1] in ("END", "AVAILABLE"))
    assert load.attempts[1] == 2
    assert serving(manager) == 1


async def test_retries(load: FakeLoader, workers: Workers) -> None:
    """A load is tried again as often as was said, and no more."""
    manager = Manager(Loader(load, retries=2, retry_seconds=0), workers)
    load.failures = {1: [BROKEN] * 2, 2: [BROKEN] * 3}
    for number, state in ((1, State.AVAILABLE), (2, State.END)):
        want(manager, number)
        (version,) = manager.statuses("m", number)
        await eventually(lambda version=version, state=state: version.state is state)
        assert load.attempts[number] == 3


async def test_waiting_for_a_retry(load: FakeLoader, workers: Workers) -> None:
    """While one version waits for its next attempt others load, and the wait ends when it is not wanted."""
    manager = Manager(Loader(load, retries=5, retry_seconds=3600), workers)
    load.failures[1] = [BROKEN]
    want(manager, 1)
    await manager.attempted()
    assert states(manager) == {1: "LOADING"}
    want(manager, 2)
    await eventually(lambda: states(manager) == {1: "END", 2: "AVAILABLE"})


async def test_models_are_apart(manager: Manager) -> None:
    """A version of one model has nothing to do with the same version of another."""
    want(manager, 1)
    manager.want("n", {1: Path("/models/n/1")})
    await manager.attempted()
    manager.want("n", {})
    await eventually(lambda: manager.statuses("n", 1)[0].state is State.END)
    assert states(manager) == {1: "AVAILABLE"}
