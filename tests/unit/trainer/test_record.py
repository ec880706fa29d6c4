import fcntl
import multiprocessing
from pathlib import Path

import pytest

from trainer.errors import TrainingError
from trainer.record import Metric, Record, Records, Version, artifacts, save


@pytest.fixture
def records(tmp_path):
    """Of a directory that nobody has made yet."""
    return Records(tmp_path / "pending")


def new(**settings):
    """A record of a run of the model m."""
    return Record(**{"model": "m", "uri": "u", "params": {"p": "1"}, "tags": {"t": "2"}} | settings)


def keep(records, record):
    """Completes a record with one artifact; its directory."""
    with records.begun(record) as directory:
        (directory / "file").write_text("kept")
        return records.complete(record)


def hold(directory, held, leave):
    """Holds an unfinished record, as a training does, until told to leave."""
    with Records(directory).begun(new(id="held")):
        held.set()
        leave.wait(60)


def test_a_complete_record_is_kept_whole(records):
    """Everything comes back, not-a-number too, with its artifacts, until it is removed."""
    metrics = [Metric(name="loss", value=float("nan"), step=3)]
    version = Version(number="4", path="/s/4", tags={"a": "b"}, promote=True)
    record = new(metrics=metrics, version=version, status="KILLED")
    kept = keep(records, record)
    assert records.kept() == [kept]
    assert (artifacts(kept) / "file").read_text() == "kept"
    with records.opened(kept) as found:
        assert found.model_dump_json() == record.model_dump_json()
    records.remove(kept)
    assert records.kept() == []
    assert not kept.exists()


def test_the_oldest_comes_first(records):
    """Runs are uploaded in the order in which they ended."""
    first, second = (keep(records, new(id=name)) for name in ("z", "a"))
    assert records.kept() == [first, second]


def test_what_was_never_completed_is_not_kept(records):
    """A record whose run failed to complete it leaves nothing."""
    with pytest.raises(KeyError), records.begun(new()) as directory:
        raise KeyError
    assert not directory.exists()
    assert records.kept() == []


def test_what_a_killed_process_left_is_removed(records, tmp_path):
    """The next run clears it away, but not what another process is at work on."""
    context = multiprocessing.get_context("spawn")
    held, leave = context.Event(), context.Event()
    left = tmp_path / "pending/.unfinished-left/artifacts"
    left.mkdir(parents=True)
    process = context.Process(target=hold, args=(tmp_path / "pending", held, leave))
    process.start()
    try:
        assert held.wait(60)
        with records.begun(new()):
            assert not left.parent.exists()
            assert (tmp_path / "pending/.unfinished-held/artifacts").is_dir()
    finally:
        leave.set()
        process.join(60)
    assert process.exitcode == 0


def test_one_uploads_at_a_time(records):
    """While a record is open its lock is held; one that was removed meanwhile opens as none."""
    kept = keep(records, new())
    with records.opened(kept), (kept / ".lock").open("a") as lock, pytest.raises(BlockingIOError):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    records.remove(kept)
    with records.opened(kept) as found:
        assert found is None


def test_a_record_that_cannot_be_read_is_said(records):
    """A damaged file is an error that names it."""
    kept = keep(records, new())
    (kept / "run.json").write_text("{}")
    with pytest.raises(TrainingError, match=r"run.json: model: Field required"), records.opened(kept):
        pass


def test_saving_replaces(records):
    """A record is replaced as a whole."""
    record = new()
    kept = keep(records, record)
    record.run_id = "r"
    save(kept, record)
    with records.opened(kept) as found:
        assert found.run_id == "r"
    assert Path(kept / ".run.json").exists() is False
