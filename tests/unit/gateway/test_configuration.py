"""gateway.configuration"""

from pathlib import Path

import pytest

from gateway import configuration
from gateway.configuration import ConfigurationError


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The settings file, still to be written."""
    path = tmp_path / "gateway.yaml"
    monkeypatch.setenv("TENSORGATE_CONFIG", str(path))
    return path


@pytest.mark.parametrize(
    ("text", "arguments", "expected"),
    [
        ("models: digits\n\nbackend: {adress: 'x:1'}\n", [], ":3: setting `backend.adress`"),
        ("models: digits\nlimits:\n  client:\n    burst: -1\n", [], ":4: setting `limits.client.burst`"),
        (
            "models: digits\nlimits:\n  clients:\n    a: {}\n    b:\n      burst: x\n",
            [],
            ":6: setting `limits.clients.b",
        ),
        ("models: a\nauth:\n  issuers:\n    - issuer: https://i\n", [], ":4: setting `auth.issuers.0.audiences`"),
        (
            "models: a\nauth:\n  issuers:\n    - {issuer: 'http://i', audiences: [a]}\n",
            [],
            ":4: setting `auth.issuers.0`",
        ),
        ("models: [digits\nlisten: x\n", [], ":2: expected"),
        ("models: a\nlog: {level: info}\nmodels: b\n", [], ":3: `models` stands here twice"),
        ("- models\n", [], ":1: expected settings by name"),
        ("models: a\nlisten: nowhere\n", [], ":2: setting `listen`"),
        ("models: a\nlisten: 127.0.0.1:1\n", ["--listen=nowhere"], "setting `listen`"),
        ("models: a\nlisten: 0.0.0.0:1\n", [], "`listen` is 0.0.0.0:1"),
        ("", [], "setting `models`: Field required"),
        ("\tmodels: a\n", [], ":1: "),
    ],
)
def test_mistakes(file: Path, text: str, arguments: list[str], expected: str) -> None:
    """A mistake in the file is told with its line; one from elsewhere without."""
    file.write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        configuration.load(arguments)
    lines = str(caught.value).splitlines()
    assert any(line.startswith(f"{file}{expected}" if expected[0] == ":" else expected) for line in lines), lines


def test_unreadable(file: Path) -> None:
    """A file that is not there, or no text, is named."""
    with pytest.raises(ConfigurationError, match=r"gateway\.yaml: No such file"):
        configuration.load([])
    file.write_bytes(b"models: \xff")
    with pytest.raises(ConfigurationError, match="not UTF-8"):
        configuration.load([])


def test_differences(file: Path) -> None:
    """Settings that differ are named one by one."""
    file.write_text("models: a\n")
    before = configuration.load([])
    file.write_text("models: [a, b]\nlimits: {client: {burst: 3}}\n")
    after = configuration.load([])
    assert list(configuration.differences(before, after)) == ["models", "limits.client.burst"]
    assert not list(configuration.differences(after, after))
