import logging
import re
import signal
import subprocess
import sys
import threading
from datetime import timedelta
from pathlib import Path

import fsspec
import pytest
from gcp_storage_emulator.server import create_server
from moto.server import ThreadedMotoServer

from trainer import object_store
from trainer.errors import TrainingError
from trainer.store import ModelStore, Published

BASE = "s3://bucket/models"
FILES = {"saved_model.pb": "model", "variables/variables.index": "index", "assets.extra/samples/a b-0.png": "image"}
# Uploads all but the model, and says so.
KILLED = """
import sys, time
from trainer import object_store
from trainer.store import ModelStore

def wait(*_):
    print("uploaded", flush=True)
    time.sleep(60)

object_store.ObjectStore._check_held = wait
ModelStore(sys.argv[1], "m").publish(lambda directory: (directory / "saved_model.pb").write_text("model")
    and (directory / "other").write_text("other"))
"""

pytestmark = pytest.mark.filterwarnings("ignore:.*utcnow:DeprecationWarning")


@pytest.fixture(scope="module")
def server():
    """A server that speaks S3."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", 0)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def files(server, monkeypatch):
    """The file system of an empty bucket, which the environment leads to."""
    settings = {
        "AWS_ENDPOINT_URL": server,
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    files = fsspec.filesystem("s3", use_listings_cache=False, skip_instance_cache=True)
    files.mkdir("bucket")
    yield files
    files.rm("bucket", recursive=True)


@pytest.fixture
def store(files):
    """The store of a model in that bucket."""
    return ModelStore(BASE, "m")


def write(directory):
    """Writes what passes for a model."""
    for name, content in FILES.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


def names(files, path="bucket/models/m"):
    """All objects, by their names in the model's directory."""
    return {name.removeprefix(f"{path}/") for name in files.find(path)}


def kill(base):
    """Kills a publisher when all but the model is there."""
    command = [sys.executable, "-c", KILLED, base]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[3]) as publisher:
        assert publisher.stdout.readline() == b"uploaded\n"
        publisher.send_signal(signal.SIGKILL)


def test_a_version_is_uploaded(store, files):
    """All its files are there under their names; versions count up, and one claim stays, the highest."""
    store.check()
    assert store.publish(write) == Published(1, "s3://bucket/models/m/1")
    assert store.publish(write) == Published(2, "s3://bucket/models/m/2")
    assert names(files) == {f"{version}/{name}" for version in (1, 2) for name in FILES} | {".claims/2"}
    assert files.cat_file("bucket/models/m/1/assets.extra/samples/a b-0.png") == b"image"


def test_the_model_is_uploaded_last(store, monkeypatch):
    """When saved_model.pb is there, all else has been."""
    order = []
    real = object_store._Answering.__getattr__

    def noted(files, name):
        method = real(files, name)
        if name in ("put", "put_file"):
            return lambda source, *rest: (order.append(source), method(source, *rest))
        return method

    monkeypatch.setattr(object_store._Answering, "__getattr__", noted)
    store.publish(write)
    first, last = order
    assert sorted(Path(path).name for path in first) == ["a b-0.png", "variables.index"]
    assert Path(last).name == "saved_model.pb"


def test_publishers_at_the_same_time_get_a_version_each(store, files):
    """Each claims a number of its own, and clears away nothing of the others."""
    threads = [threading.Thread(target=ModelStore(BASE, "m").publish, args=(write,)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {name for name in names(files) if name[0] != "."} == {f"{n}/{name}" for n in range(1, 7) for name in FILES}


def test_a_killed_publisher_leaves_nothing_to_load(store, files, monkeypatch):
    """Its version has no model, and goes once its claim was not renewed for long; until then it may be at work."""
    kill(BASE)
    assert names(files) == {"1/other", ".claims/1"}
    assert store.publish(write).number == 2
    assert {"1/other", ".claims/1"} < names(files)
    monkeypatch.setattr(object_store, "LEASE", timedelta(0))
    assert store.publish(write).number == 3
    assert names(files) == {f"{version}/{name}" for version in (2, 3) for name in FILES} | {".claims/3"}


def test_a_publisher_that_was_given_up_publishes_nothing(store, files):
    """One that slept for longer than its lease finds that its number is no longer its own."""
    check = object_store.ObjectStore._check_held

    def sleep(self, claim):
        with pytest.MonkeyPatch.context() as awake:
            awake.setattr(object_store.ObjectStore, "_check_held", check)
            awake.setattr(object_store, "LEASE", timedelta(0))
            assert store.publish(write).number == 2
        check(self, claim)

    with pytest.MonkeyPatch.context() as asleep:
        asleep.setattr(object_store.ObjectStore, "_check_held", sleep)
        with pytest.raises(TrainingError, match="cannot publish to s3://bucket/models/m: version 1 was given up"):
            ModelStore(BASE, "m").publish(write)
    assert {name for name in names(files) if name[0] != "."} == {f"2/{name}" for name in FILES}


def test_a_claim_is_renewed(store, files, monkeypatch):
    """A long upload gives signs of life."""
    monkeypatch.setattr(object_store, "LEASE", timedelta(seconds=0.05))
    renewed = threading.Event()
    real = object_store.ObjectStore._check_held
    wait = []

    def check(self, claim):
        if threading.current_thread().name == "claim":
            renewed.set()
        elif not wait:
            wait.append(renewed.wait(20))
        real(self, claim)

    monkeypatch.setattr(object_store.ObjectStore, "_check_held", check)
    assert store.publish(write).number == 1
    assert wait == [True]


def test_a_failed_upload_publishes_nothing(store, files, monkeypatch):
    """What had been uploaded is removed, and its number is not given again."""
    real = object_store._Answering.__getattr__

    def failing(files, name):
        if name == "put_file":
            raise OSError("no route")
        return real(files, name)

    with monkeypatch.context() as broken:
        broken.setattr(object_store._Answering, "__getattr__", failing)
        with pytest.raises(TrainingError, match="cannot publish to s3://bucket/models/m: no route"):
            store.publish(write)
    assert names(files) == {".claims/1"}
    assert store.publish(write).number == 2


def test_a_failed_write_leaves_no_trace(store, files):
    """What the writer raises is passed on before anything is uploaded."""

    def fail(directory):
        write(directory)
        raise TrainingError("not good enough")

    with pytest.raises(TrainingError, match="not good enough"):
        store.publish(fail)
    assert names(files) == set()


def test_old_versions_are_removed_if_asked(store, files):
    """As on a file system; the model goes first."""
    for _ in range(4):
        store.publish(write)
    files.pipe_file("bucket/models/m/rollout.json", b'{"versions": [{"version": 2}]}')
    assert store.prune(1) == [1, 3]
    assert {name.partition("/")[0] for name in names(files)} == {"2", "4", ".claims", "rollout.json"}
    files.pipe_file("bucket/models/m/rollout.json", b"{")
    assert store.prune(1) == []


def test_versions_of_others_count(store, files):
    """A directory that somebody uploaded by hand keeps its number; what is no version does not count."""
    for name in ("7", "x", str(2**63)):
        files.pipe_file(f"bucket/models/m/{name}/saved_model.pb", b"model")
    assert store.publish(write).number == 8


def test_a_bucket_that_is_not_there_is_told_first(files):
    """One line says which store, and why, before anything was trained."""
    with pytest.raises(TrainingError, match=r"cannot publish to s3://nowhere/m: .*bucket"):
        ModelStore("s3://nowhere", "m").check()


def test_a_server_that_is_away_is_told(files, monkeypatch):
    """So does one that does not answer, whatever error its library has for that."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(TrainingError, match=r"cannot publish to s3://bucket/m: Could not connect"):
        ModelStore("s3://bucket", "m").check()


def test_google_cloud_storage(monkeypatch):
    """The same over Google's protocol, in which a claim is a condition on the generation."""
    server = create_server("127.0.0.1", 0, in_memory=True, default_bucket="bucket")
    server.start()
    try:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", "http://{}:{}".format(*server._api._httpd.server_address))
        store = ModelStore("gs://bucket/models", "m")
        store.check()
        assert [store.publish(write).number for _ in range(3)] == [1, 2, 3]
        assert store.prune(2) == [1]
        files = fsspec.filesystem("gs", use_listings_cache=False)
        assert {name for name in names(files) if re.match(r"\d", name)} == {
            f"{version}/{name}" for version in (2, 3) for name in FILES
        }
    finally:
        server.stop()
