"""`python -m gateway`: serves; `… keys` makes, lists, rotates, revokes API keys; `… check-config` looks at settings."""

import asyncio
import os
import sys

# gRPC's core writes to stderr by itself, in a form of its own, whenever a stranger's handshake fails; what matters
# comes back as errors. Read when gRPC is imported.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

from gateway import configuration, logs, settings_page
from gateway.auth.keys import KeysFileError
from gateway.bootstrap import serve
from gateway.certificates import CertificateError
from gateway.configuration import ConfigurationError
from gateway.guards import Guards
from gateway.key_commands import run as run_keys
from gateway.metrics import Metrics
from serving.transport.grpc_aio import AddressTakenError

USAGE = 2


def main(arguments: list[str]) -> int:
    """Runs what the command line asks for and returns the exit status."""
    if arguments[:1] == ["keys"]:
        return run_keys(arguments[1:])
    if arguments[:1] == ["settings"]:
        print(settings_page.page(), end="")
        return 0
    checking = arguments[:1] == ["check-config"]
    if checking:
        arguments = arguments[1:]
    try:
        settings = configuration.load(arguments)
    except ConfigurationError as error:
        for line in str(error).splitlines():
            print(f"gateway: {line}", file=sys.stderr)
        return 1 if checking else USAGE
    logs.configure(settings.log)
    try:
        if checking:
            # Reads the files that the settings name.
            Guards(settings, Metrics())
            print("the settings are good")
        else:
            asyncio.run(serve(settings, lambda: configuration.load(arguments)))
    except (AddressTakenError, CertificateError, KeysFileError) as error:
        hint = "; make one with `python -m gateway keys create`" if isinstance(error, KeysFileError) else ""
        print(f"gateway: {error}{hint}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
