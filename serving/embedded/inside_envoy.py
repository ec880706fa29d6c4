"""What Envoy loads: the embedded server as an application inside it."""

from serving.embedded.__main__ import run
from serving.embedded.flags import parse
from serving.transport.envoy.host import Host


async def _program(arguments: list[str]) -> int:
    return await run(parse(arguments))


app = Host(_program)
