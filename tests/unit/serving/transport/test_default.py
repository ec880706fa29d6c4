"""serving.transport.default"""

import builtins
import tempfile
from collections.abc import Iterator

import pytest

from serving.transport.default import default_transport


@pytest.fixture(autouse=True)
def _anew() -> Iterator[None]:
    """What was found out is forgotten."""
    default_transport.cache_clear()
    yield
    default_transport.cache_clear()


def test_where_envoy_can_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """With pyvoy and Python's library it is Envoy; without the library it is grpcio's."""
    pytest.importorskip("pyvoy", reason="pyvoy has no wheel for this platform")
    monkeypatch.setattr("find_libpython.find_libpython", lambda: "/lib/libpython3.so")
    assert default_transport() == "envoy"
    default_transport.cache_clear()
    monkeypatch.setattr("find_libpython.find_libpython", lambda: None)
    assert default_transport() == "grpc.aio"


def test_without_temporary_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Envoy needs a directory for its configuration."""

    def nowhere() -> str:
        raise FileNotFoundError

    monkeypatch.setattr(tempfile, "gettempdir", nowhere)
    assert default_transport() == "grpc.aio"


def test_without_pyvoy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no wheel of pyvoy what comes with it is not there either."""
    real = builtins.__import__

    def without(name: str, *rest: object) -> object:
        if name == "find_libpython":
            raise ImportError(name)
        return real(name, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", without)
    assert default_transport() == "grpc.aio"
