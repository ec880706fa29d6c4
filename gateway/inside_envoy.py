"""What Envoy loads: the gateway as an application inside it."""

from gateway import configuration
from gateway.bootstrap import run
from serving.transport.envoy.host import Host


async def _program(arguments: list[str]) -> int:
    return await run(configuration.load(arguments), lambda: configuration.load(arguments))


app = Host(_program)
