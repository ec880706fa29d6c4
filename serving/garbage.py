"""Garbage collection for a process that makes many small objects, few of them in cycles."""

import gc

# Objects made and not freed between two looks for cycles; Python's 700 has it look a hundred times a second under load,
# which takes a tenth of the time.
_YOUNG, _MIDDLE, _OLD = 50_000, 20, 50


def settle() -> None:
    """Once all is set up: what is there stays, and need not be looked through again and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, _MIDDLE, _OLD)
