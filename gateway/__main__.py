"""`python -m gateway`: serves; `python -m gateway keys …`: makes, lists and revokes API keys."""

import asyncio
import os
import sys

# gRPC's core writes to stderr by itself, in a form of its own, whenever a stranger's handshake fails; what matters
# comes back as errors. Read when gRPC is imported.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

from pydantic import ValidationError
from pydantic_settings import CliApp, SettingsError

from gateway import logs
from gateway.auth.keys import KeysFileError
from gateway.bootstrap import serve
from gateway.certificates import CertificateError
from gateway.key_commands import run as run_keys
from gateway.settings import Settings
from serving.transport.grpc_aio import AddressTakenError

USAGE = 2


def main(arguments: list[str]) -> int:
    """Runs what the command line asks for and returns the exit status."""
    if arguments[:1] == ["keys"]:
        return run_keys(arguments[1:])
    try:
        settings = CliApp.run(Settings, cli_args=arguments)
    except (SettingsError, ValidationError, OSError) as error:
        for line in _problems(error):
            print(f"gateway: {line}", file=sys.stderr)
        return USAGE
    logs.configure(settings.log)
    try:
        asyncio.run(serve(settings))
    except (AddressTakenError, CertificateError, KeysFileError) as error:
        hint = "; make one with `python -m gateway keys create`" if isinstance(error, KeysFileError) else ""
        print(f"gateway: {error}{hint}", file=sys.stderr)
        return 1
    return 0


def _problems(error: Exception) -> list[str]:
    if not isinstance(error, ValidationError):
        return [str(error)]
    return [_problem(problem["loc"], problem["msg"]) for problem in error.errors()]


def _problem(location: tuple[int | str, ...], text: str) -> str:
    # What is wrong between several settings has no place of its own.
    return f"setting `{'.'.join(map(str, location))}`: {text}" if location else text


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
