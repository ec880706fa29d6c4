"""The script that copies the model store into an ECS task, run for real against a directory that poses as S3."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[3] / "terraform/modules/aws_serving/sync.sh"
TIMEOUT = 20.0

# Of the AWS CLI what the script calls: objects are files under $S3, the secret is the file $S3/secret.
AWS = r"""#!/usr/bin/env bash
set -euo pipefail
[ ! -e "$S3/down" ] || { echo "could not connect" >&2; exit 255; }
case "$1 $2" in
  "s3 cp")
    shift 2; recursive=
    while [[ $1 == --* ]]; do [ "$1" = --recursive ] && recursive=1; shift; done
    from="$S3/${1#s3://}"
    if [ -n "$recursive" ]; then
      mkdir -p "$2"; cp -r "$from." "$2"
      if [ -e "$S3/cut" ]; then rm "$2/saved_model.pb"; echo "connection reset" >&2; exit 1; fi
    else cp "$from" "$2"; fi ;;
  "s3api list-objects-v2")
    while [ $# -gt 0 ]; do
      case "$1" in --bucket) bucket=$2 ;; --prefix) prefix=$2 ;; esac; shift
    done
    cd "$S3/$bucket"; [ ! -d "$prefix" ] || find "$prefix" -name saved_model.pb ;;
  "secretsmanager get-secret-value") cat "$S3/secret" ;;
  *) echo "unexpected: $*" >&2; exit 2 ;;
esac
"""


class Task:
    """The script, and the directories that it reads and writes."""

    def __init__(self, root: Path) -> None:
        self.s3, self.models, self.keys = (root / name for name in ("s3", "models", "keys"))
        for directory in (self.s3 / "bucket", self.models, self.keys, root / "bin"):
            directory.mkdir(parents=True)
        (root / "bin/aws").write_text(AWS)
        (root / "bin/aws").chmod(0o755)
        (self.s3 / "bucket/models.config").write_text("model_config_list {}\n")
        (self.s3 / "secret").write_text(json.dumps({"keys": []}))
        environment = os.environ | {
            "PATH": f"{root / 'bin'}:{os.environ['PATH']}",
            "S3": str(self.s3),
            "BUCKET": "bucket",
            "MODELS": "digits",
            "LOADED_VERSIONS": "2",
            "MODELS_PATH": str(self.models),
            "KEYS_SECRET": "keys",
            "KEYS_PATH": str(self.keys),
            "POLL_SECONDS": "0.05",
        }
        self.process = subprocess.Popen(
            ["bash", "-c", SCRIPT.read_text()], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )

    def publish(self, version: int, *, finished: bool = True) -> None:
        """Puts a version into the bucket; unfinished, it lacks what is published last."""
        directory = self.s3 / f"bucket/digits/{version}"
        (directory / "variables").mkdir(parents=True, exist_ok=True)
        (directory / "variables/variables.index").write_text(str(version))
        if finished:
            (directory / "saved_model.pb").write_text(str(version))

    def versions(self) -> set[str]:
        """What the server would see."""
        return {path.name for path in self.models.glob("digits/*") if path.name.isdigit()}

    @property
    def synchronised(self) -> bool:
        """What the container's health check asks."""
        return (self.models / ".synchronised").exists()


@pytest.fixture
def task(tmp_path: Path) -> Iterator[Task]:
    """A task that has just started, and ends with the test."""
    started = Task(tmp_path)
    yield started
    started.process.kill()
    started.process.communicate()


def until(condition: Callable[[], bool]) -> None:
    """Waits for it; fails if it does not come."""
    deadline = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_newest_versions_are_kept(task: Task) -> None:
    """As many of the newest versions as are loaded are there, by number and not by spelling; older ones go."""
    assert not task.synchronised
    for version in (8, 9, 10):
        task.publish(version)
    until(lambda: task.synchronised and task.versions() == {"9", "10"})
    assert (task.models / "digits/10/variables/variables.index").read_text() == "10"
    assert (task.models / "models.config").read_text() == "model_config_list {}\n"
    task.publish(11)
    until(lambda: task.versions() == {"10", "11"})


def test_unfinished_version_is_not_fetched(task: Task) -> None:
    """A version is fetched when its last file is there."""
    task.publish(1)
    until(lambda: task.versions() == {"1"})
    task.publish(2, finished=False)
    task.publish(3)
    until(lambda: "3" in task.versions())
    assert "2" not in task.versions()
    task.publish(2)
    until(lambda: task.versions() == {"2", "3"})


def test_version_that_breaks_off_does_not_appear(task: Task) -> None:
    """A download that fails leaves nothing that a server would load, and is tried again."""
    (task.s3 / "cut").touch()
    task.publish(1)
    until((task.models / "digits/.incoming-1").exists)
    assert not task.versions()
    assert not task.synchronised
    (task.s3 / "cut").unlink()
    until(lambda: task.versions() == {"1"} and (task.models / "digits/1/saved_model.pb").exists())


def test_lost_store_leaves_what_there_is(task: Task) -> None:
    """Neither a bucket that cannot be read nor one that was emptied takes away what is served."""
    task.publish(1)
    until(lambda: task.synchronised)
    (task.s3 / "down").touch()
    time.sleep(0.3)
    (task.s3 / "bucket/digits").rename(task.s3 / "elsewhere")
    (task.s3 / "down").unlink()
    time.sleep(0.3)
    assert task.versions() == {"1"}
    assert task.process.poll() is None


def test_keys_follow_the_secret(task: Task) -> None:
    """A changed secret replaces the keys file; an unchanged one leaves the file, which the gateway watches, alone."""
    task.publish(1)
    until(lambda: task.synchronised)
    file = task.keys / "keys.json"
    before = file.stat()
    time.sleep(0.3)
    assert file.stat().st_ino == before.st_ino
    (task.s3 / "secret").write_text(json.dumps({"keys": ["another"]}))
    until(lambda: json.loads(file.read_text()) == {"keys": ["another"]})


def test_ends_at_once_when_asked(task: Task) -> None:
    """SIGTERM does not wait for the next poll."""
    task.publish(1)
    until(lambda: task.synchronised)
    task.process.send_signal(signal.SIGTERM)
    task.process.wait(timeout=TIMEOUT)
