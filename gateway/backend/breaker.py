"""A circuit breaker: servers that do not answer are not asked for a while, and callers need not wait to hear so."""

import time
from collections.abc import Callable

from gateway.errors import BackendUnavailable


class Breaker:
    """Opens after `failures` in a row; after `seconds` one call may try whether it can close."""

    def __init__(
        self,
        failures: int,
        seconds: float,
        *,
        on_change: Callable[[bool], None] = lambda _open: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._failures = failures
        self._seconds = seconds
        self._on_change = on_change
        self._clock = clock
        self._failed = 0
        self._opens_again: float | None = None
        """When the next call may try; None while closed."""

    def check(self) -> None:
        """BackendUnavailable while open."""
        if self._opens_again is None:
            return
        left = self._opens_again - self._clock()
        if left > 0:
            raise BackendUnavailable(
                "the model server does not answer; retry later", reason="BACKEND_BROKEN", retry_after=left
            )
        # This one tries; the others wait for what comes of it.
        self._opens_again = self._clock() + self._seconds

    def succeeded(self) -> None:
        """A call was answered, be it by an error."""
        self._failed = 0
        if self._opens_again is not None:
            self._opens_again = None
            self._on_change(False)

    def failed(self) -> None:
        """A call was not answered."""
        self._failed += 1
        if self._failed >= self._failures:
            if self._opens_again is None:
                self._on_change(True)
            self._opens_again = self._clock() + self._seconds
