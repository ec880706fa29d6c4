import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from trainer import local_store
from trainer.errors import TrainingError
from trainer.store import ModelStore, Published

KILLED = """
import sys, time
from pathlib import Path
from trainer.store import ModelStore

def write(directory):
    (directory / "saved_model.pb").write_text("half")
    print("writing", flush=True)
    time.sleep(60)

ModelStore(Path(sys.argv[1]), "m").publish(write)
"""


def write(directory):
    """Writes a model, or what passes for one here."""
    (directory / "saved_model.pb").write_text("whole")


def visible(base):
    """What a server sees of the model: names that are integers."""
    return sorted(int(path.name) for path in (base / "m").iterdir() if path.name.isdigit())


def test_versions_count_up_from_the_highest(tmp_path):
    """The first version is 1, the next one more than the highest there is; other names do not count."""
    store = ModelStore(tmp_path, "m")
    assert store.publish(write) == Published(1, str(tmp_path / "m" / "1"))
    (tmp_path / "m" / "7").mkdir()
    for name in ("9-old", "-9", "٩", str(2**63)):
        (tmp_path / "m" / name).mkdir()
    assert store.publish(write).number == 8
    assert (tmp_path / "m" / "8" / "saved_model.pb").read_text() == "whole"


def test_a_version_can_be_read_by_other_users(tmp_path):
    """A server under another user lists and reads it, as the umask allows."""
    version = Path(ModelStore(tmp_path, "m").publish(write).location)
    mask = os.umask(0)
    os.umask(mask)
    assert version.stat().st_mode & 0o777 == 0o777 & ~mask


def test_a_failed_write_publishes_nothing(tmp_path):
    """What the writer raises is passed on, and nothing of the version remains."""

    def fail(directory):
        write(directory)
        raise TrainingError("not good enough")

    with pytest.raises(TrainingError, match="not good enough"):
        ModelStore(tmp_path, "m").publish(fail)
    assert [path.name for path in (tmp_path / "m").iterdir()] == [".lock"]


def test_a_killed_publisher_leaves_nothing_to_load(tmp_path):
    """After SIGKILL in the middle of writing there is no version, and the next publisher clears what was left."""
    command = [sys.executable, "-c", KILLED, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[3]) as publisher:
        publisher.stdout.readline()
        publisher.send_signal(signal.SIGKILL)
    assert visible(tmp_path) == []
    assert len(list((tmp_path / "m").glob(".unfinished-*"))) == 1
    ModelStore(tmp_path, "m").publish(write)
    assert visible(tmp_path) == [1]
    assert not list((tmp_path / "m").glob(".unfinished-*"))


def test_publishers_at_the_same_time_get_a_version_each(tmp_path):
    """Nobody's version is lost, overwritten or cleared away as unfinished."""
    threads = [threading.Thread(target=ModelStore(tmp_path, "m").publish, args=(write,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert visible(tmp_path) == list(range(1, 9))
    assert all((tmp_path / "m" / str(version) / "saved_model.pb").exists() for version in range(1, 9))


def test_a_version_taken_meanwhile_is_left_alone(tmp_path, monkeypatch):
    """Where a publisher that the lock does not reach was faster, the version after its own is taken."""
    store = ModelStore(tmp_path, "m")
    store.publish(write)
    (tmp_path / "m" / ".lock").write_text("")
    seen = iter([{}, {"1": 1}])
    monkeypatch.setattr(local_store.LocalStore, "_versions", lambda _: next(seen))
    assert store.publish(write).number == 2
    assert visible(tmp_path) == [1, 2]


def test_no_number_is_given_twice(tmp_path):
    """Not even that of a version that was removed: who remembers it would take the new one for it."""
    store = ModelStore(tmp_path, "m")
    store.publish(write)
    shutil.rmtree(store.publish(write).location)
    assert store.publish(write).number == 3


def test_the_last_number_is_the_last(tmp_path):
    """After the highest number that servers know, nothing can be published."""
    (tmp_path / "m" / str(2**63 - 1)).mkdir(parents=True)
    with pytest.raises(TrainingError, match="there is no version number after 9223372036854775807"):
        ModelStore(tmp_path, "m").publish(write)


def test_a_version_is_on_the_disk_before_it_is_seen(tmp_path, monkeypatch):
    """Its files and directories are synced, then it gets its name, then the name is synced."""
    events = []
    sync, rename = os.fsync, Path.rename

    def write_more(directory):
        write(directory)
        (directory / "variables").mkdir()
        (directory / "variables" / "data").write_text("1")

    def note_sync(descriptor):
        events.append(os.fstat(descriptor).st_ino)
        sync(descriptor)

    def note_rename(path, target):
        events.append("rename")
        return rename(path, target)

    monkeypatch.setattr(os, "fsync", note_sync)
    monkeypatch.setattr(Path, "rename", note_rename)
    version = Path(ModelStore(tmp_path, "m").publish(write_more).location)
    before, after = events[: events.index("rename")], events[events.index("rename") + 1 :]
    assert {path.stat().st_ino for path in (version, *version.rglob("*"))} <= set(before)
    assert after == [(tmp_path / "m").stat().st_ino]


def test_old_versions_are_removed_if_asked(tmp_path, caplog):
    """The newest stay, those that are protected or in the roll-out plan too, and directories without a model."""
    caplog.set_level("INFO", "trainer")
    store = ModelStore(tmp_path, "m")
    for _ in range(7):
        store.publish(write)
    (tmp_path / "m" / "3" / "saved_model.pb").unlink()
    (tmp_path / "m" / "rollout.json").write_text('{"generation": 1, "versions": [{"version": 2, "share": 0.9}]}')
    assert store.prune(None) == []
    assert store.prune(2, protected={1}) == [4, 5]
    assert visible(tmp_path) == [1, 2, 3, 6, 7]
    assert not list((tmp_path / "m").glob(".unfinished-*"))
    assert caplog.messages == ["removed old versions: 4, 5"]


def test_a_plan_that_cannot_be_read_keeps_all(tmp_path, caplog):
    """Nobody knows what it names: everything stays, and the log says why."""
    store = ModelStore(tmp_path, "m")
    for _ in range(3):
        store.publish(write)
    (tmp_path / "m" / "rollout.json").write_text("{")
    assert store.prune(1) == []
    assert visible(tmp_path) == [1, 2, 3]
    assert "old versions are kept: rollout.json is no roll-out plan: Invalid JSON" in caplog.text


def test_a_file_url_is_a_path(tmp_path):
    """`file://` is the file system by another name."""
    assert ModelStore(f"file://{tmp_path}", "m").publish(write) == Published(1, str(tmp_path / "m" / "1"))


@pytest.mark.parametrize("base", ["ftp://host/models", "nosuch://x"])
def test_other_stores_are_refused(base):
    """A store that has no way to claim a version is told before anything is trained."""
    with pytest.raises(TrainingError, match=r"expected a model store as a path, file://, gs:// or s3://"):
        ModelStore(base, "m")


def test_a_store_whose_package_is_missing(monkeypatch):
    """What has to be installed is named."""
    monkeypatch.setitem(sys.modules, "s3fs", None)
    # What fsspec has used before it does not import again.
    monkeypatch.delitem(sys.modules["fsspec.registry"]._registry, "s3", raising=False)
    with pytest.raises(TrainingError, match=r"s3fs.*requirements/object-stores.txt"):
        ModelStore("s3://bucket/models", "m")


def test_a_base_path_that_cannot_be_written_is_refused(tmp_path):
    """One line says which directory, and why, before anything was trained."""
    (tmp_path / "file").write_text("")
    with pytest.raises(TrainingError, match=r"cannot publish to .*file/m: Not a directory"):
        ModelStore(tmp_path / "file", "m").check()
