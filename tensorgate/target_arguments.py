"""Arguments of commands that say how a gateway is reached."""

import argparse
import os

from tensorgate.channel import DEFAULT_ADDRESS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of a command that say how a gateway is reached; `address`, `key`, `tls`, `ca_file`, `header`."""
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
        "--header",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="metadata of each call, such as a platform's own token; may be repeated (TENSORGATE_HEADERS: a line each)",
    )


def headers_of(options: argparse.Namespace) -> dict[str, str]:
    """The headers of the environment and the command line, which wins; ValueError for one without `=`."""
    headers = {}
    for text in [*filter(None, os.environ.get("TENSORGATE_HEADERS", "").splitlines()), *options.header]:
        name, separator, value = text.partition("=")
        if not separator:
            # It may be a token, which is nobody's to read.
            raise ValueError("a header has no `=`: expected NAME=VALUE")
        headers[name.strip().lower()] = value.strip()
    return headers
