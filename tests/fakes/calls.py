"""Calls as interceptors see them."""

from typing import Any

from gateway.call import Call


def call(
    method: str = "/s/M", *, deadline: float | None = None, metadata: dict[str, str] | None = None, **known: Any
) -> Call:
    """A call of which that much is known."""
    made = Call(method, metadata or {}, str, deadline)
    for name, value in known.items():
        assert hasattr(made, name), name
        setattr(made, name, value)
    return made
