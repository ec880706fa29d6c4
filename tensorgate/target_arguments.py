"""Arguments of commands that say how a gateway is reached."""

import argparse
import os
from collections.abc import Iterable

from tensorgate.channel import DEFAULT_ADDRESS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of a command that say how a gateway is reached; `address`, `key`, `tls`, `ca_file`, `metadata`."""
    environment = os.environ.get
    parser.add_argument(
        "--address",
        default=environment("TENSORGATE_ADDRESS", DEFAULT_ADDRESS),
        help="host:port of the gateway (TENSORGATE_ADDRESS; default: %(default)s)",
    )
    parser.add_argument(
        "--key", default=environment("TENSORGATE_KEY"), help="API key (better in TENSORGATE_KEY: arguments are seen)"
    )
    parser.add_argument("--tls", action="store_true", help="encrypt, trusting the public authorities")
    parser.add_argument("--ca-file", metavar="FILE", help="encrypt, trusting the certificates in FILE")
    parser.add_argument(
        "--metadata",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="more metadata of each call, such as a platform's own token; may be repeated (TENSORGATE_METADATA: a line "
        "each, where others do not see it)",
    )


def metadata_of(options: argparse.Namespace) -> dict[str, str]:
    """The metadata of the environment and of the command line, which wins; ValueError for a line without `=`."""
    return named([*os.environ.get("TENSORGATE_METADATA", "").splitlines(), *options.metadata])


def named(lines: Iterable[str]) -> dict[str, str]:
    """Values by name, of lines NAME=VALUE; ValueError for one without `=`."""
    found = {}
    for line in filter(None, lines):
        name, separator, value = line.partition("=")
        if not separator:
            # It may be a token, which is nobody's to read.
            raise ValueError("metadata without `=`: expected NAME=VALUE")
        found[name.strip().lower()] = value.strip()
    return found
