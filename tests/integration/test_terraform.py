"""What `make terraform-check` has to find: each test breaks one thing in a copy."""

import os
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
    ("file", "right", "wrong", "found"),
    [
        (f"{GCP}/service.tf", "container_port = ", "container_prot = ", '"container_prot" is not expected here'),
        (f"{GCP}/iam.tf", '  role   = "roles/storage.objectViewer"\n', "", '"role" is required'),
        (f"{GCP}/store.tf", '"enforced"', '"inherited"', "The model store is never public"),
        (f"{AWS}/iam.tf", '"s3:ListBucket"', '"s3:*"', "No action is a wildcard"),
    ],
    ids=["misspelt", "missing", "public-bucket", "wildcard"],
)
def test_wrong_copy(file: str, right: str, wrong: str, found: str, tmp_path: Path) -> None:
    """A mistake that somebody could make ends the check, and the check says what it is."""
    shutil.copytree(ROOT / "terraform", tmp_path / "terraform")
    changed = tmp_path / "terraform" / file
    text = changed.read_text()
    assert right in text
    changed.write_text(text.replace(right, wrong))
    ended = subprocess.run(
        [tmp_path / "terraform/check.sh", str(Path(file).parent)],
        env=os.environ | {"TFCHECK": str(TFCHECK)},
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert ended.returncode != 0
    assert found in " ".join((ended.stdout + ended.stderr).split())
