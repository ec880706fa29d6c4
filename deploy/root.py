"""A live root of terraform/: its outputs, and applying it with other images and another share of the calls."""

import json
import re
from pathlib import Path
from typing import Any

from deploy.commands import DeployError, run
from deploy.images import ROOT, Images

# Read after terraform.tfvars and what terraform/run.sh writes.
_VALUES = "release.auto.tfvars.json"


class Root:
    """`name` is <cloud>/<environment>; terraform/run.sh must have been able to reach its state."""

    def __init__(self, name: str, terraform: Path = ROOT / "terraform") -> None:
        if not re.fullmatch(r"(gcp|aws)/[a-z0-9-]+", name) or not (terraform / "live" / name).is_dir():
            raise DeployError(f"{name} is no root in {terraform}/live; expected, say, gcp/staging")
        self.name = name
        self.shifts_calls = name.startswith("gcp/")
        """Whether calls are shifted by applying another `rollout`; on AWS one apply is a whole roll-out, by ECS."""
        self._terraform = terraform
        self._directory = terraform / "live" / name

    def outputs(self) -> dict[str, Any]:
        """What the state has; null values and absent ones are the same."""
        run([self._terraform / "run.sh", "init", self.name])
        written = run(["terraform", "output", "-json", "-no-color"], cwd=self._directory)
        return {name: each["value"] for name, each in json.loads(written).items()}

    def apply(self, images: Images, rollout: tuple[str, int] | None = None) -> None:
        """Applies the root with `images`; `rollout` is the stable revision and the new one's share in per cent."""
        values: dict[str, Any] = {"images": dict(images)}
        if rollout:
            values["rollout"] = dict(zip(("stable", "percent"), rollout, strict=True))
        path = self._directory / _VALUES
        path.write_text(json.dumps(values), "utf-8")
        try:
            run([self._terraform / "run.sh", "apply", self.name], shown=True)
        finally:
            path.unlink()
