"""What pydantic finds wrong, as people read it."""

from pydantic import ValidationError


def problems(error: ValidationError) -> str:
    """All problems in one line, each after the dotted name of what it is about."""
    return "; ".join(
        "".join(f"{place}: " for place in [".".join(map(str, problem["loc"]))] if place)
        + ("no such setting" if problem["type"] == "extra_forbidden" else problem["msg"])
        for problem in error.errors()
    )
