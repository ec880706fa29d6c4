"""Names of versions, as servers read them."""

import re
from collections.abc import Iterable, Mapping

_NAME = re.compile("[0-9]+")
_MAX = 2**63 - 1
MODEL = "saved_model.pb"
"""The file without which a directory is no version."""


def numbers(names: Iterable[str]) -> dict[str, int]:
    """The versions among `names`, with their numbers; others mean nothing to servers, nor what int64 does not hold."""
    return {name: int(name) for name in names if _NAME.fullmatch(name) and int(name) <= _MAX}


def after(*taken: Iterable[int]) -> int:
    """The number after all that were `taken`; OSError if there is none."""
    number = 1 + max((number for each in taken for number in each), default=0)
    if number > _MAX:
        raise OSError(f"there is no version number after {_MAX}")
    return number


def named(names: Mapping[str, int], number: int) -> list[str]:
    """Those of `names` that mean `number`: `7`, but `007` too."""
    return [name for name, each in names.items() if each == number]
