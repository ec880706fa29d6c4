"""A release step by step, on a root whose state is in memory."""

from collections.abc import Mapping
from typing import Any

import pytest

from deploy.commands import DeployError
from deploy.release import Judge, Plan, RolledBack, release
from deploy.verdict import Calls

OLD, NEW = ({"gateway": f"g@{name}", "server": f"s@{name}"} for name in ("old", "new"))
GOOD = Calls([10.0] * 1000, 0)


class FakeRoot:
    """Keeps what is applied; images named in `broken` do not start."""

    def __init__(self, *, shifts_calls: bool = True, images: Mapping[str, str] | None = None) -> None:
        self.name = "cloud/environment"
        self.shifts_calls = shifts_calls
        self.broken: Mapping[str, str] | None = None
        self.images = images
        self.applied: list[tuple[Mapping[str, str], tuple[str, int] | None]] = []

    def outputs(self) -> dict[str, Any]:
        """What `terraform output` has."""
        if self.images is None:
            return {"registry": "r"}
        return {"endpoint": "e:443", "images": self.images, "revision": f"revision-{self.images['gateway'][2:]}"}

    def apply(self, images: Mapping[str, str], rollout: tuple[str, int] | None = None) -> None:
        """What `terraform apply` does."""
        self.applied.append((images, rollout))
        if images == self.broken:
            raise DeployError("it does not start")
        self.images = images


def judge(*, smoke: str = "", candidate: Calls = GOOD) -> Judge:
    """A judge who finds what it is told."""

    def call(outputs: Mapping[str, Any]) -> None:
        if smoke and outputs["images"] == NEW:
            raise DeployError(smoke)

    return Judge(call, lambda revision, _: candidate if revision == "revision-new" else GOOD, lambda _: None)


def test_steps() -> None:
    """A good image gets its share step by step, and at the end all, with no revision pinned."""
    root = FakeRoot(images=OLD)
    release(root, NEW, Plan((0, 10, 100)), judge())
    assert root.applied == [(NEW, ("revision-old", 0)), (NEW, ("revision-old", 10)), (NEW, None)]


@pytest.mark.parametrize(
    ("found", "said", "reached"),
    [
        (judge(smoke="p99 is 3 s"), "p99 is 3 s", 0),
        (judge(candidate=Calls([10.0] * 1000, 30)), "faults: 30 of 1000 calls, before 0 of 1000", 10),
        (judge(candidate=Calls([10.0] * 900 + [99.0] * 100, 0)), "calls over 10 ms: 100 of 1000", 10),
    ],
    ids=["smoke", "faults", "slow"],
)
def test_back(found: Judge, said: str, reached: int) -> None:
    """What does worse loses the calls at once, and then the old images run, with nothing pinned."""
    root = FakeRoot(images=OLD)
    with pytest.raises(RolledBack, match=said):
        release(root, NEW, Plan((0, 10, 100)), found)
    assert root.applied[-3:] == [(NEW, ("revision-old", reached)), (NEW, ("revision-old", 0)), (OLD, None)]


@pytest.mark.parametrize("shifts_calls", [True, False])
def test_images_that_never_start(shifts_calls: bool) -> None:
    """An apply that fails is taken back like a step that does not hold."""
    root = FakeRoot(images=OLD, shifts_calls=shifts_calls)
    root.broken = NEW
    with pytest.raises(RolledBack, match="does not start"):
        release(root, NEW, Plan(), judge())
    assert root.applied[-1] == (OLD, None)
    assert root.images == OLD


def test_a_cloud_that_shifts_calls_by_itself() -> None:
    """One apply is the whole roll-out, and what smoke finds after it is taken back."""
    root = FakeRoot(images=OLD, shifts_calls=False)
    with pytest.raises(RolledBack):
        release(root, NEW, Plan(), judge(smoke="no"))
    assert root.applied == [(NEW, None), (OLD, None)]


def test_first_release() -> None:
    """Where nothing runs, all at once; and a failure is one, since there is nothing to go back to."""
    root = FakeRoot()
    release(root, NEW, Plan(), judge())
    assert root.applied == [(NEW, None)]
    root = FakeRoot()
    with pytest.raises(DeployError, match="no"):
        release(root, NEW, Plan(), judge(smoke="no"))


def test_images_that_run_already() -> None:
    """They are called and nothing is applied: a pipeline may be run again."""
    root = FakeRoot(images=NEW)
    release(root, NEW, Plan(), judge())
    assert not root.applied


@pytest.mark.parametrize("steps", [(), (10, 50), (50, 10, 100), (-1, 100), (10, 10, 100)])
def test_steps_that_lead_nowhere(steps: tuple[int, ...]) -> None:
    """They are refused before anything is applied."""
    with pytest.raises(DeployError, match="expected rising shares in per cent, the last of them 100"):
        Plan(steps)
