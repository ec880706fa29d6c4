"""What the evidence says of a candidate, and what is to be done about it."""

import enum
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from gateway.rollout.evidence import Block, Counts, Metric, Pair
from gateway.rollout.plan import Mode, Plan
from gateway.rollout.sequential import AboveRate, WorseThanStable
from gateway.settings.rollout import RolloutSettings

# Outcomes of each version that make a block; fewer wait for more.
_BLOCK = 5
# A rate that is not allowed to happen at all is tested as this.
_RAREST = 1e-4
# Calls of a candidate before it can be too slow: the first ones warm it up.
_WARM = 100


class Decision(enum.StrEnum):
    """What is to be done."""

    HOLD = "hold"
    ADVANCE = "advance"
    ROLL_BACK = "roll_back"


@dataclass(frozen=True, slots=True)
class Finding:
    """What one metric says."""

    metric: Metric
    stable: Counts
    candidate: Counts
    difference: float
    """How much more frequent bad outcomes are with the candidate, stretches of time alike."""
    tolerated: float
    evidence: float
    """Logarithm of the evidence that the candidate is worse, over that of what would take it back: 1 is enough."""

    @property
    def worse(self) -> bool:
        """Whether the candidate is worse beyond doubt, and by more than is tolerated."""
        return self.evidence >= 1 and self.difference > self.tolerated

    @property
    def doubtful(self) -> bool:
        """Whether it looks worse than is tolerated."""
        return self.difference > self.tolerated

    def __str__(self) -> str:
        candidate = f"candidate {self.candidate.bad} of {self.candidate.total} ({self.candidate.rate:.2%})"
        stable = (
            f", stable {self.stable.bad} of {self.stable.total} ({self.stable.rate:.2%})" if self.stable.total else ""
        )
        return f"{self.metric}: {candidate}{stable}, evidence {max(self.evidence, 0):.0%} of what takes it back"


@dataclass(frozen=True, slots=True)
class Verdict:
    """A decision, why, and what it rests on."""

    decision: Decision
    reasons: tuple[str, ...]
    findings: tuple[Finding, ...] = ()

    @property
    def text(self) -> str:
        """The reasons in one line."""
        return "; ".join(self.reasons)


class Evidence:
    """All that has been seen of one roll-out, and of its present step."""

    def __init__(self, settings: RolloutSettings) -> None:
        self._settings = settings
        self._tolerated: Mapping[Metric, float] = {
            Metric.ERRORS: settings.max_error_increase,
            Metric.LATENCY: settings.max_slow_increase,
            Metric.DISAGREEMENT: settings.max_disagreement,
            Metric.CONFIDENCE: settings.max_confidence_drop,
            Metric.QUALITY: settings.max_quality_drop,
        }
        judges = 1 if settings.prometheus else settings.replicas
        # Bonferroni: all metrics, and all who judge, together raise no more false alarms than allowed.
        self._enough = math.log(len(Metric) * judges / settings.false_alarm)
        self._tests = {metric: WorseThanStable() for metric in Metric if metric is not Metric.DISAGREEMENT}
        self._disagreement = AboveRate(min(max(settings.max_disagreement, _RAREST), 1 - _RAREST))
        self._totals = dict.fromkeys(Metric, Pair())
        self._pending = dict.fromkeys(Metric, Pair())
        self._differences = {metric: _Difference() for metric in Metric}
        self.samples = 0
        """The candidate's calls in this step."""

    def begin_step(self) -> None:
        """The plan goes on: what is asked of a step counts anew."""
        self.samples = 0

    def add(self, block: Block) -> None:
        """Takes in what has come since the last look."""
        for metric, pair in block.items():
            self._totals[metric] += pair
            if metric is Metric.ERRORS:
                self.samples += pair.candidate.total
            if metric is Metric.DISAGREEMENT:
                self._disagreement.add(pair.candidate.bad, pair.candidate.total)
                continue
            pending = self._pending[metric] + pair
            # When a block is full depends on how many outcomes there are, not on which.
            if min(pending.stable.total, pending.candidate.total) >= _BLOCK:
                self._tests[metric].add(
                    pending.stable.bad, pending.stable.total, pending.candidate.bad, pending.candidate.total
                )
                self._differences[metric].add(pending)
                pending = Pair()
            self._pending[metric] = pending

    def findings(self) -> tuple[Finding, ...]:
        """What each metric says, of those of which anything was seen of the candidate."""
        return tuple(self._finding(metric) for metric in Metric if self._totals[metric].candidate.total)

    def _finding(self, metric: Metric) -> Finding:
        total = self._totals[metric]
        if metric is Metric.DISAGREEMENT:
            evidence, difference = float(self._disagreement.log_evidence), total.candidate.rate
        else:
            evidence, difference = float(self._tests[metric].log_evidence), self._differences[metric].value
        return Finding(
            metric, total.stable, total.candidate, difference, self._tolerated[metric], evidence / self._enough
        )

    def judge(self, plan: Plan, now: datetime, *, available: bool) -> Verdict:
        """What is to be done with a running plan; `available` says whether the candidate can answer."""
        findings = self.findings()
        worse = [
            finding
            for finding in findings
            if finding.worse and (finding.metric is not Metric.LATENCY or finding.candidate.total >= _WARM)
        ]
        if worse:
            return Verdict(Decision.ROLL_BACK, tuple(f"worse in {finding}" for finding in worse), findings)
        waiting = list(self._waits_for(plan, now, available=available, findings=findings))
        if waiting:
            return Verdict(Decision.HOLD, tuple(waiting), findings)
        return Verdict(Decision.ADVANCE, tuple(f"no worse in {finding}" for finding in findings), findings)

    def _waits_for(self, plan: Plan, now: datetime, *, available: bool, findings: tuple[Finding, ...]) -> list[str]:
        rules = plan.rules
        waits = []
        if not available:
            waits.append(f"version {plan.candidate} is not AVAILABLE; stable answers in its stead")
        if self.samples < rules.min_samples:
            waits.append(f"{self.samples} of {rules.min_samples} calls in this step")
        seconds = (now - plan.step_started).total_seconds()
        if seconds < rules.min_seconds:
            waits.append(f"{seconds:.0f} of {rules.min_seconds:g} seconds in this step")
        labels = self._totals[Metric.QUALITY].candidate.total
        last = plan.mode is Mode.CANARY and plan.step + 1 == len(rules.steps)
        if last and labels < rules.min_labels:
            waits.append(f"{labels} of {rules.min_labels} labels for the candidate")
        waits += [f"not certain yet: {finding}" for finding in findings if finding.doubtful]
        return waits


class _Difference:
    """The difference of two rates over blocks of unequal shares, as Mantel and Haenszel weigh it."""

    def __init__(self) -> None:
        self._sum = self._weight = 0.0

    def add(self, block: Pair) -> None:
        stable, candidate = block.stable, block.candidate
        both = stable.total + candidate.total
        self._sum += (candidate.bad * stable.total - stable.bad * candidate.total) / both
        self._weight += candidate.total * stable.total / both

    @property
    def value(self) -> float:
        return self._sum / self._weight if self._weight else 0.0
