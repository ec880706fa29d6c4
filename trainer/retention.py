"""Which old versions may go, and the roll-out plan that says which must not.

The plan is the file `rollout.json` in the model's directory. All that is read of it here is
`{"versions": [{"version": 3}, {"version": 4}]}`: every version that calls may be sent to, now or if the roll-out is
taken back. Whatever else is in it, there or in the objects of the list, is left to those who route.
"""

from collections.abc import Collection, Iterable

from pydantic import BaseModel, ConfigDict, Field, ValidationError

PLAN = "rollout.json"


class PlanError(ValueError):
    """A roll-out plan that cannot be understood."""


class _Route(BaseModel):
    model_config = ConfigDict(strict=True)

    version: int = Field(ge=0)


class _Plan(BaseModel):
    model_config = ConfigDict(strict=True)

    versions: list[_Route]


def planned(plan: bytes | None) -> set[int]:
    """The versions that a plan's JSON names; none if there is no plan. PlanError says what is wrong with it."""
    if plan is None:
        return set()
    try:
        return {route.version for route in _Plan.model_validate_json(plan).versions}
    except ValidationError as error:
        problem = error.errors()[0]
        place = ".".join(map(str, problem["loc"]))
        raise PlanError(f"{PLAN} is no roll-out plan: {place}{': ' if place else ''}{problem['msg']}") from error


def surplus(versions: Iterable[int], keep: int, protected: Collection[int]) -> list[int]:
    """Those of `versions` that are neither among the `keep` (1 or more) highest nor `protected`, ascending."""
    return [number for number in sorted(versions)[:-keep] if number not in protected]
