"""`python -m gateway replay FILES --address HOST:PORT`."""

import argparse
import asyncio
import itertools
import json
import sys
from typing import Any

import numpy as np

from gateway.replay.corpus import CorpusError, read
from gateway.replay.sending import Outcome, Plan, send
from tensorgate.channel import Target, metadata
from tensorgate.target_arguments import add_arguments, metadata_of

BREACHED, CANNOT_START = 1, 2


def run(arguments: list[str]) -> int:
    """Sends what the files hold; 0 if it held, 1 if a threshold was breached, 2 if there was nothing to send."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        identity = metadata(options.key, metadata_of(options))
    except ValueError as error:
        parser.error(str(error))
    plan = Plan(
        Target(options.address, options.ca_file or options.tls),
        metadata=identity,
        model=options.model,
        version=options.version,
        rate=options.rate,
        concurrency=options.concurrency,
        timeout=options.timeout,
        compare=options.compare,
    )
    try:
        outcome = asyncio.run(send(itertools.islice(read(options.files), options.count), plan))
    except* (CorpusError, OSError) as group:
        print(f"replay: {group.exceptions[0]}", file=sys.stderr)
        outcome = None
    if outcome is None:
        return CANNOT_START
    reasons = _breaches(outcome, options)
    if options.json:
        print(json.dumps(_as_json(outcome) | {"breaches": reasons}, indent=2))
    else:
        print("\n".join(_lines(outcome)))
    for reason in reasons:
        print(f"replay: {reason}", file=sys.stderr)
    return BREACHED if reasons else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m gateway replay",
        description="Sends captured requests to a gateway or a model server, and compares the answers.",
        epilog="Status: 0 all held, 1 a threshold was breached, 2 nothing could be sent.",
    )
    add = parser.add_argument
    add("files", nargs="+", metavar="FILE", help="captured files, directories of them, patterns or URLs")
    add_arguments(parser)
    add("--model", default="", help="ask this model (default: the one that was asked)")
    add("--version", type=_natural, default=0, help="ask this version (default: the one that is routed to)")
    add(
        "--compare",
        type=lambda text: None if text == "recorded" else _natural(text),
        metavar="VERSION",
        help="compare with this version's answers (default: recorded, those in the files)",
    )
    add("--rate", type=float, default=0.0, help="requests a second (default: as fast as answers come)")
    add("--concurrency", type=_natural, default=8, help="requests under way at once (%(default)s)")
    add("--count", type=_natural, help="send so many and no more")
    add("--timeout", type=float, default=10.0, help="seconds for a request (%(default)s)")
    add("--min-agreement", type=float, default=0.0, help="least share of rows that agree, 0 to 1 (%(default)s)")
    add("--max-p99-ms", type=float, help="largest 99th percentile of the latency")
    add("--max-errors", type=float, default=0.0, help="largest share of requests that fail, 0 to 1 (%(default)s)")
    add("--json", action="store_true", help="print JSON")
    return parser


def _natural(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("expected a whole number above 0")
    return number


def _breaches(outcome: Outcome, options: argparse.Namespace) -> list[str]:
    """What was not held, one sentence each."""
    found = []
    if not outcome.requests:
        return ["the files hold no requests"]
    failed = outcome.errors.total() / outcome.requests
    if failed > options.max_errors:
        found.append(f"{failed:.2%} of the requests failed, expected at most {options.max_errors:.2%}")
    if options.min_agreement and (outcome.agreement is None or outcome.agreement < options.min_agreement):
        there = "nothing could be compared" if outcome.agreement is None else f"{outcome.agreement:.2%} of rows agree"
        found.append(f"{there}, expected at least {options.min_agreement:.2%}")
    p99 = _milliseconds(outcome, 99)
    if options.max_p99_ms is not None and not (p99 is not None and p99 <= options.max_p99_ms):
        found.append(f"the 99th percentile is {p99} ms, expected at most {options.max_p99_ms:g}")
    return found


def _milliseconds(outcome: Outcome, percentile: float) -> float | None:
    return round(float(np.percentile(outcome.seconds, percentile)) * 1e3, 3) if outcome.seconds else None


def _as_json(outcome: Outcome) -> dict[str, Any]:
    return {
        "requests": outcome.requests,
        "errors": dict(outcome.errors),
        "rows": outcome.rows,
        "agreed": outcome.agreed,
        "agreement": outcome.agreement,
        "largest_difference": outcome.distance,
        "uncompared_requests": outcome.uncompared,
        "milliseconds": {f"p{percentile}": _milliseconds(outcome, percentile) for percentile in (50, 90, 99, 100)},
    }


def _lines(outcome: Outcome) -> list[str]:
    lines = [f"{outcome.requests} requests, {outcome.errors.total()} failed"]
    lines += [f"  {code} × {count}: {outcome.texts[code]}" for code, count in outcome.errors.most_common()]
    if outcome.agreement is not None:
        lines.append(
            f"{outcome.agreed} of {outcome.rows} rows agree ({outcome.agreement:.2%}); "
            f"the largest difference is {outcome.distance:.3g}"
        )
    if outcome.uncompared:
        lines.append(f"{outcome.uncompared} requests have no recorded answer")
    if outcome.seconds:
        percentiles = ", ".join(f"p{each} {_milliseconds(outcome, each)}" for each in (50, 90, 99, 100))
        lines.append(f"milliseconds: {percentiles}")
    return lines
