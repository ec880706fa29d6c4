"""The costs that the roots' READMEs tell."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

TERRAFORM = Path(__file__).resolve().parents[3] / "terraform"
USAGE = yaml.safe_load((TERRAFORM / "cost/usage.yaml").read_text())


def check(terraform: Path) -> subprocess.CompletedProcess[str]:
    """The estimate's own check."""
    command = [sys.executable, terraform / "cost/estimate.py", "--check"]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_readmes_follow_the_prices(tmp_path: Path) -> None:
    """Each README has the table that the data make; a changed price is noticed in those that use it."""
    assert check(TERRAFORM).returncode == 0
    copy = tmp_path / "terraform"
    shutil.copytree(TERRAFORM, copy)
    prices = copy / "cost/prices.yaml"
    prices.write_text(prices.read_text().replace("price: 0.04048", "price: 0.05"))
    ended = check(copy)
    assert ended.returncode == 1
    assert re.findall(r"(\S+)/README", ended.stderr) == [
        "terraform/live/aws/staging",
        "terraform/live/aws/production",
    ]


def test_usage_is_of_the_roots() -> None:
    """Every root has an estimate, for as many instances and NAT gateways as it runs at least."""
    roots = [*TERRAFORM.glob("live/*/*/main.tf"), *TERRAFORM.glob("bootstrap/*/main.tf")]
    assert set(USAGE) == {str(path.parent.relative_to(TERRAFORM)) for path in roots}
    for root, usage in USAGE.items():
        text = (TERRAFORM / root / "main.tf").read_text()
        for name, variable in (("instances", "min_instances"), ("nat_gateways", "nat_gateways")):
            found = re.search(rf"{variable}\s*= (\d+)", text)
            assert (int(found[1]) if found else None) == usage.get(name)
