"""Where a model comes from."""

import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from trainer.data import Dataset
from trainer.recipe import Recipe


def trace(recipe: Recipe, dataset: Dataset) -> dict[str, str]:
    """Code, data (their classes with how many there are, or their columns), settings, libraries of a run, by name."""
    details = {
        "data_classes": dataset.balance if dataset.labels else "",
        "data_features": ", ".join(dataset.columns),
        "data_target": recipe.data.target or "",
    }
    return {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "git_revision": git_revision(Path(__file__).parent),
        "data_source": dataset.source,
        "data_hash": dataset.digest,
        **{name: text for name, text in details.items() if text},
        "recipe_hash": recipe.digest,
        "seed": str(recipe.seed),
        "python": platform.python_version(),
        **{library: version(library) for library in ("tensorflow", "keras", "numpy")},
    }


def git_revision(directory: Path) -> str:
    """The commit checked out in `directory`, with "-dirty" if tracked files differ; "unknown" outside a checkout."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        result = subprocess.run(  # noqa: S603 - a constant command; git is wherever PATH says
            command, cwd=directory, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return result.stdout.strip()
