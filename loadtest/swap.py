"""`python -m loadtest.swap`: an embedded server under load while versions are published one after another.

Every call must be answered, by a version that was AVAILABLE while it was under way; and what the versions before took
of memory must come back.
"""

import argparse
import asyncio
import shutil
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from loadtest.model import newest, request_of
from serving.wire import tensorflow_serving_pb2 as tfs
from serving.wire.tensorflow_serving_pb2_grpc import ModelServiceStub, PredictionServiceStub
from stack.processes import Child, child

MODEL = "swapped"
CALLERS = 8
TIMEOUT = 60.0


@dataclass
class Outcome:
    """What became of a swap under load."""

    answers: Counter[int] = field(default_factory=Counter)
    """Answers by version."""
    failures: list[str] = field(default_factory=list)
    """Calls that failed."""
    strangers: list[str] = field(default_factory=list)
    """Answers of versions that were not AVAILABLE while the call was under way."""
    memory: list[int] = field(default_factory=list)
    """Resident bytes of the server after each swap, where /proc tells."""


async def swap(
    model: Path, request: tfs.PredictRequest | None, *, versions: int, seconds: float, flags: tuple[str, ...] = ()
) -> Outcome:
    """Publishes `model` as versions 1, 2, … `versions` within `seconds`, while callers send `request` all the time.

    None is a row of zeros.
    """
    outcome = Outcome()
    with tempfile.TemporaryDirectory() as scratch, ExitStack() as children:
        base = Path(scratch) / "base"
        _publish(model, base, 1)
        command = [sys.executable, "-m", "serving.embedded", "--port=0", *flags]
        command += [f"--model_name={MODEL}", f"--model_base_path={base}"]
        server = children.enter_context(child("the server", command, Path(scratch) / "log"))
        address = (await asyncio.to_thread(server.wait_for, "serving gRPC on ", TIMEOUT)).split()[-1]
        if request is None:
            request = await asyncio.to_thread(request_of, address, MODEL, 1)
        request.model_spec.name = MODEL
        async with grpc.aio.insecure_channel(address) as channel:
            models, watch = ModelServiceStub(channel), _Watch()
            stub = PredictionServiceStub(channel)
            callers = [asyncio.create_task(_call(stub, request, watch, outcome)) for _ in range(CALLERS)]
            try:
                await _until(models, watch, 1)
                for version in range(2, versions + 1):
                    began = time.monotonic()
                    _publish(model, base, version)
                    await _until(models, watch, version)
                    outcome.memory += _resident(server)
                    await asyncio.sleep(max(0, seconds / (versions - 1) - (time.monotonic() - began)))
            finally:
                watch.done = True
                await asyncio.gather(*callers)
    return outcome


@dataclass
class _Watch:
    """Which versions may answer."""

    oldest: int = 1
    """Those before it have ended."""
    published: int = 1
    """Those after it are not there yet."""
    done: bool = False


def _publish(model: Path, base: Path, version: int) -> None:
    # Complete when it gets its name: a copy is not atomic, a rename is.
    partial = base.with_name(f"{base.name}.partial")
    shutil.copytree(model, partial)
    base.mkdir(exist_ok=True)
    partial.rename(base / str(version))


async def _until(models: Any, watch: _Watch, version: int) -> None:
    """Returns once `version` is the only one that is AVAILABLE."""
    watch.published = version
    request = tfs.GetModelStatusRequest(model_spec=tfs.ModelSpec(name=MODEL))
    deadline = time.monotonic() + TIMEOUT
    states = tfs.ModelVersionStatus.State
    while True:
        status = await models.GetModelStatus(request, timeout=TIMEOUT)
        live = {entry.version: entry.state for entry in status.model_version_status if entry.state != states.END}
        if live == {version: states.AVAILABLE}:
            watch.oldest = version
            return
        if time.monotonic() > deadline:
            raise TimeoutError(f"version {version} did not take over: {live}")
        await asyncio.sleep(0.02)


async def _call(stub: Any, request: tfs.PredictRequest, watch: _Watch, outcome: Outcome) -> None:
    while not watch.done:
        oldest = watch.oldest
        try:
            response = await stub.Predict(request, timeout=TIMEOUT)
        except grpc.aio.AioRpcError as error:
            outcome.failures.append(f"{error.code().name}: {error.details()}")
            continue
        version = response.model_spec.version.value
        outcome.answers[version] += 1
        if not oldest <= version <= watch.published:
            outcome.strangers.append(f"version {version} answered; expected {oldest} to {watch.published}")


def _resident(server: Child) -> list[int]:
    try:
        status = Path(f"/proc/{server.pid}/status").read_text()
    except OSError:
        return []
    return [int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmRSS:")]


def main() -> int:
    """Swaps and says what became of it; 1 if a call failed, a wrong version answered, or memory grew by a fifth."""
    parser = argparse.ArgumentParser(prog="python -m loadtest.swap", description=__doc__)
    parser.add_argument("--model", type=Path, help="directory of a SavedModel (default: the newest digits)")
    parser.add_argument("--request", type=Path, help="file with a PredictRequest for it (default: a row of zeros)")
    parser.add_argument("--versions", type=int, default=10, help="published in turn (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=60, help="for all of them (default: %(default)s)")
    parser.add_argument("--batching", action="store_true", help="with --enable_batching")
    options = parser.parse_args()
    request = tfs.PredictRequest.FromString(options.request.read_bytes()) if options.request else None
    flags = ("--enable_batching",) if options.batching else ()
    outcome = asyncio.run(
        swap(options.model or newest(), request, versions=options.versions, seconds=options.seconds, flags=flags)
    )
    print(f"{outcome.answers.total()} answers by version: {dict(sorted(outcome.answers.items()))}")
    growth = outcome.memory[-1] / outcome.memory[0] - 1 if outcome.memory else 0.0
    print(f"memory after the first swap and the last: {growth:+.1%}")
    for problem in (*outcome.failures, *outcome.strangers):
        print(problem, file=sys.stderr)
    return int(bool(outcome.failures or outcome.strangers) or growth > 1 / 5)


if __name__ == "__main__":
    sys.exit(main())
