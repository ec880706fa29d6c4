"""gateway.auth"""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.auth.keys import Key, KeyRing, KeysFile, KeysFileError, create
from gateway.auth.principal import EVERYONE, Principal
from gateway.errors import PermissionDenied, Unauthenticated


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A keys file with one key."""
    path = tmp_path_factory.mktemp("keys") / "keys.json"
    KeysFile(keys=[create("someone", frozenset({"predict:digits"}))[1]]).save(path)
    return path


def test_made_key(tmp_path: Path) -> None:
    """A key that was made is its owner's, with its scopes; two keys are never alike."""
    key, record = create("ada", frozenset({"predict:digits"}))
    path = tmp_path / "deep" / "keys.json"
    KeysFile(keys=[record]).save(path)
    assert KeyRing(path).authenticate(key) == Principal("ada", frozenset({"predict:digits"}))
    assert key != create("ada", frozenset())[0]
    assert [entry.name for entry in path.parent.iterdir()] == ["keys.json"]


@given(st.text())
def test_guess(file: Path, guess: str) -> None:
    """Whatever is presented that is no key is Unauthenticated and nothing else."""
    with pytest.raises(Unauthenticated):
        KeyRing(file).authenticate(guess)


def test_right_id_wrong_secret(file: Path) -> None:
    """An id alone is worth nothing."""
    known = KeysFile.load(file).keys[0].id
    with pytest.raises(Unauthenticated):
        KeyRing(file).authenticate(f"tg_{known}_x")


@pytest.mark.parametrize("content", ["", "[]", '{"keys": [{}]}', '{"key": []}', "\xff"])
def test_broken_file(tmp_path: Path, content: str) -> None:
    """A file that cannot be read says which it is and why, and shows nothing of its content."""
    path = tmp_path / "keys.json"
    path.write_text(content, encoding="latin-1")
    with pytest.raises(KeysFileError, match=r"keys\.json"):
        KeyRing(path)


def test_reload(tmp_path: Path) -> None:
    """The file is read again only when it has changed."""
    path = tmp_path / "keys.json"
    KeysFile().save(path)
    ring = KeyRing(path)
    assert not ring.reload()
    key, record = create("ada", frozenset())
    KeysFile(keys=[record]).save(path)
    assert ring.reload()
    assert [ring.authenticate(key).client for _ in range(2)] == ["ada", "ada"]
    KeysFile().save(path)
    assert ring.reload()
    with pytest.raises(Unauthenticated):
        ring.authenticate(key)


def test_expiry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that was good a moment ago is none once its time is over."""
    path = tmp_path / "keys.json"
    key, record = create("ada", frozenset(), datetime.now(UTC) + timedelta(hours=1))
    KeysFile(keys=[record]).save(path)
    ring = KeyRing(path)
    assert ring.authenticate(key).client == "ada"
    monkeypatch.setattr(Key, "expired", True)
    with pytest.raises(Unauthenticated, match="expired"):
        ring.authenticate(key)


@pytest.mark.parametrize(
    ("scopes", "model", "allowed"),
    [
        ({"predict:*"}, "digits", True),
        ({"predict:digits"}, "digits", True),
        ({"predict:digits"}, "letters", False),
        ({"predict:digits"}, "*", False),
        (set(), "digits", False),
    ],
)
def test_scopes(scopes: set[str], model: str, allowed: bool) -> None:
    """A scope covers its action on its model, or on all with `*`."""
    principal = Principal("ada", frozenset(scopes))
    assert principal.may("predict", model) is allowed
    if not allowed:
        with pytest.raises(PermissionDenied):
            principal.require("predict", model)
    assert not EVERYONE.may("admin", model)


def test_admin() -> None:
    """Administration is a scope of its own, which no right to predict covers."""
    create("ops", frozenset({"admin"}))
    Principal("ops", frozenset({"admin"})).require_admin()
    EVERYONE.require_admin()
    with pytest.raises(PermissionDenied, match="needs the scope admin"):
        Principal("x", frozenset({"predict:*"})).require_admin()
    with pytest.raises(PermissionDenied):
        Principal("ops", frozenset({"admin"})).require("predict", "digits")
