"""A training of the pipelines, with a trainer that publishes at once."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from deploy import training
from deploy.commands import DeployError

# Takes the trainer's flags and writes what it writes.
TRAINER = """
import os, pathlib, sys
option = lambda name: sys.argv[sys.argv.index(name) + 1]
pathlib.Path(option("--verdict")).write_text('{"passed": true}\\n')
if os.environ["STATUS"] == "0":
    version = pathlib.Path(option("--model_base_path"), "digits/4")
    version.mkdir(parents=True)
    (version / "saved_model.pb").write_text("graph")
    print(version, "accuracy 0.9712")
sys.exit(int(os.environ["STATUS"]))
"""


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The store that a fake trainer publishes to; what a job of GitHub Actions is given beside it."""
    real = subprocess.run

    def run(command: list[str], **options: Any) -> Any:
        assert command[1:4] == ["-m", "trainer", "train"]
        return real([command[0], "-c", TRAINER, *command[4:]], **options)

    monkeypatch.setattr(training.subprocess, "run", run)
    monkeypatch.setenv("GITHUB_OUTPUT", str(tmp_path / "output"))
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary"))
    monkeypatch.setenv("STATUS", "0")
    return tmp_path / "store"


def test_published(trained: Path, tmp_path: Path) -> None:
    """The next job is told of the version and has a copy; people read the verdict."""
    published = training.train("digits", str(trained), tmp_path / "out")
    assert (published.model, published.version) == ("digits", 4)
    assert (tmp_path / "output").read_text() == "model=digits\nversion=4\n"
    assert '{"passed": true}' in (tmp_path / "summary").read_text()
    assert (tmp_path / "out/models/digits/4/saved_model.pb").read_text() == "graph"
    assert json.loads((tmp_path / "out/verdict.json").read_text())["passed"]


def test_not_published(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A refusal is told from a failure, and neither gives the next job a version."""
    for status, error, said in (("3", training.Refused, "verdict.json says why"), ("1", DeployError, "status 1")):
        monkeypatch.setenv("STATUS", status)
        with pytest.raises(error, match=said):
            training.train("digits", str(trained), tmp_path / "out")
    assert not (tmp_path / "output").exists()


@pytest.mark.parametrize("recipe", ["letters", "../digits", "digits.yaml", ""])
def test_no_such_recipe(recipe: str, tmp_path: Path) -> None:
    """Only what is in trainer/recipes is trained, whoever asks."""
    with pytest.raises(DeployError, match=r"expected one of .*digits"):
        training.train(recipe, "unused", tmp_path)
