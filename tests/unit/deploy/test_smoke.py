"""What a deployment is called with."""

import sys
from pathlib import Path

import pytest

from deploy import smoke
from loadtest import __main__ as loadtest
from loadtest import thresholds


def test_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The load test takes what it is given: samples of the model's own store, TLS, limits that need no echo."""
    version = tmp_path / "store/digits/1"
    (version / "assets.extra/samples").mkdir(parents=True)
    (version / "saved_model.pb").touch()
    (version / "assets.extra/samples/3-0001.png").write_bytes(b"png")
    commands = []
    monkeypatch.setattr(smoke, "run", lambda command, **_: commands.append(command))
    smoke.smoke("gateway:443", str(tmp_path / "store"), "digits", out=tmp_path / "out")
    ((python, *arguments),) = commands
    assert (python, *arguments[:2]) == (sys.executable, "-m", "loadtest")
    monkeypatch.setattr(sys, "argv", ["loadtest", *arguments[2:]])
    options = loadtest._options()
    assert (options.load, options.address, options.tls, options.model) == ("smoke", "gateway:443", True, "digits")
    assert [path.read_bytes() for path in Path(options.images).iterdir()] == [b"png"]
    assert {limit.unit for limit in thresholds.load(options.thresholds)} == {"absolute"}
