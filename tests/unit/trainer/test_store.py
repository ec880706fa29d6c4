import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from trainer.errors import TrainingError
from trainer.store import ModelStore

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
    assert store.publish(write) == tmp_path / "m" / "1"
    (tmp_path / "m" / "7").mkdir()
    (tmp_path / "m" / "9-old").mkdir()
    assert store.publish(write) == tmp_path / "m" / "8"
    assert (tmp_path / "m" / "8" / "saved_model.pb").read_text() == "whole"


def test_a_version_can_be_read_by_other_users(tmp_path):
    """A server under another user lists and reads it, as the umask allows."""
    version = ModelStore(tmp_path, "m").publish(write)
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
    seen = iter([[], [1]])
    monkeypatch.setattr(store, "_versions", lambda: next(seen))
    assert store.publish(write).name == "2"
    assert visible(tmp_path) == [1, 2]


def test_a_base_path_that_cannot_be_written_is_refused(tmp_path):
    """One line says which directory, and why, before anything was trained."""
    (tmp_path / "file").write_text("")
    with pytest.raises(TrainingError, match=r"cannot publish to .*file/m: Not a directory"):
        ModelStore(tmp_path / "file", "m").check()
