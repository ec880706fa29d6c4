"""The gateway inside Envoy: how Envoy is started with it, and what Envoy then loads."""

from typing import NoReturn

import yaml
from pydantic_settings import CliApp

from gateway.bootstrap import run
from gateway.settings import Settings
from serving.transport.envoy.config import Listener, bootstrap
from serving.transport.envoy.host import Host
from serving.transport.envoy.launch import launch as launch_envoy
from serving.transport.envoy.launch import listener
from serving.transport.envoy.options import EnvoyOptions

_APP = f"{__name__}:app"


def config(settings: Settings) -> str:
    """Envoy's configuration as YAML. AddressTakenError if the address cannot be listened on."""
    admin = Listener(path="/tmp/tensorgate-envoy/admin.sock")  # noqa: S108  # where it would be in a new directory
    return yaml.safe_dump(bootstrap(_APP, [listener(settings.listen)], admin, _options(settings)), sort_keys=False)


def launch(settings: Settings, arguments: list[str]) -> NoReturn:
    """Becomes Envoy, with a gateway of these settings inside. AddressTakenError if the address is not to be had."""
    launch_envoy(_APP, arguments, [settings.listen], _options(settings))


async def _program(arguments: list[str]) -> int:
    return await run(CliApp.run(Settings, cli_args=arguments))


def _options(settings: Settings) -> EnvoyOptions:
    return EnvoyOptions(**settings.envoy.model_dump(), json_log=settings.log.format == "json")


app = Host(_program)
