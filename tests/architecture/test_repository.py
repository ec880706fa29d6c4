"""What must stay true of the repository as a whole."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LOCKS = sorted((ROOT / "requirements").glob("*.txt"))
# In environments of their own, which `make terraform-check` and `make evidently` set up.
APART = {"infrastructure", "evidently"}


def test_import_arrows() -> None:
    """Imports go one way, as pyproject.toml says."""
    lint = Path(sys.executable).with_name("lint-imports")
    ended = subprocess.run([lint], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.stem)
def test_locks(lock: Path) -> None:
    """Every pinned package has hashes; no lock names an address; what ships is what is tested."""
    text = lock.read_text()
    assert "://" not in text
    entries = re.findall(
        r"^(\S+==\S+(?: ; [^\\\n]+)?) \\\n(    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+", text, re.MULTILINE
    )
    pins = re.findall(r"^[A-Za-z0-9].*", text, re.MULTILINE)
    assert len(entries) == len(pins) > 10
    tested = (ROOT / "requirements/dev.txt").read_text()
    assert lock.stem in APART or all(name.split(" ;")[0] in tested for name, _ in entries)


def test_evidently_lock_has_the_gateway() -> None:
    """The gateway beside Evidently is the one that is tested."""
    gateway, evidently = (
        set(re.findall(r"^(\S+==\S+)", (ROOT / f"requirements/{name}.txt").read_text(), re.MULTILINE))
        for name in ("gateway", "evidently")
    )
    assert gateway <= evidently


def test_gateway_lock_has_no_tensorflow() -> None:
    """The gateway's dependencies are light."""
    text = (ROOT / "requirements/gateway.txt").read_text()
    assert not re.search(r"^(tensorflow|keras|mlflow|scipy|pandas)", text, re.MULTILINE)


def test_make_help_lists_every_target() -> None:
    """A target without a word of help would not be found."""
    makefile = (ROOT / "Makefile").read_text()
    phony = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    assert phony
    documented = set(re.findall(r"^([a-z-]+):.*##", makefile, re.MULTILINE))
    assert set(phony.group(1).split()) == documented
