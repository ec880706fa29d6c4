"""`python -m loadtest smoke|steps|spike|soak`: a load, what it must hold, a report; `page` opens Locust's page."""

import argparse
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from loadtest import report, thresholds
from loadtest.delay import delayed
from loadtest.locust_process import HERE, Load, LoadFailedError, run
from loadtest.observer import Observer
from loadtest.recording import Recording
from loadtest.thresholds import Threshold, ThresholdsError
from stack.__main__ import MODEL, StackError, ensure_key, ensure_model, start
from stack.processes import ProcessError, child

SHAPES = {
    "smoke": "a few users for a quarter of a minute, held to the thresholds",
    "steps": "twice as many users at every step, beyond the knee",
    "spike": "ten times as many users of a sudden",
    "soak": "ten minutes",
}
BREACHED, CANNOT_START = 1, 2
ECHO_USERS, ECHO_SECONDS = 4, 6.0


@dataclass(frozen=True)
class Target:
    """What is loaded."""

    address: str
    key: str
    http: str = ""
    processes: tuple[tuple[str, int], ...] = ()
    """Names and process ids, where they run on this machine."""


def main() -> int:
    """Runs one load; 0 if it held, 1 if a threshold was breached, 2 if there was nothing to load."""
    options = _options()
    try:
        limits = thresholds.load(options.thresholds)
        baseline = Recording.load(options.baseline) if options.baseline else None
        with target(options, *_feedback_flags(options)) as found:
            if options.load == "page":
                return _page(options, found)
            return _load(options, found, limits, baseline)
    except (LoadFailedError, OSError, ProcessError, StackError, ThresholdsError, ValueError) as error:
        print(f"loadtest: {error}", file=sys.stderr)
        return CANNOT_START
    except KeyboardInterrupt:
        return 130


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m loadtest", description=__doc__)
    parser.add_argument("load", choices=[*SHAPES, "page"], help="; ".join(f"{n}: {text}" for n, text in SHAPES.items()))
    parser.add_argument("--address", help="host:port of a gateway that runs (default: start the stack)")
    parser.add_argument("--http", default="", help="its HTTP port, for the stages' times")
    parser.add_argument("--key", default=os.environ.get("TENSORGATE_KEY", ""), help="API key (TENSORGATE_KEY)")
    parser.add_argument("--thresholds", type=Path, default=HERE / "thresholds.yaml", help="(default: %(default)s)")
    parser.add_argument("--baseline", type=Path, help="the run.json of an earlier run to compare with")
    parser.add_argument("--out", type=Path, help="directory for the report (default: var/loadtest/<load>-<time>)")
    parser.add_argument("--delay-ms", type=float, default=0.0, help="make the gateway slower: a test of the thresholds")
    parser.add_argument("--processes", type=int, default=1, help="of Locust, for more than a core of load")
    tags = "call only these: tensorgate, tfserving, oip, stream, png, jpeg, tensor, batch"
    parser.add_argument("--tags", nargs="+", default=[], help=tags)
    parser.add_argument("--bad-share", default="0.02", help="share of bad input (default: %(default)s)")
    parser.add_argument(
        "--feedback-share", type=float, default=0.0, help="share of PNGs whose class is sent back (%(default)s)"
    )
    parser.add_argument("--model", default=MODEL, help="its name (default: %(default)s)")
    parser.add_argument("--images", default="", help="a directory of images to send instead of the model's samples")
    parser.add_argument(
        "--captured", help="requests that a gateway captured, to send instead: a file, directory or URL"
    )
    parser.add_argument("--ca-file", default="", help="encrypt, trusting the certificates in this file")
    parser.add_argument("--tls", action="store_true", help="encrypt, trusting public authorities")
    options = parser.parse_args()
    options.target = ["--model", options.model, "--images", options.images, "--ca-file", options.ca_file]
    options.target += ["--feedback-share", str(options.feedback_share), *(["--tls"] if options.tls else [])]
    return options


def _feedback_flags(options: argparse.Namespace) -> list[str]:
    """Labels of a load are no labels of anybody's model: a database and a receipt key of their own."""
    if not options.feedback_share:
        return []
    Path("var/loadtest").mkdir(parents=True, exist_ok=True)
    return ["--feedback.database-url=sqlite:///var/loadtest/feedback.db", f"--receipt-key={secrets.token_hex(16)}"]


@contextmanager
def target(options: argparse.Namespace, *flags: str) -> Iterator[Target]:
    """The gateway that the options name, or a stack with `flags` for its gateway, which ends with the context."""
    if options.address:
        yield Target(options.address, options.key, options.http)
        return
    with ExitStack() as children:
        ensure_model()
        key = ensure_key()
        stack = start(argparse.Namespace(server=0, gateway=0, http=0, transport="grpc.aio"), children, *flags)
        yield Target(
            stack.address, key, stack.http, (("gateway", stack.gateway.pid), ("model server", stack.server.pid))
        )


def _load(options: argparse.Namespace, found: Target, limits: Sequence[Threshold], baseline: Recording | None) -> int:
    out: Path = options.out or Path("var/loadtest") / f"{options.load}-{time.strftime('%Y%m%d-%H%M%S')}"
    out.mkdir(parents=True, exist_ok=True)
    print(f"The bare echo for {ECHO_SECONDS:g} s …", flush=True)
    with child("the echo", [sys.executable, "-m", "loadtest.bench.echo"], out / "echo.log") as process:
        address = process.wait_for("serving on ", 30).split()[-1]
        images = ("--images", options.images)
        reference = Load("EchoUser", address, users=ECHO_USERS, seconds=ECHO_SECONDS, options=images)
        echo = run(reference, out / "echo.json", key=found.key)
    print(f"{options.load}: {SHAPES[options.load]} …", flush=True)
    extra = [*options.target, "--bad-share", options.bad_share, *(["--tags", *options.tags] if options.tags else [])]
    if options.captured:
        extra += ["--captured", options.captured]
    if options.processes > 1:
        extra += ["--processes", str(options.processes)]
    with ExitStack() as context:
        through = found.address
        if options.delay_ms:
            through = context.enter_context(delayed(found.address, options.delay_ms / 1e3))
        observer = context.enter_context(Observer(dict(found.processes), found.http))
        load = Load("GatewayUser", through, shape=options.load, options=extra)
        measured = run(load, out / "run.json", key=found.key)
    outcomes = thresholds.check(limits, measured, echo)
    page = report.write(out, report.Run(options.load, measured, echo, outcomes, observer, baseline))
    summary = report.summary(measured, echo, outcomes)
    print(summary)
    print(f"\nreport: {page}")
    if job := os.environ.get("GITHUB_STEP_SUMMARY"):
        with Path(job).open("a", encoding="utf-8") as file:
            file.write(f"### Load test: {options.load}\n\n{summary}\n")
    return 0 if all(outcome.passed for outcome in outcomes) else BREACHED


def _page(options: argparse.Namespace, found: Target) -> int:
    print("Locust's page is at http://127.0.0.1:8089; Ctrl-C ends it.", flush=True)
    command = [sys.executable, "-m", "locust", "-f", str(HERE / "locustfile.py"), "GatewayUser"]
    command += ["--host", found.address, "--web-host", "127.0.0.1", "--loglevel", "WARNING", *options.target]
    environment = {**os.environ, "TENSORGATE_KEY": found.key, "PYTHONPATH": str(HERE.parent)}
    return subprocess.run(command, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
