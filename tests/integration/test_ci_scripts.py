"""What pipelines run that wants Docker or a package index, with stand-ins: what goes well and what does not."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract import models
from tests.fakes import digits

ROOT = Path(__file__).resolve().parents[2]
TIMEOUT = 240.0

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="only Linux has more than one loopback address"),
    pytest.mark.skipif(
        not all(map(shutil.which, ("bash", "curl", "git", "make"))), reason="needs bash, curl, git and make"
    ),
]


class Checkout:
    """A copy of the repository, set up, on a machine with `docker`."""

    def __init__(self, directory: Path) -> None:
        self.root, self.temporary = directory / "checkout", directory / "tmp"
        # Not below the others: the paths of sockets are short.
        self.engine = Path(tempfile.mkdtemp(prefix="engine-"))
        for each in (self.root, self.temporary):
            each.mkdir()
        ignored = shutil.ignore_patterns("node_modules")
        for entry in ROOT.iterdir():
            if entry.name == ".ci" or not entry.name.startswith((".", "var", "dist")):
                # With the bytecode, which counts as long as times are the same.
                if entry.is_dir():
                    shutil.copytree(entry, self.root / entry.name, ignore=ignored)
                else:
                    shutil.copy2(entry, self.root)
        self.programs = self.root / ".venv/bin"
        self.program("python", f'exec "{sys.executable}" "$@"')
        self.program("docker", f'exec "{sys.executable}" -m tests.fakes.docker "$@"')
        (self.root / ".venv/.ready").touch()

    def program(self, name: str, script: str) -> None:
        """Has a shell script for a program."""
        self.programs.mkdir(parents=True, exist_ok=True)
        (self.programs / name).write_text(f"#!/bin/sh\n{script}\n")
        (self.programs / name).chmod(0o755)

    def write(self, file: str, text: str) -> None:
        """Writes a file."""
        (self.root / file).parent.mkdir(parents=True, exist_ok=True)
        (self.root / file).write_text(text)

    def replace(self, file: str, old: str, new: str) -> None:
        """Writes something else in the place of what stands in a file once."""
        text = (self.root / file).read_text()
        assert text.count(old) == 1
        self.write(file, text.replace(old, new))

    def run(self, program: str, *arguments: str, **environment: str) -> tuple[int, str]:
        """A program's status and all that it wrote."""
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("COMPOSE", "MAKE", "PYTEST", "TENSORGATE"))
        }
        own = {
            "DOCKER_ENGINE": str(self.engine),
            "PATH": f"{self.programs}:{os.environ['PATH']}",
            # TensorFlow starts in half of the time.
            "TF_USE_LEGACY_KERAS": "1",
            "TMPDIR": str(self.temporary),
        }
        process = subprocess.Popen(
            [program, *arguments],
            cwd=self.root,
            env=inherited | own | environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            output, _ = process.communicate(timeout=TIMEOUT)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        return process.returncode, output

    @property
    def left(self) -> set[str]:
        """What containers, volumes and temporary files there still are; pytest's own it removes in time."""
        found = [*self.engine.glob("*/*"), *self.temporary.iterdir()]
        return {path.name for path in found if not path.name.startswith("pytest-of-")}

    def end(self) -> None:
        """Ends what a failing test has left running."""
        for known in self.engine.glob("containers/*/known.json"):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(json.loads(known.read_text())["process"], signal.SIGKILL)
        shutil.rmtree(self.engine)


@pytest.fixture
def checkout(tmp_path: Path) -> Iterator[Checkout]:
    """A copy of the repository."""
    made = Checkout(tmp_path)
    try:
        yield made
    finally:
        made.end()


@pytest.fixture
def quick(checkout: Checkout) -> Checkout:
    """The same without TensorFlow: a fake model server in the embedded one's place, and no model that it would need."""
    server = 'import runpy\n\nrunpy.run_module("tests.fakes.model_server_process", run_name="__main__")\n'
    checkout.write("serving/embedded/__main__.py", server)
    checkout.write("tests/contract/models.py", "")
    checkout.write("var/models/digits/1/saved_model.pb", "")
    return checkout


def test_contract(checkout: Checkout) -> None:
    """The suite asks the container, over gRPC, over REST and through a gateway; then nothing is left of it."""
    rest = "tests/contract/test_rest.py::test_documented_examples"
    predict = "tests/contract/test_predict.py::test_scalars"
    status, said = checkout.run(".ci/contract", rest, f"{predict}[server]", f"{predict}[gateway]")
    assert status == 0, said
    assert "3 passed" in said
    assert "serving REST on 127." in said
    assert checkout.left == set()


def test_contract_that_is_not_kept(quick: Checkout) -> None:
    """A test that fails is the script's failure, and the container goes all the same."""
    quick.write(
        "tests/test_it.py", "import os\n\n\ndef test_it():\n    assert os.environ['TENSORGATE_TFS_ADDRESS'] == ''\n"
    )
    status, said = quick.run(".ci/contract", "tests/test_it.py")
    assert status == 1, said
    assert "1 failed" in said
    assert quick.left == set()


def test_contract_without_an_answer(quick: Checkout) -> None:
    """A container that does not serve in time is the script's failure; its log is shown before it goes."""
    quick.write("serving/embedded/__main__.py", "raise SystemExit('it has no disk')")
    status, said = quick.run(".ci/contract", READY_SECONDS="1")
    assert status == 124, said
    assert "it has no disk" in said
    assert quick.left == set()


def test_load(checkout: Checkout) -> None:
    """The gateway and the model server of compose.yaml bear a load; the report stays, and nothing else."""
    version = checkout.root / "var/models/digits/1"
    models.write_digits(version, digits.contract().model_dump_json())
    samples = version / "assets.extra/samples"
    samples.mkdir(parents=True)
    (samples / "3-0001.png").write_bytes(digits.encode(digits.band(3)))
    # A load that is over soon, and is too short to say how fast anything is.
    checkout.replace("loadtest/shapes/smoke.py", "USERS, SECONDS = 4, 15", "USERS, SECONDS = 2, 2")
    checkout.replace("loadtest/__main__.py", "ECHO_USERS, ECHO_SECONDS = 4, 6.0", "ECHO_USERS, ECHO_SECONDS = 2, 1.0")
    checkout.write("loadtest/thresholds.yaml", "- {figure: errors, at_most: 0}\n")
    status, said = checkout.run(".ci/loadtest")
    assert status == 0, said
    assert "serving-1  | " in said
    assert "gateway-1  | " in said
    assert "ModelInfer, tensor" in (checkout.root / "var/loadtest/report/report.html").read_text()
    assert checkout.left == set()


@pytest.mark.parametrize(
    ("mistake", "reason"),
    [
        (("loadtest/thresholds.yaml", "{figure: errors, at_most: 0}", "{figure: mistakes}"), "loadtest: "),
        (
            ("compose.yaml", "TENSORGATE_MODELS: digits", "TENSORGATE_THREADS: some"),
            "gateway-1 is unhealthy or has exited",
        ),
    ],
    ids=["no threshold", "no gateway"],
)
def test_load_that_fails(quick: Checkout, mistake: tuple[str, str, str], reason: str) -> None:
    """Whatever fails of it is the script's failure, and takes all that was started along."""
    quick.replace(*mistake)
    status, said = quick.run(".ci/loadtest")
    assert status != 0, said
    assert reason in said
    assert quick.left == set()


def test_images(checkout: Checkout) -> None:
    """Each image that there is is built, or those that are named; of another it is said that there is none."""
    status, said = checkout.run(".ci/images")
    assert status == 0, said
    names = {line.split("/")[-1] for line in said.splitlines()}
    assert names == {"gateway:ci", "embedded:ci", "serving:ci", "baked:ci", "mlflow:ci"}
    status, said = checkout.run(".ci/images", "baked", "trainer")
    assert status == 1
    assert "there is no image trainer" in said


def test_locks(checkout: Checkout) -> None:
    """Every group is locked; a lock that becomes another, or cannot be made, fails."""
    # The file comes last.
    checkout.program("uv", 'for file; do :; done; echo "$*" >>"$ASKED"; printf "$NEW" >>"$file"; [ "$file" != "$BAD" ]')
    asked = checkout.temporary / "asked"
    for command in (["init", "--quiet"], ["add", "requirements"]):
        subprocess.run(["git", *command], cwd=checkout.root, check=True, timeout=TIMEOUT)
    status, said = checkout.run("make", "lock-check", ASKED=str(asked))
    assert status == 0, said
    locked = {f"requirements/{group}.txt" for group in re.findall(r"--group (\S+)", asked.read_text())}
    assert locked == {f"requirements/{path.name}" for path in (ROOT / "requirements").iterdir()}
    assert checkout.run("make", "lock-check", ASKED=str(asked), BAD="requirements/trainer.txt")[0] != 0
    status, said = checkout.run("make", "lock-check", ASKED=str(asked), NEW="uv==99")
    assert status != 0, said
    assert "+uv==99" in said
