"""gateway.rollout.store and the files below it"""

import logging
import os
import threading
import uuid
from pathlib import Path

import fsspec
import pytest
from moto.server import ThreadedMotoServer

from gateway.errors import Conflict
from gateway.rollout.files import LocalFiles, ObjectFiles, PlaceError, open_files
from gateway.rollout.plan import Change, Mode, Plan, Rules, State, started
from gateway.rollout.store import Action, Event, PlanStore, Reading

ME = Change(by="me", reason="why not")

pytestmark = pytest.mark.filterwarnings("ignore:.*utcnow:DeprecationWarning")


@pytest.fixture(params=["local", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> PlanStore:
    """A store of each kind."""
    return PlanStore(open_files(str(tmp_path / "plans") if request.param == "local" else f"memory://{uuid.uuid4()}"))


def first() -> Event:
    """A roll-out is started."""
    plan = started("digits", 1, 2, mode=Mode.CANARY, rules=Rules(), change=ME, after=None)
    return Event(action=Action.START, before=None, after=plan)


def following(event: Event) -> Event:
    """It goes a step further."""
    return Event(action=Action.ADVANCE, before=event.after, after=event.after.advanced(ME))


def files(store: PlanStore) -> LocalFiles | ObjectFiles:
    """The files of a store."""
    assert isinstance(store._files, LocalFiles | ObjectFiles)
    return store._files


def test_what_is_written_is_read_with_its_history(store: PlanStore) -> None:
    """Every reader finds the last change; the history has all, newest first."""
    assert store.read("digits").plan is None
    one = first()
    two = following(one)
    store.write(one)
    store.write(two)
    assert store.read("digits").plan == two.after
    assert store.read("digits", one.after).plan == two.after
    assert store.events("digits", 10) == [two, one]
    assert store.events("digits", 10, newest=1) == [one]
    assert store.read("other").plan is None


def test_of_two_writers_one_is_told_that_he_is_late(store: PlanStore) -> None:
    """Both have seen the same generation; the second overwrites nothing."""
    one = first()
    store.write(one)
    aborted = one.after.withdrawn(State.ABORTED, ME)
    two = following(one)
    store.write(two)
    with pytest.raises(Conflict, match="changed meanwhile"):
        store.write(Event(action=Action.ABORT, before=one.after, after=aborted))
    assert store.read("digits").plan == two.after


def test_in_a_bucket_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """S3 itself refuses the second writer; without a bucket the failure is one of input and output."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", 0)
    server.start()
    try:
        host, port = server.get_host_and_port()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        fsspec.filesystem("s3", skip_instance_cache=True).mkdir("plans")
        store = PlanStore(open_files("s3://plans/models"))
        one = first()
        store.write(one)
        with pytest.raises(Conflict):
            store.write(one)
        store.write(following(one))
        assert store.read("digits") == Reading(following(one).after)
        assert [event.action for event in store.events("digits", 10)] == [Action.ADVANCE, Action.START]
        with pytest.raises(OSError, match="bucket"):
            PlanStore(open_files("s3://nowhere/models")).write(one)
    finally:
        server.stop()


def test_of_many_writers_at_once_one_wins(tmp_path: Path) -> None:
    """However they are interleaved, one change is made and the others are refused."""
    store = PlanStore(open_files(str(tmp_path)))
    one = first()
    store.write(one)
    outcomes: list[str] = []
    barrier = threading.Barrier(8)

    def write(name: int) -> None:
        after = one.after.withdrawn(State.ABORTED, Change(by=str(name)))
        barrier.wait()
        try:
            store.write(Event(action=Action.ABORT, before=one.after, after=after))
            outcomes.append(str(name))
        except Conflict:
            outcomes.append("")

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (winner,) = (outcome for outcome in outcomes if outcome)
    plan = store.read("digits").plan
    assert plan is not None
    assert (plan.generation, plan.changed.by) == (2, winner)
    assert [path.name for path in (tmp_path / "digits").iterdir() if path.name.startswith(".rollout.json")] == []


def test_a_writer_that_died_halfway_is_finished_by_the_reader(store: PlanStore) -> None:
    """The change was made when its history was written, though the plan file is older, or was never written."""
    one = first()
    two = following(one)
    files(store).create("digits/.rollout/00000001.json", one.model_dump_json().encode())
    assert store.read("digits").plan == one.after
    files(store).replace("digits/rollout.json", one.after.model_dump_json().encode())
    files(store).create("digits/.rollout/00000002.json", two.model_dump_json().encode())
    assert store.read("digits").plan == two.after
    # One who wrote his plan file late takes nothing back.
    assert store.read("digits", two.after).plan == two.after


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b'{"versions": []}', b"[1]"])
def test_a_corrupt_plan_leaves_the_last_good_one(store: PlanStore, content: bytes) -> None:
    """For one who knows it, and from the history for one who has just started; both hear what is wrong."""
    one = first()
    store.write(one)
    files(store).replace("digits/rollout.json", content)
    for known in (one.after, None):
        reading = store.read("digits", known)
        assert reading.plan == one.after
        assert "rollout.json" in reading.problem
    # The next change writes the file anew.
    store.write(following(one))
    assert store.read("digits").problem == ""


def test_a_plan_of_another_model_is_none(store: PlanStore) -> None:
    """A file that was copied to the wrong place is not followed."""
    plan = first().after.model_copy(update={"model": "letters"})
    files(store).replace("digits/rollout.json", plan.model_dump_json().encode())
    reading = store.read("digits")
    assert reading.plan is None
    assert "the plan is one for 'letters'" in reading.problem


def test_a_corrupt_history_changes_nothing(store: PlanStore) -> None:
    """What is written there by hand is passed over, and said."""
    one = first()
    store.write(one)
    files(store).create("digits/.rollout/00000002.json", b"{")
    reading = store.read("digits", one.after)
    assert (reading.plan, "00000002.json" in reading.problem) == (one.after, True)
    assert store.events("digits", 10) == [one]


def test_removing_plan_and_history_ends_the_plan(tmp_path: Path) -> None:
    """Who removes both wants none; who removes the plan file alone gets the plan from the history."""
    store = PlanStore(open_files(str(tmp_path)))
    one = first()
    store.write(one)
    (tmp_path / "digits/rollout.json").unlink()
    assert store.read("digits", one.after).plan == one.after
    (tmp_path / "digits/.rollout/00000001.json").unlink()
    assert store.read("digits", one.after).plan is None


def test_a_full_disk_makes_no_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be written is raised, and nothing of it is left."""
    store = PlanStore(open_files(str(tmp_path)))

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        store.write(first())
    assert store.read("digits").plan is None
    assert list((tmp_path / "digits/.rollout").iterdir()) == []


@pytest.mark.parametrize("name", ["../evil", "a/b", "..", "."])
def test_a_name_is_one_step_of_a_path(tmp_path: Path, name: str) -> None:
    """Whatever is in a model's name, its plan stays below the place for plans."""
    store = PlanStore(open_files(str(tmp_path / "plans")))
    plan = first().after.model_copy(update={"model": name})
    store.write(Event(action=Action.START, before=None, after=plan))
    assert store.read(name).plan == plan
    assert [path.name for path in tmp_path.iterdir()] == ["plans"]
    assert len(list((tmp_path / "plans").glob("*/rollout.json"))) == 1


def test_a_place_where_nobody_can_claim_is_refused() -> None:
    """Plans need a store that creates a file for one writer alone."""
    with pytest.raises(PlaceError, match="expected a path, file://, gs:// or s3://"):
        open_files("http://example.com/plans")


def test_plans_survive_their_json() -> None:
    """What is written is what is read."""
    plan = first().after
    assert Plan.parse(plan.model_dump_json().encode()) == plan
