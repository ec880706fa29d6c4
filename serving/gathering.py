"""When requests that may travel together leave.

Under load the event loop is what requests queue for: a batch that left with the first of them would hold one or two,
and a batch costs as much as a few requests. So they leave when the loop has turned a while and nobody came.
"""

import asyncio
import time
from collections.abc import Callable

from serving.on_loop import OnLoop

# Turns without an arrival until they leave: more if more left together the last time. Who is alone waits for 4 turns,
# some tens of microseconds.
_TURNS_EACH = 4
_MAX_TURNS = 16
# Turns cost what callers and the model could use. Those who left the last time came over some time; for most of it the
# next are left alone.
_HELD = 0.9
_MAX_SECONDS = 0.015


class Gathering(OnLoop):
    """Calls `leave`, which returns how many left, when it is time; for one event loop."""

    def __init__(self, leave: Callable[[], int]) -> None:
        self._leave = leave
        self._arrivals = 0
        self._first = self._last = 0.0
        self._span = 0.0
        self._patience = _TURNS_EACH
        self._next: asyncio.Handle | None = None
        self._hurried = False

    def arrived(self, *, first: bool) -> None:
        """Notes that one more waits; `first` if nobody did before."""
        self._arrivals += 1
        self._last = time.monotonic()
        if first:
            self._first = self._last

    def begin(self) -> None:
        """Sees to it that they leave when it is time, if nobody has yet."""
        if self._next is None:
            hold = self._first + self._span * _HELD - time.monotonic()
            call_soon = self._loop.call_soon
            self._next = self._loop.call_later(hold, self._turn, 0, -1) if hold > 0 else call_soon(self._turn, 0, -1)

    def hurry(self) -> None:
        """Has them leave in the next turn, if they are to leave at all: they are as many as may."""
        if self._next is not None and not self._hurried:
            # Once: who comes later in the turn must not put them off.
            self._hurried = True
            self._next.cancel()
            self._next = self._loop.call_soon(self._go)

    def _turn(self, quiet: int, arrivals: int) -> None:
        """Turns with the event loop; `quiet` counts the turns without an arrival."""
        quiet = quiet + 1 if arrivals == self._arrivals else 0
        if quiet < self._patience and time.monotonic() - self._first < _MAX_SECONDS:
            self._next = self._loop.call_soon(self._turn, quiet, self._arrivals)
        else:
            self._go()

    def _go(self) -> None:
        self._next, self._hurried = None, False
        self._span = min(self._last - self._first, _MAX_SECONDS)
        self._patience = min(_TURNS_EACH * max(self._leave(), 1), _MAX_TURNS)
