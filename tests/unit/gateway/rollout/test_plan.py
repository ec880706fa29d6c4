"""gateway.rollout.plan"""

import json
from typing import Any

import pytest

from gateway.rollout.plan import Change, Mode, Plan, PlanError, Rules, State, started
from trainer.retention import planned

ME = Change(by="me", reason="why not")


def running(mode: Mode = Mode.CANARY, **rules: Any) -> Plan:
    """A roll-out of version 4 against 3."""
    return started("digits", 3, 4, mode=mode, rules=Rules(**rules), change=ME, after=None)


def shares(plan: Plan) -> dict[tuple[int, str], float]:
    """Who answers how much."""
    return {(route.version, route.role): route.share for route in plan.versions}


def test_a_canary_goes_through_its_steps_and_ends_as_stable() -> None:
    """Each step gives the candidate its share; after the last it is stable, and the one before is still named."""
    plan = running(steps=(10.0, 50.0, 100.0))
    seen = []
    while plan.state is State.RUNNING:
        seen.append(plan.share)
        plan = plan.advanced(ME)
    assert seen == [10, 50, 100]
    assert plan.state is State.PROMOTED
    assert shares(plan) == {(4, "stable"): 100, (3, "previous"): 0}
    assert plan.generation == 4


def test_a_shadow_goes_on_as_a_canary() -> None:
    """In the shadow the candidate answers nothing; the next step is the canary's first."""
    plan = running(Mode.SHADOW, copied=20.0)
    assert (plan.share, plan.candidate) == (0, 4)
    after = plan.advanced(ME)
    assert (after.mode, after.share) == (Mode.CANARY, 1)


def test_withdrawing_leaves_stable_alone() -> None:
    """Rolled back or aborted, stable answers everything."""
    for state in (State.ROLLED_BACK, State.ABORTED):
        plan = running().advanced(ME).withdrawn(state, ME)
        assert (plan.state, shares(plan)) == (state, {(3, "stable"): 100})


def test_what_retention_reads_is_there() -> None:
    """Every version that a call may be sent to, now or after a roll-back, stands in `versions`."""
    plan = running()
    assert planned(plan.model_dump_json().encode()) == {3, 4}
    assert planned(plan.promoted(ME).model_dump_json().encode()) == {3, 4}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"versions": [{"version": 3, "role": "stable", "share": 90}]}, "expected one stable, and while RUNNING one"),
        (
            {
                "versions": [
                    {"version": 3, "role": "stable", "share": 90},
                    {"version": 4, "role": "candidate", "share": 5},
                ]
            },
            "the shares sum to 95; expected 100",
        ),
        (
            {
                "versions": [
                    {"version": 4, "role": "stable", "share": 95},
                    {"version": 4, "role": "candidate", "share": 5},
                ]
            },
            "the same version twice",
        ),
        ({"step": 5}, "step is 5; there are 5"),
        ({"rules": {"steps": [50, 10, 100]}}, "expected rising percentages that end with 100"),
        ({"rules": {"steps": [5, 50]}}, "expected rising percentages that end with 100"),
        ({"colour": "red"}, "no such setting"),
        ({"generation": 0}, "generation"),
    ],
)
def test_a_plan_that_makes_no_sense_is_refused(change: dict[str, Any], message: str) -> None:
    """The message says what was expected."""
    document = json.loads(running().model_dump_json()) | change
    with pytest.raises(PlanError, match=message):
        Plan.parse(json.dumps(document).encode())


def test_bytes_that_are_no_json_are_refused() -> None:
    """A half-written file is no plan."""
    with pytest.raises(PlanError):
        Plan.parse(b'{"model": "digi')
