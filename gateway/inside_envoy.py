"""What Envoy loads: the gateway as an application inside it."""

from gateway.bootstrap import run
from gateway.workers.member import load
from serving.transport.envoy.host import Host


async def _program(arguments: list[str]) -> int:
    return await run(load(arguments), lambda: load(arguments))


app = Host(_program)
