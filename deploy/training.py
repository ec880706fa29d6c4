"""A training whose model goes to a root's store, with a copy for whoever deploys it further."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from deploy import models
from deploy.commands import DeployError
from deploy.images import ROOT

RECIPES = ROOT / "trainer/recipes"
# The trainer's status for a model that its gate refuses.
_REFUSED = 3


class Refused(Exception):
    """The gate refused the model, and nothing is published; the text says why."""


@dataclass(frozen=True)
class Published:
    """A version in a store."""

    model: str
    version: int


def train(recipe: str, store: str, out: Path) -> Published:
    """Trains a recipe of trainer/recipes and publishes to `store` what passes its gate.

    `out` gets verdict.json and, in models/, a copy of the version. Refused says that there is none, DeployError that
    something failed.
    """
    path = RECIPES / f"{recipe}.yaml"
    if not re.fullmatch(r"[a-z0-9_-]+", recipe) or not path.is_file():
        known = ", ".join(sorted(each.stem for each in RECIPES.glob("*.yaml")))
        raise DeployError(f"there is no recipe {recipe!r}; expected one of {known}")
    out.mkdir(parents=True, exist_ok=True)
    verdict = out / "verdict.json"
    command = [sys.executable, "-m", "trainer", "train", "--recipe", str(path), "--verdict", str(verdict)]
    command += ["--model_base_path", store]
    ended = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    summary = verdict.read_text("utf-8") if verdict.exists() else "no verdict"
    _tell("GITHUB_STEP_SUMMARY", f"### Training of {recipe}\n\n```json\n{summary}```\n")
    if ended.returncode == _REFUSED:
        raise Refused(f"the gate refused the model: {verdict} says why")
    # The last line: where the version is, and its first figure.
    found = re.search(r"/([^/\s]+)/(\d+) \S+ \S+\s*\Z", ended.stdout)
    if ended.returncode or not found:
        raise DeployError(f"training ended with status {ended.returncode}")
    published = Published(found[1], int(found[2]))
    models.copy(store, str(out / "models"), published.model, published.version)
    _tell("GITHUB_OUTPUT", f"model={published.model}\nversion={published.version}\n")
    print(json.dumps({"model": published.model, "version": published.version, "store": store}), flush=True)
    return published


def _tell(variable: str, text: str, environment: Mapping[str, str] = os.environ) -> None:
    """Adds to the file that a job of GitHub Actions names, if there is one."""
    if path := environment.get(variable):
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(text)
