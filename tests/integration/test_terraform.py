"""What `make terraform-check` has to find: it is run on broken copies."""

import os
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

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


def test_plan_apply_and_drift(tmp_path: Path) -> None:
    """What the workflow runs: a plan to read, an apply, and a status that tells whether anything drifted."""
    shutil.copytree(ROOT / "terraform", tmp_path / "terraform")
    root = tmp_path / "terraform/live/gcp/staging"
    (root / "backend_override.tf").write_text('terraform {\n  backend "local" {}\n}\n')
    (root / "example.tfvars").rename(root / "terraform.tfvars")
    exports = subprocess.run([TFCHECK, "env"], capture_output=True, text=True, timeout=TIMEOUT, check=True).stdout
    offline = dict(line.removeprefix("export ").split("=", 1) for line in exports.splitlines())
    environment = os.environ | {name: shlex.split(value)[0] for name, value in offline.items()}

    def run(verb: str) -> subprocess.CompletedProcess[str]:
        command = [tmp_path / "terraform/run.sh", verb, "gcp/staging"]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=TIMEOUT, check=False)

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
