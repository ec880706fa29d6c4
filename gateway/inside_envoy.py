"""What Envoy loads: the gateway as an application inside it."""

from pydantic_settings import CliApp

from gateway.bootstrap import run
from gateway.settings import Settings
from serving.transport.envoy.host import Host


async def _program(arguments: list[str]) -> int:
    return await run(CliApp.run(Settings, cli_args=arguments))


app = Host(_program)
