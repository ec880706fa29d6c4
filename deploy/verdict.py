"""Whether a new revision does worse than the one before it, by what both did for real callers at the same time."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

from deploy.commands import run

# As terraform's alerts count them: ours, not the caller's.
FAULTS = frozenset({"INTERNAL", "UNAVAILABLE", "UNKNOWN", "DATA_LOSS"})
# A rise that chance explains less often than this; of two figures, at each of a few steps.
SIGNIFICANCE = 0.01 / 2
# A rise that is real and yet too small to go back for: shares of the calls.
_FAULTS_MARGIN, _SLOW_MARGIN = 0.001, 0.02
_MOST = 50_000


@dataclass(frozen=True)
class Calls:
    """The calls that a revision answered."""

    milliseconds: Sequence[float]
    faults: int

    @property
    def number(self) -> int:
        """How many there were."""
        return len(self.milliseconds)

    def slower_than(self, milliseconds: float) -> int:
        """How many took longer."""
        return sum(each > milliseconds for each in self.milliseconds)


def read(revision: str, since: str) -> Calls:
    """A Cloud Run revision's calls after `since` (RFC 3339), the newest 50,000, from its access log."""
    chosen = f'resource.labels.revision_name="{revision}" AND jsonPayload.event="call" AND timestamp>="{since}"'
    written = run(
        ["gcloud", "logging", "read", chosen, "--format=json(jsonPayload.code,jsonPayload.ms)", f"--limit={_MOST}"]
    )
    entries = [entry["jsonPayload"] for entry in json.loads(written or "[]")]
    faults = sum(entry["code"] in FAULTS for entry in entries)
    return Calls([float(entry["ms"]) for entry in entries], faults)


def worse(candidate: Calls, stable: Calls) -> list[str]:
    """What `candidate` does significantly and noticeably worse; nothing if calls are too few to tell."""
    if not candidate.number or not stable.number:
        return []
    slow = sorted(stable.milliseconds)[math.ceil(stable.number * 0.99) - 1]
    figures = (
        ("faults", candidate.faults, stable.faults, _FAULTS_MARGIN),
        (f"calls over {slow:g} ms", candidate.slower_than(slow), stable.slower_than(slow), _SLOW_MARGIN),
    )
    return [
        f"{what}: {ours} of {candidate.number} calls, before {theirs} of {stable.number}"
        for what, ours, theirs, margin in figures
        if ours / candidate.number > theirs / stable.number + margin
        and chance(ours, candidate.number, theirs, stable.number) < SIGNIFICANCE
    ]


def chance(hits: int, number: int, other_hits: int, other_number: int) -> float:
    """How probable it is to have `hits` of `number` or more where both have the same share: Fisher's exact test."""

    def log_choose(n: int, k: int) -> float:
        return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)

    every = hits + other_hits
    total = log_choose(number + other_number, every)
    return math.fsum(
        math.exp(log_choose(number, each) + log_choose(other_number, every - each) - total)
        for each in range(max(hits, every - other_number), min(number, every) + 1)
    )
