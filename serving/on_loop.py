"""Which event loop is running: asked once, since until Python 3.12 each question takes a system call."""

import asyncio
from functools import cached_property


class OnLoop:
    """What works on one event loop, first used there."""

    @cached_property
    def _loop(self) -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()
