"""Which transports there are, and which is taken."""

import tempfile
from functools import lru_cache
from importlib.util import find_spec
from typing import Literal

Transport = Literal["grpc.aio", "envoy"]


def installed_transports() -> tuple[Transport, ...]:
    """Those whose packages are there: `envoy` has wheels for some platforms alone."""
    return ("grpc.aio", "envoy") if find_spec("pyvoy") else ("grpc.aio",)


@lru_cache(1)
def default_transport() -> Transport:
    """`envoy`, the faster one, where it can run: with its package, Python's shared library, and temporary files."""
    try:
        # Comes with pyvoy, which itself takes long to import.
        from find_libpython import find_libpython  # noqa: PLC0415  # not on every platform

        tempfile.gettempdir()
    except (ImportError, FileNotFoundError):
        return "grpc.aio"
    return "envoy" if "envoy" in installed_transports() and find_libpython() else "grpc.aio"
