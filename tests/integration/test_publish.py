"""Publishing under the eyes of a server, with publishers that are killed, and into stores that refuse."""

import hashlib
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from stack.processes import child
from trainer.errors import TrainingError
from trainer.store import ModelStore

ROOT = Path(__file__).parents[2]
TIMEOUT = 120.0
KILLS = int(os.environ.get("TENSORGATE_TEST_KILLS", "10"))
# Publishes copies of a model again and again.
PUBLISHER = """
import shutil, sys
from pathlib import Path
from trainer.store import ModelStore

store = ModelStore(sys.argv[1], "m")
print("ready", flush=True)
while True:
    store.publish(lambda directory: shutil.copytree(sys.argv[2], directory, dirs_exist_ok=True))
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A small model with weights and a good many files."""

    class Model(tf.Module):
        def __init__(self):
            self.weights = tf.Variable(np.random.default_rng(0).random((500, 500), np.float32))

        @tf.function(input_signature=[tf.TensorSpec((None, 500), tf.float32, "x")])
        def serve(self, x):
            return {"y": x @ self.weights}

    directory = tmp_path_factory.mktemp("model") / "m"
    model = Model()
    tf.saved_model.save(model, str(directory), {"serving_default": model.serve})
    (directory / "assets.extra").mkdir(exist_ok=True)
    for number in range(40):
        (directory / "assets.extra" / f"{number}.bin").write_bytes(bytes(10_000))
    return directory


def contents(directory):
    """All files in a directory, by name, each as a hash."""
    files = (path for path in directory.rglob("*") if path.is_file())
    return {path.relative_to(directory): hashlib.sha256(path.read_bytes()).digest() for path in files}


def copy(model, directory):
    """Copies a model's files into an existing directory."""
    for name in contents(model):
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_bytes((model / name).read_bytes())


@pytest.mark.timeout(300)
def test_killed_publishers_leave_nothing_half(model, tmp_path):
    """While publishers are killed at random moments, every version is whole, and a server loads each that it sees."""
    whole = contents(model)
    base = tmp_path / "store" / "m"
    ModelStore(base.parent, "m").publish(lambda directory: copy(model, directory))
    server = [sys.executable, "-m", "serving.embedded", "--port=0", "--model_name=m", f"--model_base_path={base}"]
    publisher = [sys.executable, "-c", PUBLISHER, str(base.parent), str(model)]
    moments = random.Random(7)
    with child("the model server", [*server, "--file_system_poll_wait_seconds=1"], tmp_path / "server.txt") as running:
        running.wait_for("serving gRPC on ", TIMEOUT)
        killed, seen = 0, set()
        for _ in range(KILLS):
            with subprocess.Popen(publisher, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
                assert process.stdout.readline() == "ready\n"
                time.sleep(moments.uniform(0, 0.25))
                process.kill()
            killed += any(base.glob(".unfinished-*"))
            versions = [path for path in base.iterdir() if path.name.isdigit()]
            assert all(contents(path) == whole for path in versions)
            assert seen <= set(versions)
            seen.update(versions)
        # One that lives.
        last = ModelStore(base.parent, "m").publish(lambda directory: copy(model, directory)).number
        running.wait_for(f"m version {last} is available", TIMEOUT)
        log = running.log.read_text()
    assert killed
    assert not list(base.glob(".unfinished-*"))
    # Who is killed with a number in hand takes it along; nobody takes another's.
    assert {path for path in base.iterdir() if path.name.isdigit()} == seen | {base / str(last)}
    assert all(int(path.name) < last for path in seen)
    assert len(re.findall(r"m version \d+ is available", log)) > 1
    assert not re.search("cannot be loaded|ERROR|Traceback", log), log


@contextmanager
def small_disk(path, size):
    """A file system of `size` bytes at `path`; skips where none may be mounted."""
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(path)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a tmpfs")
    try:
        yield path
    finally:
        subprocess.run(["umount", str(path)], check=True)


def test_a_full_disk_publishes_nothing(model, tmp_path):
    """What does not fit is said in one line and leaves no trace; what was published before stays."""
    with small_disk(tmp_path / "disk", 2_500_000) as disk:
        store = ModelStore(disk, "m")
        store.check()
        store.publish(lambda directory: copy(model, directory))
        with pytest.raises(TrainingError, match=rf"cannot publish to {disk}/m: No space left on device"):
            store.publish(lambda directory: copy(model, directory))
        assert {path.name for path in (disk / "m").iterdir()} == {".lock", "1"}
        assert contents(disk / "m" / "1") == contents(model)


RESTRICTED = """
import os, resource, sys
from trainer.errors import TrainingError
from trainer.store import ModelStore
# Not before the imports: Python itself may be somewhere that nobody can read.
{restriction}
store = ModelStore(sys.argv[1], "m")
try:
    store.check()
    store.publish(lambda directory: (directory / "saved_model.pb").write_bytes(bytes(5000)))
except TrainingError as error:
    print(error)
"""
AS_NOBODY = "if os.geteuid() == 0: os.setgid(65534); os.setuid(65534)"
SMALL_FILES = "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))"


def restricted(restriction, base):
    """What a publisher says that may not do everything."""
    command = [sys.executable, "-c", RESTRICTED.format(restriction=restriction), str(base)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    assert not ended.returncode, ended.stderr
    return ended.stdout


def test_a_quota_publishes_nothing(tmp_path):
    """A limit that is met in the middle of a file is said in one line too."""
    assert restricted(SMALL_FILES, tmp_path) == f"cannot publish to {tmp_path}/m: File too large\n"
    assert {path.name for path in (tmp_path / "m").iterdir()} == {".lock"}


@pytest.mark.parametrize("existing", [False, True])
def test_a_store_of_somebody_else_is_refused_first(existing):
    """Without the right to write nothing is trained; one line says where."""
    # Not pytest's directory, which is nobody else's to look into.
    with tempfile.TemporaryDirectory() as directory:
        if existing:
            ModelStore(directory, "m").check()
            Path(directory, "m").chmod(0o555)
        Path(directory).chmod(0o555)
        assert restricted(AS_NOBODY, directory) == f"cannot publish to {directory}/m: Permission denied\n"
        for path in (Path(directory), *Path(directory).glob("m")):
            path.chmod(0o755)
