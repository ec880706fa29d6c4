"""`python -m stack.rollout_demo`: two new versions under traffic; one is promoted, the worse one rolled back.

Ends with status 0 if that is how it went, and not one call has failed.
"""

import argparse
import asyncio
import itertools
import random
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import ExitStack
from io import BytesIO
from pathlib import Path
from typing import Self

import numpy as np
from PIL import Image

from gateway.auth.keys import KeysFileError
from gateway.rollout import commands as rollout_commands
from stack.__main__ import MODEL, MODELS, StackError, ensure_key, ensure_model, keep_receipt_key, start
from stack.processes import ProcessError
from tensorgate import AsyncClient, Client, TensorgateError
from tensorgate.v1 import model_pb2

STORE = Path("var/rollout-demo")
# Noise on the weights of the version that is there: next to none, and a lot.
GOOD, WORSE = "0.02", "2.5"
# Nobody wants to wait until it is certain that the good one is not a point worse.
TOLERATED = "--rollout.max-quality-drop=0.03"
CALLERS, PAUSE = 8, 0.03
PICTURES = 400
PUBLISHING, ROLLOUT = 150.0, 120
RULES = ("--steps", "10,50,100", "--min-samples", "60", "--min-seconds", "3", "--timeout", str(ROLLOUT), "--wait")


class Traffic:
    """Callers who send digits, and say afterwards what they were."""

    def __init__(self, address: str, key: str, pictures: list[tuple[bytes, str]]) -> None:
        self.failed: Counter[str] = Counter()
        self.answered: Counter[int] = Counter()
        self.right: Counter[int] = Counter()
        self._address, self._key = address, key
        self._pictures = pictures
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="traffic")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()

    async def _run(self) -> None:
        async with AsyncClient(self._address, key=self._key) as client:
            await asyncio.gather(*(self._call(client) for _ in range(CALLERS)))

    async def _call(self, client: AsyncClient) -> None:
        while not self._stopping.is_set():
            picture, label = random.choice(self._pictures)  # noqa: S311  # traffic, and no secret
            try:
                answer = await client.predict(picture, model=MODEL)
            except TensorgateError as error:
                self.failed[str(error)] += 1
                continue
            self.answered[answer.version] += 1
            self.right[answer.version] += answer.label == label
            try:
                await client.feedback(answer.id, label)
            except TensorgateError as error:
                self.failed[str(error)] += 1
            await asyncio.sleep(PAUSE)


def main() -> int:
    """Runs the demonstration; 0 if it went as it should, 1 if not."""
    try:
        ensure_model()
        started = time.monotonic()
        key = ensure_key()
        keep_receipt_key()
        newest = _copy_newest()
        with ExitStack() as children:
            ports = argparse.Namespace(server=0, gateway=0, http=0, transport="grpc.aio")
            labels = f"--feedback.database-url=sqlite:///{STORE / 'feedback.db'}"
            flags = ("--rollout.pin", "--rollout.poll-interval=0.5", TOLERATED, labels)
            publisher = children.enter_context(_publisher())
            processes = start(ports, children, *flags, models=STORE)
            with Traffic(processes.address, key, _pictures(newest)) as traffic:
                good, worse = _published(publisher, processes.address, key)
                shadow_first = ("--mode", "shadow", "--min-labels", "50")
                outcomes = [
                    _roll_out(processes.address, key, good, *shadow_first, "--reason", "a little noise"),
                    _roll_out(processes.address, key, worse, "--reason", "a lot of noise"),
                ]
        _report(traffic, time.monotonic() - started)
    except (StackError, ProcessError, TensorgateError, KeysFileError, OSError) as error:
        print(f"stack: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    expected = [rollout_commands.DONE, rollout_commands.TAKEN_BACK]
    if outcomes != expected:
        print(f"stack: the roll-outs ended with {outcomes}; expected {expected}", file=sys.stderr)
        return 1
    if traffic.failed:
        print(f"stack: calls failed: {dict(traffic.failed)}", file=sys.stderr)
        return 1
    return 0


def _copy_newest() -> Path:
    """A model store of the demonstration's own, with the newest version as its first."""
    shutil.rmtree(STORE, ignore_errors=True)
    newest = max((MODELS / MODEL).glob("[0-9]*"), key=lambda path: int(path.name))
    shutil.copytree(newest, STORE / MODEL / "1")
    return newest


def _pictures(version: Path) -> list[tuple[bytes, str]]:
    """The version's held-out samples turned, moved and scratched a little, each with its label."""
    numbers = np.random.default_rng(7)
    samples = sorted((version / "assets.extra/samples").glob("*.png"))
    if not samples:
        raise StackError(f"{version} holds no samples; remove it to train again")
    pictures = []
    for sample in itertools.islice(itertools.cycle(samples), PICTURES):
        with Image.open(sample) as image:
            turned = image.convert("L").rotate(numbers.uniform(-12, 12), Image.Resampling.BILINEAR)
        pixels = np.asarray(turned) + numbers.normal(0, 12, (turned.height, turned.width))
        file = BytesIO()
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(file, "PNG")
        pictures.append((file.getvalue(), sample.name.split("-")[0]))
    return pictures


def _publisher() -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "trainer.perturbed", str(STORE), MODEL, GOOD, WORSE]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def _published(publisher: "subprocess.Popen[str]", address: str, key: str) -> tuple[int, int]:
    """The good and the worse version, once both are served. The plan keeps traffic away from them meanwhile."""
    print("\nPublishing a version with a little noise on its weights, and one with a lot …", flush=True)
    output, _ = publisher.communicate(timeout=PUBLISHING)
    if publisher.returncode:
        raise StackError("publishing failed")
    print(output, end="", flush=True)
    good, worse = (int(line.split()[1]) for line in output.splitlines())
    deadline = time.monotonic() + PUBLISHING
    with Client(address, key=key) as client:
        while not {good, worse} <= _available(client):
            if time.monotonic() > deadline:
                raise StackError("the model server does not serve what was published")
            time.sleep(0.5)
    return good, worse


def _available(client: Client) -> set[int]:
    versions = client.get_model(MODEL).message.versions
    return {version.version for version in versions if version.state == model_pb2.MODEL_VERSION_STATE_AVAILABLE}


def _roll_out(address: str, key: str, version: int, *flags: str) -> int:
    print(f"\npython -m gateway rollout start {version} {' '.join(flags)} --wait", flush=True)
    return rollout_commands.run(["--address", address, "--key", key, "start", str(version), *flags, *RULES])


def _report(traffic: Traffic, seconds: float) -> None:
    print(f"\n{'version':>8}{'answers':>9}{'right':>8}")
    for version, answers in sorted(traffic.answered.items()):
        print(f"{version:>8}{answers:>9}{traffic.right[version] / answers:>8.1%}")
    print(f"\n{traffic.answered.total()} calls answered, {traffic.failed.total()} failed, in {seconds:.0f} s")


if __name__ == "__main__":
    sys.exit(main())
