"""`python -m gateway`: serves; `python -m gateway keys …`: makes, lists and revokes API keys."""

import asyncio
import sys

import yaml
from pydantic import ValidationError
from pydantic_settings import CliApp, SettingsError

from gateway.key_commands import run as run_keys
from gateway.settings import Settings
from serving.transport.addresses import AddressTakenError
from serving.transport.envoy.options import EnvoyOptions

USAGE = 2
# What Envoy loads.
INSIDE_ENVOY = "gateway.inside_envoy:app"


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
        return _become_envoy(settings, arguments)
    from gateway.bootstrap import run  # noqa: PLC0415  # most of the start, and of no use to what becomes Envoy

    return asyncio.run(run(settings))


def _become_envoy(settings: Settings, arguments: list[str]) -> int:
    """Returns only if that cannot be, or if Envoy's configuration is all that is asked for."""
    try:
        from serving.transport.envoy.launch import configuration, launch  # noqa: PLC0415  # not on every platform
    except ImportError as error:
        print(f"gateway: {error}: the transport envoy needs pyvoy; grpc.aio needs nothing", file=sys.stderr)
        return 1
    options = EnvoyOptions(**settings.envoy.model_dump(), json_log=settings.log.format == "json")
    try:
        if not settings.print_envoy_config:
            launch(INSIDE_ENVOY, arguments, [settings.listen], options)
        print(yaml.safe_dump(configuration(INSIDE_ENVOY, [settings.listen], options), sort_keys=False), end="")
    except AddressTakenError as error:
        print(f"gateway: {error}", file=sys.stderr)
        return 1
    return 0


def _problems(error: Exception) -> list[str]:
    if not isinstance(error, ValidationError):
        return [str(error)]
    return [f"setting `{'.'.join(map(str, problem['loc']))}`: {problem['msg']}" for problem in error.errors()]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
