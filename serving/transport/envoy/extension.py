"""Envoy's extensions, as its configuration names them."""

from typing import Any


def extension(name: str, kind: str, **fields: Any) -> dict[str, Any]:
    """An extension by its name, and its configuration by the name of its message."""
    typed = {"@type": f"type.googleapis.com/envoy.extensions.{kind}", **fields}
    return {"name": f"envoy.{name}", "typed_config": typed}
