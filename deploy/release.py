"""New images for one root: all at once or a step at a time, and back if a step does not hold."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from deploy import verdict
from deploy.commands import DeployError
from deploy.images import Images
from deploy.root import Root

STEPS = (0, 10, 50, 100)
"""Per cent of the calls. At none the new revision starts, and the old one is seen to go on."""
_ALL = 100


class RolledBack(Exception):
    """The new images did worse and are out of use again; the text says what they did."""


@dataclass(frozen=True)
class Plan:
    """How a release goes."""

    steps: Sequence[int] = STEPS
    seconds: float = 600.0
    """How long the calls of a step are watched before they are judged."""

    def __post_init__(self) -> None:
        """Refuses steps that lead nowhere."""
        if not self.steps or list(self.steps) != sorted(set(self.steps)) or self.steps[0] < 0 or self.steps[-1] != _ALL:
            raise DeployError(f"steps are {list(self.steps)}; expected rising shares in per cent, the last of them 100")


@dataclass(frozen=True)
class Judge:
    """What finds out whether a step holds."""

    smoke: Callable[[Mapping[str, Any]], None]
    """Gets the root's outputs and calls what is there; DeployError if it does not do what it should."""
    read: Callable[[str, str], verdict.Calls] = verdict.read
    """The calls of a revision since a time."""
    sleep: Callable[[float], None] = time.sleep


def release(root: Root, images: Images, plan: Plan, judge: Judge) -> None:
    """Brings `images` into use; RolledBack if they are not, and DeployError if they may be and should not.

    Where nothing ran before there is nothing to go back to, nor to compare with.
    """
    before = root.outputs()
    if before.get("images") == images:
        print(f"{root.name}: these images run already", flush=True)
        judge.smoke(before)
        return
    stable = before.get("revision") if root.shifts_calls else None
    try:
        for percent in plan.steps if stable else [_ALL]:
            _apply(root, images, percent, stable)
            after = root.outputs()
            judge.smoke(after)
            if stable and 0 < percent < _ALL:
                _compare(after["revision"], stable, plan.seconds, judge)
    except DeployError as error:
        if "images" not in before:
            raise
        print(f"{root.name}: {error}; going back", flush=True)
        _back(root, images, stable, before["images"])
        raise RolledBack(f"{root.name}: {error}; {', '.join(before['images'].values())} run again") from error


def _apply(root: Root, images: Images, percent: int, stable: str | None) -> None:
    print(f"{root.name}: {percent} % of the calls to the new images", flush=True)
    root.apply(images, None if stable is None or percent == _ALL else (stable, percent))


def _compare(candidate: str, stable: str, seconds: float, judge: Judge) -> None:
    """Watches both for a while; DeployError if the candidate does worse."""
    started = datetime.now(UTC).isoformat()
    judge.sleep(seconds)
    if reasons := verdict.worse(judge.read(candidate, started), judge.read(stable, started)):
        raise DeployError("; ".join(reasons))


def _back(root: Root, images: Images, stable: str | None, old: Images) -> None:
    """Calls first, which takes seconds, then the images."""
    if stable:
        try:
            root.apply(images, (stable, 0))
        except DeployError as error:
            # New images that never start keep this from ending; the next apply takes them away.
            print(f"{root.name}: {error}", flush=True)
    root.apply(old)
