"""Model versions between stores."""

from pathlib import Path

import fsspec
import pytest

from deploy import models
from deploy.commands import DeployError


def version(store: Path, number: int, content: str = "graph") -> Path:
    """A version as the trainer publishes it."""
    directory = store / "digits" / str(number)
    (directory / "variables").mkdir(parents=True)
    (directory / "assets.extra/samples").mkdir(parents=True)
    (directory / "saved_model.pb").write_text(content)
    (directory / "variables/variables.index").write_text("index")
    (directory / "assets.extra/samples/3-0001.png").write_bytes(b"png")
    return directory


def test_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every file arrives, `saved_model.pb` last; a second copy changes nothing."""
    version(tmp_path, 7)
    order: list[str] = []
    monkeypatch.setattr(models, "_transfer", lambda *a, real=models._transfer: (order.append(a[3]), real(*a)))
    target = f"memory://{tmp_path.name}"
    assert models.copy(str(tmp_path), target, "digits", 7)
    assert order[-1].endswith("/7/saved_model.pb")
    assert len(fsspec.filesystem("memory").find(target)) == len(order) == 3
    assert not models.copy(str(tmp_path), target, "digits", 7)
    assert models.newest(target, "digits") == 7


def test_what_is_not_copied(tmp_path: Path) -> None:
    """A version that is not there, or not whole, and a number that is taken: each is said."""
    here, there = tmp_path / "here", tmp_path / "there"
    version(here, 7)
    version(there, 7, "another graph")
    (version(here, 8) / "saved_model.pb").unlink()
    with pytest.raises(DeployError, match="another version 7 of digits; nothing is overwritten"):
        models.copy(str(here), str(there), "digits", 7)
    with pytest.raises(DeployError, match="has no version 8 of digits"):
        models.copy(str(here), str(there), "digits", 8)
    assert models.newest(str(here), "digits") == 7
    with pytest.raises(DeployError, match="has no version of letters"):
        models.newest(str(here), "letters")
    with pytest.raises(DeployError, match="cannot be opened"):
        models.newest("nonsense://x", "digits")


def test_samples(tmp_path: Path) -> None:
    """The newest version's images are brought; none is an error."""
    directory = version(tmp_path, 7)
    models.fetch_samples(str(tmp_path), "digits", tmp_path / "samples")
    assert [path.name for path in (tmp_path / "samples").iterdir()] == ["3-0001.png"]
    (directory / "assets.extra/samples/3-0001.png").unlink()
    with pytest.raises(DeployError, match="no samples to call with"):
        models.fetch_samples(str(tmp_path), "digits", tmp_path / "samples")
