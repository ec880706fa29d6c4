"""The interface that the modules of both clouds share, and the roots that are copies of one another."""

import re
from pathlib import Path

import pytest

TERRAFORM = Path(__file__).resolve().parents[3] / "terraform"
SHARED = {
    "alerts",
    "auth",
    "budget",
    "capture",
    "deletion_protection",
    "domain",
    "feedback",
    "foundation_only",
    "images",
    "labels",
    "log_retention_days",
    "model_rollouts",
    "model_store",
    "models",
    "name",
    "network",
    "region",
    "resources",
    "rollout",
    "scaling",
    "settings",
}


def names(kind: str, module: str) -> set[str]:
    """What a module declares of a kind."""
    text = (TERRAFORM / "modules" / module / f"{kind}s.tf").read_text()
    return set(re.findall(rf'^{kind} "(\w+)"', text, re.MULTILINE))


def test_modules_take_and_give_the_same() -> None:
    """Whoever knows one cloud's module knows the other's; only the project has no counterpart."""
    assert names("variable", "aws_serving") == SHARED
    assert names("variable", "gcp_serving") == SHARED | {"project_id"}
    assert names("output", "aws_serving") == names("output", "gcp_serving")
    gcp, aws = (TERRAFORM / "modules" / f"{cloud}_serving/models.config.tftpl" for cloud in ("gcp", "aws"))
    assert gcp.read_text() == aws.read_text()


@pytest.mark.parametrize("cloud", ["gcp", "aws"])
def test_environments_differ_in_their_main_file_alone(cloud: str) -> None:
    """What staging takes and gives, production does."""
    staging, production = (TERRAFORM / "live" / cloud / name for name in ("staging", "production"))
    for file in ("variables.tf", "outputs.tf"):
        assert (staging / file).read_text() == (production / file).read_text()
