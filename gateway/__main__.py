"""`python -m gateway`: serves; `python -m gateway keys …`: makes, lists and revokes API keys."""

import asyncio
import sys

from pydantic import ValidationError
from pydantic_settings import CliApp, SettingsError

from gateway.bootstrap import run
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
    if settings.print_envoy_config or settings.transport == "envoy":
        return _in_envoy(settings, arguments)
    return asyncio.run(run(settings))


def _in_envoy(settings: Settings, arguments: list[str]) -> int:
    """Becomes Envoy; returns only if that cannot be, or if its configuration is all that is asked for."""
    try:
        from gateway import inside_envoy  # noqa: PLC0415  # pyvoy has no wheels for every platform
    except ImportError as error:
        print(
            "gateway: the transport envoy needs the package pyvoy, which there is for Linux on x86-64 and arm64 and "
            f"for macOS on arm64: {error}; --transport=grpc.aio works everywhere",
            file=sys.stderr,
        )
        return 1
    try:
        if settings.print_envoy_config:
            print(inside_envoy.config(settings), end="")
            return 0
        inside_envoy.launch(settings, arguments)
    except AddressTakenError as error:
        print(f"gateway: {error}", file=sys.stderr)
        return 1


def _problems(error: Exception) -> list[str]:
    if not isinstance(error, ValidationError):
        return [str(error)]
    return [f"setting `{'.'.join(map(str, problem['loc']))}`: {problem['msg']}" for problem in error.errors()]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
