"""The C library's heap, for a process whose threads take turns anyway."""

import ctypes
import os

_ARENA_MAX = -8  # M_ARENA_MAX in glibc's malloc.h


def share() -> None:
    """Has all threads share one arena, where glibc gives each its own with what is free in it: 6 MB of the gateway's.

    What MALLOC_ARENA_MAX says already wins. Elsewhere than with glibc nothing happens.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None and "MALLOC_ARENA_MAX" not in os.environ:
        mallopt(_ARENA_MAX, 1)
