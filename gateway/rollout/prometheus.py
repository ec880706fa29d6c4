"""Evidence of all replicas, from the Prometheus server that scrapes them."""

import asyncio
import json
import urllib.parse
import urllib.request
from collections import defaultdict
from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, Field, ValidationError

from gateway.rollout.evidence import Block, Counts, Metric, Pair
from gateway.rollout.metrics import EVIDENCE
from gateway.rollout.plan import Plan

_TIMEOUT = 5.0
_MAX_BYTES = 16 << 20

Series = frozenset[tuple[str, str]]


class _Sample(BaseModel):
    metric: dict[str, str]
    value: tuple[float, Annotated[float, Field(ge=0, allow_inf_nan=False)]]


class _Vector(BaseModel):
    resultType: Literal["vector"]  # noqa: N815  # Prometheus's name
    result: list[_Sample]


class _Answer(BaseModel):
    status: Literal["success"]
    data: _Vector


class PrometheusSource:
    """What every replica has counted since the last look, by the HTTP API of the server at `url`.

    A counter that is lower than before began anew, as those of a gateway do that was started again.
    """

    def __init__(self, url: str) -> None:
        self._url = f"{url.rstrip('/')}/api/v1/query"
        self._seen: dict[tuple[str, datetime], dict[Series, float]] = {}

    async def take(self, plan: Plan) -> Block:
        """The outcomes of a running plan; OSError if the server does not answer with them."""
        samples = await asyncio.to_thread(self._query, plan.model)
        key = plan.model, plan.started.at
        before = self._seen.get(key)
        self._seen = {kept: series for kept, series in self._seen.items() if kept[0] != plan.model or kept == key}
        known = self._seen.setdefault(key, {})
        counted: dict[tuple[str, str, str], int] = defaultdict(int)
        for sample in samples:
            series, value = frozenset(sample.metric.items()), sample.value[1]
            last = known.get(series, 0.0)
            known[series] = value
            labels = sample.metric
            versions = {"stable": plan.stable, "candidate": plan.candidate}
            variant = labels.get("variant", "")
            # What was there before the first look belongs to other roll-outs, or cannot be told from theirs.
            if before is not None and labels.get("version") == str(versions.get(variant)):
                new = value - last if value >= last else value
                counted[labels.get("metric", ""), variant, labels.get("outcome", "")] += round(new)
        return {
            metric: Pair(_counts(counted, metric, "stable"), _counts(counted, metric, "candidate"))
            for metric in Metric
            if any(
                counted[metric, variant, outcome] for variant in ("stable", "candidate") for outcome in ("good", "bad")
            )
        }

    def _query(self, model: str) -> list[_Sample]:
        # A PromQL string is quoted as JSON is.
        query = f"{EVIDENCE}_total{{model={json.dumps(model, ensure_ascii=False)}}}"
        request = f"{self._url}?{urllib.parse.urlencode({'query': query})}"
        with urllib.request.urlopen(request, timeout=_TIMEOUT) as answer:  # noqa: S310  # http or https, by the setting's type
            content = answer.read(_MAX_BYTES)
        try:
            return _Answer.model_validate_json(content).data.result
        except ValidationError as error:
            raise OSError(f"Prometheus at {self._url} does not answer as expected") from error


def _counts(counted: dict[tuple[str, str, str], int], metric: Metric, variant: str) -> Counts:
    bad, good = (counted[metric, variant, outcome] for outcome in ("bad", "good"))
    return Counts(bad, bad + good)
