"""What Locust runs: `locust -f loadtest/locustfile.py`, or `make loadtest` for its page.

Tags choose what is called: a protocol (tensorgate, tfserving, oip), streams (stream), or a payload of tensorgate's
(png, jpeg, tensor, batch). A shape is one more file: `-f loadtest/shapes/steps.py`.
"""

import os
import random
import sys
from argparse import ArgumentTypeError
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from locust import events, tag, task
from locust.argument_parser import LocustArgumentParser
from locust.env import Environment
from locust.runners import WorkerRunner

from loadtest import corpus, preflight
from loadtest.corpus import Corpus, CorpusError, Input
from loadtest.grpc_user import GrpcUser, Request
from loadtest.locust_process import PREFIX
from loadtest.preflight import PreflightError
from loadtest.recorder import Recorder
from serving.wire import open_inference_pb2 as oip
from serving.wire import tensorflow_serving_pb2 as tfs
from tensorgate.v1 import feedback_service_pb2 as feedback_pb
from tensorgate.v1 import inference_service_pb2 as pb

PREDICT = "/tensorgate.v1.InferenceService/Predict"
STREAM_PREDICT = "/tensorgate.v1.InferenceService/StreamPredict"
SUBMIT_FEEDBACK = "/tensorgate.v1.FeedbackService/SubmitFeedback"
TFS_PREDICT = "/tensorflow.serving.PredictionService/Predict"
MODEL_INFER = "/inference.GRPCInferenceService/ModelInfer"
ECHO = "/bench.Echo/Echo"
INVALID_ARGUMENT = "INVALID_ARGUMENT"
CANNOT_START = 2
# The protocols with the tags that call for them.
PROTOCOLS = {
    "tensorgate": {"tensorgate", "stream", "png", "jpeg", "tensor", "batch"},
    "tfserving": {"tfserving"},
    "oip": {"oip"},
}


class GatewayUser(GrpcUser):
    """A caller of the gateway with digits, or whatever the images are, in every form and protocol."""

    host = "127.0.0.1:50051"
    corpus: Corpus
    captured_requests: Iterator[bytes]
    bad_share: float
    feedback_share: float

    @tag("tensorgate", "png")
    @task(6)
    def png(self) -> None:
        """One PNG, and for a share of them what it shows."""
        message = next(self.corpus.png)
        self._predict("PNG", message, self.corpus.truths.get(message))

    @tag("tensorgate", "jpeg")
    @task(2)
    def jpeg(self) -> None:
        """One JPEG."""
        self._predict("JPEG", next(self.corpus.jpeg))

    @tag("tensorgate", "tensor")
    @task(2)
    def tensor(self) -> None:
        """One tensor that needs no preprocessing."""
        self._predict("tensor", next(self.corpus.tensor))

    @tag("tensorgate", "batch")
    @task(1)
    def batch(self) -> None:
        """Several PNGs in one request."""
        self._predict("batch", next(self.corpus.batch))

    def captured(self) -> None:
        """One request that a gateway captured; with --captured the only task."""
        self.call(Request("Predict, captured", TFS_PREDICT, next(self.captured_requests)))

    @tag("stream")
    @task(1)
    def stream(self) -> None:
        """Several PNGs, each a request of its own on one stream; timed to its end."""
        bad = self._bad()
        messages = next(self.corpus.bad_stream if bad else self.corpus.stream)
        check = partial(_stream_answers, len(messages), bad)
        self.call(Request("StreamPredict, " + ("one bad" if bad else "PNG"), STREAM_PREDICT, messages, check=check))

    @tag("tfserving")
    @task(2)
    def tfserving(self) -> None:
        """One tensor by TensorFlow Serving's protocol."""
        if self._bad():
            message = next(self.corpus.bad_tfserving)
            self.call(Request("TFS Predict, bad tensor", TFS_PREDICT, message, expected=INVALID_ARGUMENT))
        else:
            self.call(Request("TFS Predict, tensor", TFS_PREDICT, next(self.corpus.tfserving), check=_tfs_outputs))

    @tag("oip")
    @task(2)
    def open_inference(self) -> None:
        """One tensor by the Open Inference Protocol."""
        if self._bad():
            message = next(self.corpus.bad_oip)
            self.call(Request("ModelInfer, bad tensor", MODEL_INFER, message, expected=INVALID_ARGUMENT))
        else:
            self.call(Request("ModelInfer, tensor", MODEL_INFER, next(self.corpus.oip), check=_oip_outputs))

    def _predict(self, name: str, message: bytes, truth: str | None = None) -> None:
        if self._bad():
            self.call(Request("Predict, bad image", PREDICT, next(self.corpus.bad), expected=INVALID_ARGUMENT))
        else:
            request = Request(f"Predict, {name}", PREDICT, message, check=_failed_instances)
            if truth and random.random() < self.feedback_share:  # noqa: S311 - no secret
                request = replace(request, then=partial(_feedback, truth))
            self.call(request)

    def _bad(self) -> bool:
        return random.random() < self.bad_share  # noqa: S311 - no secret


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


def _differs(sent: bytes, answers: Sequence[bytes]) -> str | None:
    return None if answers == (sent,) else "the echo is not what was sent"


def _failed_instances(answers: Sequence[bytes]) -> str | None:
    failed = [each.error for each in pb.PredictResponse.FromString(answers[0]).predictions if each.HasField("error")]
    return f"{len(failed)} instances failed: {failed[0].reason}" if failed else None


def _feedback(truth: str, answers: Sequence[bytes]) -> Request:
    (prediction,) = pb.PredictResponse.FromString(answers[0]).predictions
    request = feedback_pb.SubmitFeedbackRequest(feedback=[feedback_pb.Feedback(id=prediction.id, label=truth)])
    return Request("SubmitFeedback", SUBMIT_FEEDBACK, request.SerializeToString())


def _stream_answers(number: int, bad: bool, answers: Sequence[bytes]) -> str | None:
    """All in order and none failed, but the last one if it is bad."""
    parsed = [pb.StreamPredictResponse.FromString(answer) for answer in answers]
    if [each.sequence for each in parsed] != list(range(number)):
        return f"expected answers 0 to {number - 1}, got {[each.sequence for each in parsed]}"
    failed = [each.sequence for each in parsed if each.HasField("error")]
    expected = [number - 1] if bad else []
    return None if failed == expected else f"answers {failed} have errors, expected {expected}"


def _tfs_outputs(answers: Sequence[bytes]) -> str | None:
    return None if tfs.PredictResponse.FromString(answers[0]).outputs else "the answer has no outputs"


def _oip_outputs(answers: Sequence[bytes]) -> str | None:
    return None if oip.ModelInferResponse.FromString(answers[0]).outputs else "the answer has no outputs"


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
    add("--tls", action="store_true", help="encrypt, trusting public authorities")
    add(
        "--metadata",
        default=os.environ.get("TENSORGATE_METADATA", ""),
        is_secret=True,
        help="more metadata of every call, a line NAME=VALUE for each (TENSORGATE_METADATA)",
    )
    add("--timeout", type=float, default=10.0, help="deadline of a call in seconds")
    add("--batch", type=int, default=32, help="images in a batch")
    add("--bad-share", type=_share, default=0.0, help="share of requests that must be refused, 0 to 1")
    add("--feedback-share", type=_share, default=0.0, help="share of PNGs whose class is sent back, 0 to 1")
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
    takes = Input((28, 28))
    if "GatewayUser" in users:
        tags, without = set(options.tags or ()), set(options.exclude_tags or ())
        asked = [name for name, its in PROTOCOLS.items() if (not tags or its & tags) and name not in without]
        if not asked:
            known = sorted(set().union(*PROTOCOLS.values()))
            raise PreflightError(f"nothing is tagged {', '.join(sorted(tags))}; expected some of {', '.join(known)}")
        takes = preflight.check(environment.host or GatewayUser.host, options, asked)
        if options.feedback_share:
            preflight.check_feedback(environment.host or GatewayUser.host, options)
        if options.captured:
            GatewayUser.captured_requests = corpus.captured(options.captured, model=options.model)
            GatewayUser.tasks = [GatewayUser.captured]
            return
    images = Path(options.images) if options.images else corpus.samples(Path(options.store), options.model)
    GatewayUser.corpus = EchoUser.corpus = corpus.load(images, model=options.model, batch=options.batch, takes=takes)
    GatewayUser.bad_share, GatewayUser.feedback_share = options.bad_share, options.feedback_share
