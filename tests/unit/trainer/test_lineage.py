import re
import subprocess

import numpy as np

from trainer import lineage
from trainer.recipe import parse


def git(directory, *arguments):
    """Runs git as somebody."""
    identity = ["-c", "user.name=t", "-c", "user.email=t@localhost"]
    subprocess.run(["git", *identity, *arguments], cwd=directory, check=True, capture_output=True)


def test_a_revision_says_whether_files_differ(tmp_path):
    """A commit is named in full, and marked if a tracked file was changed since."""
    git(tmp_path, "init")
    (tmp_path / "file").write_text("1")
    git(tmp_path, "add", "file")
    git(tmp_path, "commit", "-m", "first")
    git(tmp_path, "tag", "-a", "v1", "-m", "not a name for this")
    clean = lineage.git_revision(tmp_path)
    assert re.fullmatch("[0-9a-f]{40}", clean)
    (tmp_path / "file").write_text("2")
    assert lineage.git_revision(tmp_path) == f"{clean}-dirty"


def test_outside_a_checkout_the_revision_is_unknown(tmp_path, monkeypatch):
    """An image without the repository, or without git, still trains."""
    assert lineage.git_revision(tmp_path) == "unknown"
    monkeypatch.setenv("PATH", "")
    assert lineage.git_revision(tmp_path) == "unknown"


def test_lineage_names_code_data_settings_and_libraries(bars):
    """Whatever can change a model is named, as text."""
    recipe, *_ = parse(["--seed", "5"])
    traced = lineage.trace(recipe, bars)
    assert (traced["seed"], traced["data_source"], traced["data_hash"]) == ("5", "bars", bars.digest)
    assert traced["recipe_hash"] == recipe.digest
    assert traced["numpy"] == np.__version__
    assert {"created", "git_revision", "python", "tensorflow", "keras"} <= set(traced)
