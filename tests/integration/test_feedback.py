"""Feedback through a real gateway: what is taken, what is refused, and that nothing acknowledged is ever lost."""

import asyncio
import contextlib
import json
import os
import re
import resource
import signal
import sqlite3
import time
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from gateway.receipts import Receipts, model_digest
from tensorgate import AsyncClient, Client, TensorgateError
from tensorgate.v1 import feedback_service_pb2 as pb
from tensorgate.v1 import quality_service_pb2 as quality_pb
from tensorgate.v1.feedback_service_pb2_grpc import FeedbackServiceStub
from tensorgate.v1.quality_service_pb2_grpc import QualityServiceStub
from tests.fakes import digits
from tests.fakes.model_server import FakeModelServer
from tests.fakes.postgres_server import PostgresServer, postgres_server
from tests.integration.conftest import TIMEOUT, Gateway, StartGateway, eventually, gateways
from tests.integration.test_client import command

KEY = "k" * 32
PNG = digits.encode(digits.band(3))
SCOPES = ("predict:*", "feedback:*")
receipts = Receipts(KEY.encode())


def receipt(version: int = 1, model: str = "digits") -> str:
    """An id as the gateway would have given it."""
    (text,) = receipts.issue(model_digest(model), version, [(3, None, 0.9)])
    return text


def start(start_gateway: StartGateway, server: FakeModelServer, url: str, *flags: str, **options: Any) -> Gateway:
    """A gateway that keeps labels at `url`."""
    flags = (f"--feedback.database-url={url}", f"--receipt-key={KEY}", *flags)
    return start_gateway(server.address, *flags, **{"scopes": SCOPES} | options)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the shared gateway keeps its labels."""
    return tmp_path_factory.mktemp("labels") / "deeper" / "feedback.db"


@pytest.fixture(scope="module")
def shared(
    shared_server: FakeModelServer, tmp_path_factory: pytest.TempPathFactory, file: Path, transport: str
) -> Iterator[Gateway]:
    """A gateway that the tests of this module share."""
    with gateways(tmp_path_factory.mktemp("gateway"), transport) as start_gateway:
        yield start(start_gateway, shared_server, f"sqlite:///{file}")


def kept(file: Path) -> dict[bytes, int]:
    """The labels in force by receipt."""
    with contextlib.closing(sqlite3.connect(file)) as connection:
        return dict(connection.execute("SELECT receipt, label_class FROM label"))


def count(gateway: Gateway, metric: str) -> float:
    """What a metric says, e.g. `name{label="value"}`; 0 where there is none."""
    lines = gateway.get("/metrics")[1].splitlines()
    return next((float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"{metric} ")), 0.0)


async def quality_of(gateway: Gateway, **fields: Any) -> quality_pb.GetQualityResponse:
    """What GetQuality answers."""
    async with grpc.aio.insecure_channel(gateway.address) as channel:
        stub = QualityServiceStub(channel)
        request = quality_pb.GetQualityRequest(**fields)
        answer: quality_pb.GetQualityResponse = await stub.GetQuality(
            request, metadata=[("x-api-key", gateway.key)], timeout=TIMEOUT
        )
        return answer


async def refusal(client: AsyncClient, *arguments: Any, **options: Any) -> tuple[str, str, str]:
    """How feedback is refused: code, reason and field."""
    with pytest.raises(TensorgateError) as caught:
        await client.feedback(*arguments, **options)
    return caught.value.code, caught.value.reason, caught.value.field


async def test_a_label_counts_once(shared: Gateway, file: Path) -> None:
    """A prediction's first label is booked, the same again changes nothing, another replaces it and is recorded."""
    async with shared.client() as client:
        answer = await client.predict(PNG)
        assert [await client.feedback(answer.id, truth) for truth in ("4", 4, "3")] == [
            "booked",
            "unchanged",
            "changed",
        ]
    identity = receipts.check(answer.id).id
    assert kept(file)[identity] == 3
    with contextlib.closing(sqlite3.connect(file)) as connection:
        query = "SELECT old_class, new_class, client FROM label_change WHERE receipt = ?"
        assert connection.execute(query, (identity,)).fetchall() == [(4, 3, "tester")]
    line = shared.calls()[-1]
    assert (line["method"], line["model"], line["version"], line["instances"]) == (
        "/tensorgate.v1.FeedbackService/SubmitFeedback",
        "digits",
        1,
        1,
    )
    assert count(shared, 'tensorgate_feedback_labels_total{model="digits",outcome="changed"}') >= 1


async def test_bad_labels(shared: Gateway) -> None:
    """Whatever is wrong with a label or an id, the caller is told what it is; nothing of it is booked."""
    before = count(shared, 'tensorgate_feedback_refusals_total{reason="LABEL_UNKNOWN"}')
    bad, later = "INVALID_ARGUMENT", datetime.now(UTC) + timedelta(minutes=5)
    good = receipt()
    async with shared.client() as client:
        for text, reason in (
            ("", "RECEIPT_MALFORMED"),
            ("x" * 4000, "RECEIPT_MALFORMED"),
            (good[:30] + ("A" if good[30] != "A" else "B") + good[31:], "RECEIPT_FORGED"),
            (*Receipts(b"o" * 16).issue(model_digest("digits"), 1, [(3, None, 0.0)]), "RECEIPT_KEY_UNKNOWN"),
        ):
            assert await refusal(client, text, "3") == (bad, reason, "feedback[0].id")
        assert await refusal(client, good, "cat") == (bad, "LABEL_UNKNOWN", "feedback[0].label")
        assert await refusal(client, good, 10) == (bad, "LABEL_UNKNOWN", "feedback[0].class_index")
        assert await refusal(client, good, -1) == (bad, "LABEL_UNKNOWN", "feedback[0].class_index")
        assert (await refusal(client, good, 0.5))[1] == "LABEL_KIND"
        assert await refusal(client, good, "3", observed_at=later) == (
            bad,
            "LABEL_FROM_FUTURE",
            "feedback[0].observed_at",
        )
        assert (await refusal(client, receipt(version=9), "3"))[1] == "VERSION_UNKNOWN"
        assert (await refusal(client, receipt(model="cats"), "3"))[0] == "NOT_FOUND"
        raw = receipts.issue(model_digest("digits"), 1, [(None, None, 0.0)])[0]
        assert (await refusal(client, raw, "3"))[1] == "PREDICTION_RAW"
        # Nothing of it was booked.
        assert await client.feedback(good, "3") == "booked"
    assert count(shared, 'tensorgate_feedback_refusals_total{reason="LABEL_UNKNOWN"}') == before + 3


async def test_neighbours(shared: Gateway) -> None:
    """A bad label of several fails alone; too many labels, or none, fail the call."""
    one, two = receipt(), receipt()
    feedback = [
        pb.Feedback(id=one, label="3"),
        pb.Feedback(id="x", label="3"),
        pb.Feedback(id=two),
        pb.Feedback(id=one),
    ]
    feedback[3].class_index = 7
    async with grpc.aio.insecure_channel(shared.address) as channel:
        stub = FeedbackServiceStub(channel)
        metadata = [("x-api-key", shared.key)]
        answer = await stub.SubmitFeedback(pb.SubmitFeedbackRequest(feedback=feedback), metadata=metadata)
        assert [result.outcome or result.error.reason for result in answer.results] == [
            pb.FEEDBACK_OUTCOME_BOOKED,
            "RECEIPT_MALFORMED",
            "LABEL_KIND",
            pb.FEEDBACK_OUTCOME_CHANGED,
        ]
        for size, code in ((0, grpc.StatusCode.INVALID_ARGUMENT), (1001, grpc.StatusCode.RESOURCE_EXHAUSTED)):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await stub.SubmitFeedback(pb.SubmitFeedbackRequest(feedback=feedback[:1] * size), metadata=metadata)
            assert caught.value.code() is code


async def test_quality(server: FakeModelServer, start_gateway: StartGateway, tmp_path: Path) -> None:
    """From predictions and labels to GetQuality and the metrics: what is right, how many labels, what is expected."""
    server.models["digits"].versions = [2]
    gateway = start(start_gateway, server, f"sqlite:///{tmp_path / 'labels.db'}", "--feedback.quality-interval=0.2")
    async with gateway.client() as client:
        ids = [(await client.predict(PNG)).id for _ in range(8)]
        for identity, truth in zip(ids[:4], "3335", strict=True):
            await client.feedback(identity, truth)

        async def read() -> quality_pb.Quality | None:
            answer = await quality_of(gateway, window=quality_pb.QUALITY_WINDOW_HOUR)
            return next((each for each in answer.qualities if each.predictions == 8 and each.labels == 4), None)

        quality = await eventually(read)
        assert (quality.version, quality.variant, quality.label_coverage.value) == (2, "stable", 0.5)
        figures = quality.classification
        assert figures.accuracy.value == 0.75
        assert 0.25 < figures.accuracy.low < 0.75 < figures.accuracy.high < 1
        assert [(cell.actual, cell.predicted, cell.count) for cell in figures.confusion] == [(3, 3, 3), (5, 3, 1)]
        assert [(each.label, each.recall.value, each.HasField("precision")) for each in figures.classes] == [
            ("3", 1, True),
            ("5", 0, False),
        ]
        assert 0.75 < quality.estimated_accuracy.accuracy.value < 0.91
        assert (quality.estimated_accuracy.predictions, quality.estimated_accuracy.labels) == (4, 4)
        assert 0 <= quality.label_delay.ToTimedelta().total_seconds() < TIMEOUT
        windows = [each.window for each in (await quality_of(gateway, model="digits", version=2)).qualities]
        assert windows == [1, 2, 3, 4]
        assert not (await quality_of(gateway, version=1)).qualities
        for fields, code in (
            ({"window": 9}, grpc.StatusCode.INVALID_ARGUMENT),
            ({"model": "cats"}, grpc.StatusCode.NOT_FOUND),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await quality_of(gateway, **fields)
            assert caught.value.code() is code
        # A version that is served no more still gets labels.
        server.models["digits"].versions = [3]

        async def gone() -> bool:
            return (await client.get_model()).default_version == 3

        await eventually(gone)
        assert await client.feedback(ids[4], "3") == "booked"
    group = 'model="digits",variant="stable",version="2",window="24h"'

    async def shown() -> bool:
        return count(gateway, f"tensorgate_quality_labels{{{group}}}") == 5

    await eventually(shown)
    assert count(gateway, f"tensorgate_quality_accuracy{{{group}}}") == 0.8
    assert 0.3 < count(gateway, f"tensorgate_quality_accuracy_low{{{group}}}") < 0.8
    assert count(gateway, f'tensorgate_quality_class_recall{{class="3",{group}}}') == 1
    assert count(gateway, f"tensorgate_quality_estimated_accuracy{{{group}}}") > 0.7
    assert count(gateway, f"tensorgate_quality_label_coverage{{{group}}}") == 0.625
    # And to people.
    async with gateway.client() as client:
        (found,) = await client.quality("digits", version=2, window="24h")
    assert (found.labels, found.figures["accuracy"].value, found.coverage.value) == (5, 0.8, 0.625)
    ended = command(gateway, "quality", "digits", "--window=24h", COLUMNS="240")
    assert (ended.returncode, ended.stderr) == (0, b"")
    row = ended.stdout.decode().splitlines()[4]
    assert re.search(r"2 .* stable .* 24h .* 8 .* 5 \(62\.5%\) .* 80\.0% \([\d.]+% to [\d.]+%\) ", row), row
    answer = json.loads(command(gateway, "quality", "--json", "--window=24h").stdout)
    assert answer["model"] == "digits"
    assert answer["qualities"][0]["classification"]["accuracy"]["value"] == 0.8
    assert command(gateway, "quality", "cats").returncode == 1


async def test_ten_thousand_labels(shared: Gateway, file: Path) -> None:
    """A stream of 10,000 labels is summed up: what was booked, changed and refused, and why, for the first 100."""
    ids = [receipt() for _ in range(9000)]
    labels: list[tuple[str, Any]] = [(each, "3") for each in ids]
    labels += [(ids[0], "4"), (ids[1], "3")] + [("x", "3")] * 998
    started = time.monotonic()
    with Client(shared.address, key=shared.key) as client:
        summary = await asyncio.to_thread(client.feedback_batch, labels, timeout=TIMEOUT)
    assert (summary.booked, summary.changed, summary.unchanged, summary.refused) == (9000, 1, 1, 998)
    assert list(summary.refusals) == [*range(9002, 9102)]
    assert {error.reason for error in summary.refusals.values()} == {"RECEIPT_MALFORMED"}
    labelled = kept(file)
    assert [labelled[receipts.check(each).id] for each in ids] == [4] + [3] * 8999
    assert time.monotonic() - started < TIMEOUT
    line = shared.calls()[-1]
    assert (line["code"], line["instances"], line["failed_instances"]) == ("OK", 10_000, 998)


async def test_a_message_that_cannot_be_read(shared: Gateway) -> None:
    """One message that is no message, or too large, is one refusal; a label that cannot be sent is the caller's own."""
    method = "/tensorgate.v1.FeedbackService/StreamFeedback"
    good = pb.StreamFeedbackRequest(feedback=[pb.Feedback(id=receipt(), label="3")])
    many = pb.StreamFeedbackRequest(feedback=[pb.Feedback(id="x")] * 1001)

    async def messages() -> AsyncIterator[bytes]:
        for message in (b"\xff\xff", many.SerializeToString(), b"", good.SerializeToString()):
            yield message

    async with grpc.aio.insecure_channel(shared.address) as channel:
        call = channel.stream_unary(method)(messages(), metadata=[("x-api-key", shared.key)], timeout=TIMEOUT)
        summary = pb.StreamFeedbackResponse.FromString(await call)
    assert (summary.received, summary.booked, summary.refused) == (3, 1, 2)
    assert [refusal.error.reason for refusal in summary.refusals] == ["REQUEST_UNREADABLE", "TOO_MANY_LABELS"]
    async with shared.client() as client:
        with pytest.raises(TypeError, match="not NoneType"):
            await client.feedback_batch([(receipt(), "3"), (receipt(), None)])  # type: ignore[list-item]


def test_command(shared: Gateway) -> None:
    """`tensorgate feedback` takes one label, or pairs from standard input, and its status tells of refusals."""
    one, two = receipt(), receipt()
    ended = command(shared, "feedback", one, "3")
    assert (ended.returncode, ended.stdout) == (0, b"1 booked, 0 changed, 0 unchanged, 0 refused\n")
    ended = command(shared, "feedback", "--class-index", stdin=f"{one} 3\n{two} 4\n\nx 1\n".encode())
    assert (ended.returncode, ended.stdout) == (1, b"1 booked, 0 changed, 1 unchanged, 1 refused\n")
    assert b"label 2: INVALID_ARGUMENT: the id is not one" in ended.stderr
    assert command(shared, "feedback", one, "three", "--value").returncode == 1


async def test_kill_in_mid_stream(server: FakeModelServer, start_gateway: StartGateway, tmp_path: Path) -> None:
    """A gateway that is killed while labels stream in has every label that it answered for; the rest may come again."""
    file = tmp_path / "feedback.db"
    gateway = start(start_gateway, server, f"sqlite:///{file}")
    acknowledged: list[str] = []
    sent: list[str] = []

    async def submit(client: AsyncClient) -> None:
        while True:
            each = receipt()
            sent.append(each)
            await client.feedback(each, "3")
            acknowledged.append(each)

    async def stream(client: AsyncClient) -> None:
        ids = [receipt() for _ in range(300)]
        while True:
            sent.extend(ids)
            await client.feedback_batch([(each, "3") for each in ids], timeout=TIMEOUT)
            acknowledged.extend(ids)
            ids = [receipt() for _ in range(300)]

    async with gateway.client() as client:
        tasks = [asyncio.create_task(work(client)) for work in (submit, submit, submit, stream, stream)]

        async def enough() -> bool:
            return len(acknowledged) > 2000

        await eventually(enough)
        os.kill(gateway.process.pid, signal.SIGKILL)
        ended = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(each, TensorgateError) for each in ended), ended
    labelled = kept(file)
    assert {receipts.check(each).id for each in acknowledged} <= labelled.keys()
    again = start(start_gateway, server, f"sqlite:///{file}")
    async with again.client() as client:
        summary = await client.feedback_batch([(each, "3") for each in sent])
    assert summary.booked + summary.unchanged == len(sent)
    assert summary.unchanged == len(labelled)


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="needs Linux's prlimit")
async def test_full_disk(server: FakeModelServer, start_gateway: StartGateway, tmp_path: Path) -> None:
    """While the disk is full labels are refused, predictions go on, and what was acknowledged stays."""
    file = tmp_path / "feedback.db"
    gateway = start(start_gateway, server, f"sqlite:///{file}")
    async with gateway.client() as client:
        kept_one = (await client.predict(PNG)).id
        assert await client.feedback(kept_one, "3") == "booked"
        size = file.with_name("feedback.db-wal").stat().st_size
        # Beyond that writing fails, as it would on a full disk; the log is far shorter.
        resource.prlimit(gateway.process.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
        refused = [(receipt(), "3") for _ in range(500)]
        with pytest.raises(TensorgateError) as caught:
            await client.feedback_batch(refused)
        assert (caught.value.code, caught.value.reason) == ("UNAVAILABLE", "FEEDBACK_UNAVAILABLE")
        assert caught.value.retry_after
        assert count(gateway, "tensorgate_feedback_database_up") == 0
        assert (await client.predict(PNG)).label == "3"
        resource.prlimit(gateway.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        summary = await client.feedback_batch([(kept_one, "3"), *refused])
        assert (summary.booked, summary.unchanged) == (500, 1)
        assert count(gateway, "tensorgate_feedback_database_up") == 1


@pytest.fixture
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server for one test."""
    with postgres_server() as server:
        yield server


async def test_postgres_goes_and_comes_back(
    server: FakeModelServer, start_gateway: StartGateway, postgres: PostgresServer
) -> None:
    """Two replicas share a database; while it is away they predict and refuse labels, and go on when it is back."""
    url = postgres.create("labels")
    postgres.kill()
    one, two = (start(start_gateway, server, url) for _ in range(2))
    first = receipt()

    async with one.client() as client, two.client() as other:

        async def taken() -> bool:
            with contextlib.suppress(TensorgateError):
                return bool(await client.feedback(first, "3"))
            return False

        async def agreed() -> bool:
            answers = [await quality_of(each) for each in (one, two)]
            labels = [quality.labels for quality in answers[0].qualities]
            return answers[0] == answers[1] and min(labels, default=0) > 1

        for _ in range(2):
            for each in (client, other):
                with pytest.raises(TensorgateError) as caught:
                    await each.feedback(receipt(), "3")
                assert (caught.value.code, caught.value.reason) == ("UNAVAILABLE", "FEEDBACK_UNAVAILABLE")
                assert caught.value.retry_after
                assert (await each.predict(PNG)).label == "3"
            assert count(one, "tensorgate_feedback_database_up") == 0
            postgres.start()
            await eventually(taken)
            assert await other.feedback(first, "3") == "unchanged"
            another = receipt()
            assert [await each.feedback(another, "3") for each in (other, client)] == ["booked", "unchanged"]
            assert count(one, "tensorgate_feedback_database_up") == 1
            await eventually(agreed)
            postgres.kill()
