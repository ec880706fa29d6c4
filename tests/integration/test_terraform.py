"""What `make terraform-check` has to find: it is run on broken copies."""

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from deploy.commands import DeployError
from deploy.release import Judge, Plan, RolledBack, release
from deploy.root import Root
from deploy.verdict import Calls

ROOT = Path(__file__).parents[2]
TFCHECK = ROOT.parent / "shared/tfcheck/run.sh"
TIMEOUT = 280.0

pytestmark = [
    pytest.mark.skipif(shutil.which("terraform") is None, reason="terraform is not installed"),
    pytest.mark.skipif(not TFCHECK.exists(), reason="needs ../shared/tfcheck, or the registry's providers"),
]

GCP, AWS = "modules/gcp_serving", "modules/aws_serving"


@pytest.mark.parametrize(
    "mistakes",
    [
        [(f"{GCP}/service.tf", "container_port = ", "container_prot = ", '"container_prot" is not expected here')],
        [(f"{GCP}/iam.tf", '  role   = "roles/storage.objectViewer"\n', "", '"role" is required')],
        [
            (f"{GCP}/store.tf", '"enforced"', '"inherited"', "The model store is never public"),
            (f"{AWS}/iam.tf", '"s3:ListBucket"', '"s3:*"', "No action is a wildcard"),
        ],
    ],
    ids=["misspelt", "missing", "unsafe"],
)
def test_wrong_copy(mistakes: list[tuple[str, str, str, str]], tmp_path: Path) -> None:
    """A mistake that somebody could make ends the check, which says what it is; of two modules, both are checked."""
    # Left out, for time: the modules' tests of their variables, which find none of these.
    shutil.copytree(ROOT / "terraform", tmp_path / "terraform", ignore=shutil.ignore_patterns("bad_input.tftest.hcl"))
    for file, right, wrong, _ in mistakes:
        changed = tmp_path / "terraform" / file
        text = changed.read_text()
        assert right in text
        changed.write_text(text.replace(right, wrong))
    ended = subprocess.run(
        [tmp_path / "terraform/check.sh", *{str(Path(file).parent) for file, *_ in mistakes}],
        env=os.environ | {"TFCHECK": str(TFCHECK)},
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert ended.returncode != 0
    said = " ".join((ended.stdout + ended.stderr).split())
    for *_, found in mistakes:
        assert found in said


def root_of_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """gcp/staging in a copy of terraform/, with its state there and the fake cloud for a provider."""
    shutil.copytree(ROOT / "terraform", tmp_path / "terraform")
    root = tmp_path / "terraform/live/gcp/staging"
    (root / "backend_override.tf").write_text('terraform {\n  backend "local" {}\n}\n')
    (root / "example.tfvars").rename(root / "terraform.tfvars")
    exports = subprocess.run([TFCHECK, "env"], capture_output=True, text=True, timeout=TIMEOUT, check=True).stdout
    for line in exports.splitlines():
        name, value = line.removeprefix("export ").split("=", 1)
        monkeypatch.setenv(name, shlex.split(value)[0])
    return root


def test_plan_apply_and_drift(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the workflow runs: a plan to read, an apply, and a status that tells whether anything drifted."""
    root = root_of_copy(tmp_path, monkeypatch)

    def run(verb: str) -> subprocess.CompletedProcess[str]:
        command = [tmp_path / "terraform/run.sh", verb, "gcp/staging"]
        return subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False)

    assert run("plan").returncode == 0
    assert "google_cloud_run_v2_service" in (root / "plan.txt").read_text()
    applied = run("apply")
    assert applied.returncode == 0
    assert "digits.staging.example.com:443" in applied.stdout
    assert run("drift").returncode == 0
    values = root / "terraform.tfvars"
    values.write_text(values.read_text().replace("gateway@sha256:0", "gateway@sha256:1"))
    assert run("drift").returncode == 2
    assert run("destroy").returncode == 64


def test_release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A release goes through its steps, a bad one goes back, and images that no file names stay those that run."""
    directory = root_of_copy(tmp_path, monkeypatch)
    values = directory / "terraform.tfvars"
    # Images are the deployment's.
    values.write_text(re.sub(r"^images = \{.*?^\}\n", "", values.read_text(), flags=re.MULTILINE | re.DOTALL))
    root = Root("gcp/staging", tmp_path / "terraform")
    first, second, third = (
        {name: f"europe-west1-docker.pkg.dev/p/digits/{name}@sha256:{digit * 64}" for name in ("gateway", "server")}
        for digit in "123"
    )
    called = []

    def smoke(outputs: dict[str, Any]) -> None:
        called.append((outputs["endpoint"], outputs["images"]["gateway"][-1]))
        if outputs["images"] == third:
            raise DeployError("too slow")

    judge = Judge(smoke, lambda *_: Calls([1.0], 0), lambda _: None)
    release(root, first, Plan((0, 100)), judge)
    release(root, second, Plan((50, 100)), judge)
    with pytest.raises(RolledBack, match="too slow"):
        release(root, third, Plan((50, 100)), judge)
    assert [digit for _, digit in called] == ["1", "2", "2", "3"]
    assert {endpoint for endpoint, _ in called} == {"digits.staging.example.com:443"}
    assert root.outputs()["images"] == second
    drift = subprocess.run([tmp_path / "terraform/run.sh", "drift", "gcp/staging"], check=False, timeout=TIMEOUT)
    assert drift.returncode == 0
