"""What Locust runs: `locust -f loadtest/locustfile.py`, or `make loadtest` for its page.

Tags choose what is called: png, jpeg, tensor, batch. A shape is one more file: `-f loadtest/shapes/steps.py`.
"""

import os
import random
import sys
from argparse import ArgumentTypeError
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from locust import events, tag, task
from locust.argument_parser import LocustArgumentParser
from locust.env import Environment
from locust.runners import WorkerRunner

from loadtest import corpus, preflight
from loadtest.corpus import Corpus, CorpusError
from loadtest.grpc_user import GrpcUser, Request
from loadtest.locust_process import PREFIX
from loadtest.preflight import PreflightError
from loadtest.recorder import Recorder
from tensorgate.v1 import inference_service_pb2 as pb

PREDICT = "/tensorgate.v1.InferenceService/Predict"
CAPTURED = "/tensorflow.serving.PredictionService/Predict"
ECHO = "/bench.Echo/Echo"
CANNOT_START = 2


class GatewayUser(GrpcUser):
    """A caller of the gateway with digits, or whatever the images are, in every form."""

    host = "127.0.0.1:50051"
    corpus: Corpus
    captured_requests: Iterator[bytes]
    bad_share: float

    @tag("png")
    @task(6)
    def png(self) -> None:
        """One PNG."""
        self._predict("PNG", next(self.corpus.png))

    @tag("jpeg")
    @task(2)
    def jpeg(self) -> None:
        """One JPEG."""
        self._predict("JPEG", next(self.corpus.jpeg))

    @tag("tensor")
    @task(2)
    def tensor(self) -> None:
        """One tensor that needs no preprocessing."""
        self._predict("tensor", next(self.corpus.tensor))

    @tag("batch")
    @task(1)
    def batch(self) -> None:
        """Several PNGs in one request."""
        self._predict("batch", next(self.corpus.batch))

    def captured(self) -> None:
        """One request that a gateway captured; with --captured the only task."""
        self.call(Request("Predict, captured", CAPTURED, next(self.captured_requests)))

    def _predict(self, name: str, message: bytes) -> None:
        if random.random() < self.bad_share:  # noqa: S311 - no secret
            self.call(Request("Predict, bad image", PREDICT, next(self.corpus.bad), expected="INVALID_ARGUMENT"))
        else:
            self.call(Request(f"Predict, {name}", PREDICT, message, check=_failed_instances))


class EchoUser(GrpcUser):
    """A caller of the bare echo, with tensors: what this machine's gRPC takes at least."""

    host = "127.0.0.1:50052"
    corpus: Corpus

    @task
    def echo(self) -> None:
        """One tensor there and back."""
        message = next(self.corpus.tensor)
        check = partial(_differs, message)
        self.call(Request("Echo", ECHO, message, check=check))


def _differs(sent: bytes, answer: bytes) -> str | None:
    return None if answer == sent else "the echo is not what was sent"


def _failed_instances(answer: bytes) -> str | None:
    failed = [each.error for each in pb.PredictResponse.FromString(answer).predictions if each.HasField("error")]
    return f"{len(failed)} instances failed: {failed[0].reason}" if failed else None


def _share(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise ArgumentTypeError("expected a number from 0 to 1")
    return value


@events.init_command_line_parser.add_listener
def _options(parser: LocustArgumentParser) -> None:
    add: Any = parser.add_argument
    add("--key", default=os.environ.get("TENSORGATE_KEY"), is_secret=True, help="API key (TENSORGATE_KEY)")
    add("--model", default="digits", help="its name")
    add("--store", default="var/models", help="the model store, whose samples are sent")
    add("--images", default="", help="a directory of images to send instead of the samples")
    add("--captured", default="", help="captured requests to send instead: a file, directory, pattern or URL")
    add("--ca-file", default="", help="encrypt, trusting the certificates in this file")
    add("--timeout", type=float, default=10.0, help="deadline of a call in seconds")
    add("--batch", type=int, default=32, help="images in a batch")
    add("--bad-share", type=_share, default=0.0, help="share of requests that must be refused, 0 to 1")
    add(
        "--rate-per-user",
        type=float,
        default=0.0,
        help="calls a second of each user, answered or not (open loop); 0: the next call follows the answer",
    )
    add("--record", default="", include_in_web_ui=False, help="JSON file for every call's latency and status")


@events.init.add_listener
def _init(environment: Environment, **_: Any) -> None:
    """Records, and without a page prepares at once: what that takes is not to be a part of the load's time."""
    Recorder(environment)
    options: Any = environment.parsed_options
    if options.headless and not isinstance(environment.runner, WorkerRunner):
        try:
            _prepare(environment)
        except (CorpusError, PreflightError) as error:
            print(f"{PREFIX}{error}", file=sys.stderr)
            sys.exit(CANNOT_START)
        return

    @environment.events.test_start.add_listener
    def _start(**_: Any) -> None:
        # The page may have changed the host; a worker has it from its master.
        try:
            _prepare(environment)
        except (CorpusError, PreflightError) as error:
            print(f"{PREFIX}{error}", file=sys.stderr)
            assert environment.runner is not None
            environment.runner.stop()


def _prepare(environment: Environment) -> None:
    """Finds out before the load whether it can be answered, and makes the messages."""
    options: Any = environment.parsed_options
    users = {user.__name__ for user in environment.user_classes}
    shape = preflight.check(environment.host or GatewayUser.host, options) if "GatewayUser" in users else (28, 28)
    if options.captured and "GatewayUser" in users:
        GatewayUser.captured_requests = corpus.captured(options.captured, model=options.model)
        GatewayUser.tasks = [GatewayUser.captured]
        return
    images = Path(options.images) if options.images else corpus.samples(Path(options.store), options.model)
    GatewayUser.corpus = EchoUser.corpus = corpus.load(images, model=options.model, batch=options.batch, shape=shape)
    GatewayUser.bad_share = options.bad_share
