"""`python -m gateway rollout start|status|advance|promote|abort|history`: an operator's hand on a running gateway."""

import argparse
import sys
import time
from collections.abc import Iterator
from datetime import UTC
from typing import Any

import grpc

from tensorgate.channel import Target, metadata
from tensorgate.target_arguments import add_arguments, metadata_of
from tensorgate.v1 import rollout_service_pb2 as pb
from tensorgate.v1.rollout_service_pb2_grpc import RolloutServiceStub

DONE, FAILED, USAGE, TAKEN_BACK, TIMED_OUT = 0, 1, 2, 3, 4
_HELP = """exit status: 0 done, with --wait promoted; 1 the gateway refused or cannot be reached, or there is nothing
to wait for; 2 wrong usage;
3 with --wait: rolled back or aborted; 4 with --wait: neither within --timeout"""
_CALL_TIMEOUT = 30.0
_POLL = 1.0
_MODES = {"canary": pb.ROLLOUT_MODE_CANARY, "shadow": pb.ROLLOUT_MODE_SHADOW}
_STATUSES = {
    pb.ROLLOUT_STATE_NONE: FAILED,
    pb.ROLLOUT_STATE_PINNED: FAILED,
    pb.ROLLOUT_STATE_PROMOTED: DONE,
    pb.ROLLOUT_STATE_ROLLED_BACK: TAKEN_BACK,
    pb.ROLLOUT_STATE_ABORTED: TAKEN_BACK,
}
# While it is started again, or another takes its place.
_PASSING = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)


def run(arguments: list[str]) -> int:
    """Runs one command and returns the exit status."""
    options = _parser().parse_args(arguments)
    try:
        with _channel(Target(options.address, options.ca_file or options.tls)) as channel:
            status: int = options.command(_Gateway(channel, metadata(options.key, metadata_of(options))), options)
            return status
    except grpc.RpcError as error:
        print(f"rollout: {error.code().name}: {error.details()}", file=sys.stderr)
    except (OSError, ValueError) as error:
        print(f"rollout: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        print("rollout: left alone; it goes on", file=sys.stderr)
    return FAILED


def _channel(target: Target) -> grpc.Channel:
    credentials = target.credentials()
    return grpc.secure_channel(target.address, credentials) if credentials else grpc.insecure_channel(target.address)


class _Gateway:
    """The gateway's RolloutService, with what identifies the caller."""

    def __init__(self, channel: grpc.Channel, identity: tuple[tuple[str, str], ...]) -> None:
        self._stub = RolloutServiceStub(channel)
        self._metadata = identity

    def __call__(self, method: str, request: Any) -> Any:
        return getattr(self._stub, method)(request, metadata=self._metadata, timeout=_CALL_TIMEOUT)

    def rollout(self, model: str) -> pb.Rollout:
        found: pb.Rollout = self("GetRollout", pb.GetRolloutRequest(model=model)).rollout
        return found


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m gateway rollout",
        description="Roll-outs on a running gateway; changes need a key with the scope admin.",
        epilog=_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_arguments(parser)
    parser.add_argument("--model", default="", help="the model (default: the only one)")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    starting = commands.add_parser("start", help="put a version on trial")
    starting.add_argument("candidate", type=int, metavar="VERSION")
    starting.add_argument("--stable", type=int, default=0, metavar="VERSION", help="default: what answers now")
    starting.add_argument("--mode", choices=_MODES, default="canary", help="(%(default)s)")
    starting.add_argument("--steps", type=_percentages, default=[], help="percentages, e.g. 1,5,25,50,100 (default)")
    starting.add_argument("--min-samples", type=int, help="calls of the candidate in a step (default: 500)")
    starting.add_argument("--min-seconds", type=float, help="how long a step lasts at least (default: 300)")
    starting.add_argument("--min-labels", type=int, help="labelled answers before it is promoted (default: 0)")
    starting.add_argument(
        "--copied", type=float, metavar="PERCENT", help="in the shadow, of the traffic (default: 100)"
    )
    starting.add_argument("--by-hand", action="store_true", help="go on by `advance` alone")
    starting.set_defaults(command=_start)
    changes = [starting]
    for name, text, command in (
        ("advance", "go to the next step, whatever the evidence says", _advance),
        ("promote", "make the candidate stable, whatever the evidence says", _promote),
        ("abort", "take the candidate back", _abort),
    ):
        changing = commands.add_parser(name, help=text)
        changing.add_argument("--generation", type=int, default=0, help="refuse if the plan is of another by now")
        changing.set_defaults(command=command)
        changes.append(changing)
    for changing in changes:
        changing.add_argument("--reason", default="", help="why, for the history")
    showing = commands.add_parser("status", help="how it stands, and why")
    showing.set_defaults(command=_status)
    for waiting in (starting, showing):
        waiting.add_argument("--wait", action="store_true", help="until it has ended, saying what happens")
        waiting.add_argument("--timeout", type=float, default=86_400.0, help="seconds to wait (%(default)s)")
    history = commands.add_parser("history", help="who changed what, when and why, newest first")
    history.add_argument("--limit", type=int, default=20, help="(%(default)s)")
    history.set_defaults(command=_history)
    return parser


def _percentages(text: str) -> list[float]:
    return [float(part) for part in text.split(",")]


def _start(gateway: _Gateway, options: argparse.Namespace) -> int:
    rules = pb.RolloutRules(
        step_percents=options.steps,
        min_samples=options.min_samples,
        min_labels=options.min_labels,
        copied_percent=options.copied,
        auto_advance=not options.by_hand,
    )
    if options.min_seconds is not None:
        rules.min_duration.FromMicroseconds(round(options.min_seconds * 1e6))
    request = pb.StartRolloutRequest(
        model=options.model,
        candidate_version=options.candidate,
        stable_version=options.stable,
        mode=_MODES[options.mode],
        rules=rules,
        reason=options.reason,
    )
    rollout = gateway("StartRollout", request).rollout
    return _follow(gateway, rollout, options) if options.wait else _show(rollout)


def _advance(gateway: _Gateway, options: argparse.Namespace) -> int:
    request = pb.AdvanceRolloutRequest(model=options.model, generation=options.generation, reason=options.reason)
    return _show(gateway("AdvanceRollout", request).rollout)


def _promote(gateway: _Gateway, options: argparse.Namespace) -> int:
    request = pb.PromoteRolloutRequest(model=options.model, generation=options.generation, reason=options.reason)
    return _show(gateway("PromoteRollout", request).rollout)


def _abort(gateway: _Gateway, options: argparse.Namespace) -> int:
    request = pb.AbortRolloutRequest(model=options.model, generation=options.generation, reason=options.reason)
    return _show(gateway("AbortRollout", request).rollout)


def _status(gateway: _Gateway, options: argparse.Namespace) -> int:
    rollout = gateway.rollout(options.model)
    return _follow(gateway, rollout, options) if options.wait else _show(rollout)


def _history(gateway: _Gateway, options: argparse.Namespace) -> int:
    for event in _events(gateway, options.model, options.limit):
        print(_event_line(event))
    return DONE


def _events(gateway: _Gateway, model: str, limit: int) -> Iterator[pb.RolloutEvent]:
    token = ""
    while limit > 0:
        request = pb.ListRolloutEventsRequest(model=model, page_size=min(limit, 100), page_token=token)
        answer = gateway("ListRolloutEvents", request)
        yield from answer.events
        limit -= len(answer.events)
        token = answer.next_page_token
        if not token:
            return


def _follow(gateway: _Gateway, rollout: pb.Rollout, options: argparse.Namespace) -> int:
    """Prints each change and what is waited for, until the roll-out has ended; its exit status."""
    deadline = time.monotonic() + options.timeout
    generation, said = 0, ""
    while True:
        if rollout.generation > generation:
            new = [event for event in _events(gateway, rollout.model, 20) if event.generation > generation]
            # Of the roll-outs before this one nothing.
            current = [event for event in new if event.change.time.ToNanoseconds() >= _started(rollout)]
            for event in reversed(current):
                print(_event_line(event), flush=True)
            generation = rollout.generation
        if rollout.state != pb.ROLLOUT_STATE_RUNNING:
            return _STATUSES[rollout.state]
        kinds = "; ".join(_wait_kind(reason) for reason in rollout.verdict.reasons)
        if kinds != said and kinds:
            said = kinds
            print(f"  waiting: {'; '.join(rollout.verdict.reasons)}", flush=True)
        if time.monotonic() > deadline:
            print(f"rollout: not ended within {options.timeout:g} s; it goes on", file=sys.stderr)
            return TIMED_OUT
        time.sleep(_POLL)
        try:
            rollout = gateway.rollout(options.model)
        except grpc.RpcError as error:
            if error.code() not in _PASSING:
                raise


def _started(rollout: pb.Rollout) -> int:
    return rollout.started.time.ToNanoseconds()


def _wait_kind(reason: str) -> str:
    """A reason without its numbers, which change at every look."""
    return "".join(letter for letter in reason if not letter.isdigit())


def _show(rollout: pb.Rollout) -> int:
    state = pb.RolloutState.Name(rollout.state).removeprefix("ROLLOUT_STATE_")
    print(f"{rollout.model}: {state}" + (f", generation {rollout.generation}" if rollout.generation else ""))
    for version in rollout.versions:
        role = pb.RolloutRole.Name(version.role).removeprefix("ROLLOUT_ROLE_").lower()
        shadow = rollout.mode == pb.ROLLOUT_MODE_SHADOW and version.role == pb.ROLLOUT_ROLE_CANDIDATE
        share = f"{rollout.rules.copied_percent:g} % copied" if shadow else f"{version.share_percent:g} %"
        missing = "" if version.available or version.role == pb.ROLLOUT_ROLE_PREVIOUS else ", not AVAILABLE"
        print(f"  version {version.version}: {role}, {share}{missing}")
    if rollout.state != pb.ROLLOUT_STATE_NONE:
        print(
            f"  changed {_when(rollout.changed)} by {rollout.changed.by}: {rollout.changed.reason or 'no reason given'}"
        )
    for reason in rollout.verdict.reasons:
        print(f"  {pb.RolloutDecision.Name(rollout.verdict.decision).removeprefix('ROLLOUT_DECISION_')}: {reason}")
    for finding in rollout.verdict.findings:
        stable, candidate = finding.stable, finding.candidate
        print(
            f"  {finding.metric}: candidate {candidate.bad} of {candidate.total} bad, stable {stable.bad} of "
            f"{stable.total}; {max(finding.evidence_ratio, 0):.0%} of the evidence that takes it back"
        )
    if rollout.problem:
        print(f"  the plan cannot be read, the last good one stays: {rollout.problem}")
    return DONE


def _event_line(event: pb.RolloutEvent) -> str:
    change = event.change
    return f"{_when(change)} {event.action} by {change.by}: {event.after}" + (
        f" ({change.reason})" if change.reason else ""
    )


def _when(change: pb.RolloutChange) -> str:
    return f"{change.time.ToDatetime(UTC):%Y-%m-%d %H:%M:%S} UTC"
