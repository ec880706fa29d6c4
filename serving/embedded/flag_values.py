"""What a flag's text means; ArgumentTypeError says what was expected."""

import argparse
import re
from pathlib import Path

_MAX_PORT = 65535
_INTEGER = re.compile("-?[0-9]+")


def boolean(text: str) -> bool:
    """`true` or `false`, or 1 or 0."""
    try:
        return {"true": True, "1": True, "false": False, "0": False}[text.lower()]
    except KeyError:
        raise argparse.ArgumentTypeError(f"expected true or false, not {text!r}") from None


def path(text: str) -> Path:
    """A path."""
    if not text:
        raise argparse.ArgumentTypeError("expected a path")
    return Path(text)


def whole_number(text: str) -> int:
    """A number from 0."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"expected a whole number, not {text!r}")
    return int(text)


def port(text: str) -> int:
    """A port; 0 is any."""
    port = whole_number(text)
    if port > _MAX_PORT:
        raise argparse.ArgumentTypeError(f"expected a port up to {_MAX_PORT}, not {port}")
    return port


def rest_port(text: str) -> int | None:
    """A port; `auto` is any, and 0 none."""
    return None if text == "0" else 0 if text == "auto" else port(text)


def channel_arguments(text: str) -> tuple[tuple[str, int | str], ...]:
    """`name=value,…`, a value that looks like a number being one."""
    pairs = [entry.split("=", 1) for entry in text.split(",") if entry]
    if any(len(pair) == 1 or not pair[0] for pair in pairs):
        raise argparse.ArgumentTypeError(f"expected name=value,name=value, not {text!r}")
    return tuple((name, int(value) if _INTEGER.fullmatch(value) else value) for name, value in pairs)


def transport(text: str) -> str:
    """A transport's name, or `auto`."""
    if text not in ("auto", "grpc.aio", "envoy"):
        raise argparse.ArgumentTypeError(f"expected auto, grpc.aio or envoy, not {text!r}")
    return text
