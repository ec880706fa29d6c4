"""Roll-outs over real connections: who answers whom, what callers notice, and how it ends"""

import asyncio
import base64
import contextlib
import functools
import json
import shutil
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, Self

import grpc
import grpc.aio
import httpx
import numpy as np
import pytest
import yaml

from gateway.rollout import commands as rollout_commands
from serving.wire import codec
from serving.wire import open_inference_pb2 as oip
from serving.wire import tensorflow_serving_pb2 as tfs
from serving.wire.open_inference_pb2_grpc import GRPCInferenceServiceStub
from serving.wire.tensorflow_serving_pb2_grpc import PredictionServiceStub
from stack.__main__ import free_port
from stack.processes import child
from tensorgate import TensorgateError
from tensorgate.requests import predict_request
from tensorgate.v1 import rollout_service_pb2 as pb
from tensorgate.v1.inference_service_pb2_grpc import InferenceServiceStub
from tensorgate.v1.rollout_service_pb2_grpc import RolloutServiceStub
from tests.fakes import digits
from tests.fakes.model_server import FakeModelServer, brightest_row
from tests.integration.conftest import Gateway, StartGateway, eventually, gateways

IMAGE = digits.encode(digits.band(3))
SCOPES = ("predict:*", "admin")
NEVER = pb.RolloutRules(min_samples=10**9)
# As fast as it goes: for tests of how it ends.
SOON: dict[str, Any] = {"min_samples": 60, "min_duration": {"seconds": 0}}


@pytest.fixture(scope="module")
def plans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the gateways of this module keep their plans."""
    return tmp_path_factory.mktemp("plans")


@pytest.fixture(scope="module")
def shared(
    shared_server: FakeModelServer, tmp_path_factory: pytest.TempPathFactory, transport: str, plans: Path
) -> Iterator[Gateway]:
    """A gateway for all tests of this module."""
    with gateways(tmp_path_factory.mktemp("gateway"), transport) as start:
        yield start(shared_server.address, *flags(plans), scopes=SCOPES)


@pytest.fixture
async def gateway(shared: Gateway, shared_server: FakeModelServer, plans: Path) -> Gateway:
    """The gateway without a plan, in front of two versions that do the same."""
    for faults in (shared_server.errors, shared_server.delays, shared_server.computes, shared_server.crashes):
        faults.clear()
    shared_server.models["digits"].versions = [1, 2]
    shutil.rmtree(plans / "digits", ignore_errors=True)

    async def as_new() -> bool:
        rollout = await Operator(shared).get()
        return rollout.state == pb.ROLLOUT_STATE_NONE and [found.version for found in rollout.versions] == [2]

    await eventually(as_new)
    return shared


@pytest.fixture
def server(shared_server: FakeModelServer) -> FakeModelServer:
    """The model server behind the gateway."""
    return shared_server


@pytest.fixture
def operator(gateway: Gateway) -> "Operator":
    """Somebody who may change plans."""
    return Operator(gateway)


def flags(plans: Path) -> tuple[str, ...]:
    """What makes a gateway keep plans."""
    return f"--rollout.plans={plans}", "--rollout.poll-interval=0.1"


def since(gateway: Gateway, before: int) -> list[dict[str, Any]]:
    """The predictions that the access log has had since there were so many."""
    return [line for line in gateway.calls()[before:] if "Predict" in line["method"]]


class Operator:
    """Somebody with an admin's key."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def __call__(self, method: str, request: Any) -> Any:
        async with grpc.aio.insecure_channel(self._gateway.address) as channel:
            call = getattr(RolloutServiceStub(channel), method)
            return await call(request, metadata=(("x-api-key", self._gateway.key),), timeout=20)

    async def get(self) -> pb.Rollout:
        return (await self("GetRollout", pb.GetRolloutRequest())).rollout

    async def start(self, **fields: Any) -> pb.Rollout:
        return (await self("StartRollout", pb.StartRolloutRequest(candidate_version=2, **fields))).rollout

    async def refused(self, method: str, request: Any) -> tuple[grpc.StatusCode, str]:
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            await self(method, request)
        return failure.value.code(), failure.value.details() or ""


def rules(**fields: Any) -> pb.RolloutRules:
    """Rules by which a roll-out ends within seconds."""
    return pb.RolloutRules(**(SOON | fields))


async def versions(gateway: Gateway, calls: int, **options: Any) -> Counter[int]:
    """Which versions answer so many calls, ten at once."""
    async with gateway.client(**options) as client:
        found: Counter[int] = Counter()
        for _ in range(calls // 10):
            answers = await asyncio.gather(*(client.predict(IMAGE) for _ in range(10)))
            found.update(answer.version for answer in answers)
        return found


async def under_traffic(gateway: Gateway, ended: Callable[[], Any]) -> Any:
    """Calls, four at once, until `ended` gives something; not one of them may fail."""

    async def ask() -> None:
        async with gateway.client() as client:
            while not stop.is_set():
                await client.predict(IMAGE)

    stop = asyncio.Event()
    callers = [asyncio.create_task(ask()) for _ in range(4)]
    try:
        return await eventually(ended, "the roll-out did not end")
    finally:
        stop.set()
        await asyncio.gather(*callers)


def over(operator: Operator) -> Callable[[], Any]:
    """Whether the roll-out has ended, and how."""

    async def ended() -> pb.Rollout | None:
        rollout = await operator.get()
        return None if rollout.state == pb.ROLLOUT_STATE_RUNNING else rollout

    return ended


async def running(operator: Operator) -> bool:
    """Whether a roll-out is under way."""
    return (await operator.get()).state == pb.ROLLOUT_STATE_RUNNING


async def test_without_a_plan_the_highest_version_answers(gateway: Gateway, operator: Operator) -> None:
    """As it was before there were roll-outs; the service says so."""
    assert set(await versions(gateway, 10)) == {2}
    rollout = await operator.get()
    assert rollout.state == pb.ROLLOUT_STATE_NONE
    assert [(version.version, version.share_percent) for version in rollout.versions] == [(2, 100)]


async def test_a_canary_gets_its_share_in_every_protocol(
    gateway: Gateway, operator: Operator, server: FakeModelServer
) -> None:
    """Half of what names no version, all of what names it; receipts, log and metrics say which."""
    before = len(gateway.calls())
    await operator.start(stable_version=1, rules=pb.RolloutRules(step_percents=[50, 100], min_samples=10**9))
    found = await versions(gateway, 200)
    assert 60 <= found[2] <= 140, found

    metadata = (("x-api-key", gateway.key),)
    tensor = codec.to_proto(np.zeros((1, 28, 28), np.float32))
    async with grpc.aio.insecure_channel(gateway.address) as channel:
        request = tfs.PredictRequest(model_spec=tfs.ModelSpec(name="digits"), inputs={"image": tensor})
        stub = PredictionServiceStub(channel)
        by_tfs = Counter(
            [(await stub.Predict(request, metadata=metadata)).model_spec.version.value for _ in range(100)]
        )
        assert 20 <= by_tfs[2] <= 80, by_tfs
        request.model_spec.version.value = 1
        named = {(await stub.Predict(request, metadata=metadata)).model_spec.version.value for _ in range(10)}
        assert named == {1}
        infer = oip.ModelInferRequest(model_name="digits", raw_input_contents=[np.zeros((28, 28), "<f4").tobytes()])
        infer.inputs.add(name="image", datatype="FP32", shape=[1, 28, 28])
        oip_stub = GRPCInferenceServiceStub(channel)
        by_oip = Counter([(await oip_stub.ModelInfer(infer, metadata=metadata)).model_version for _ in range(100)])
        assert 20 <= by_oip["2"] <= 80, by_oip

    lines = since(gateway, before)
    assert len(lines) >= 300
    named_lines = lines[-10:]
    assert all("variant" not in line for line in named_lines)
    assert all((line.get("variant") == "candidate") == (line["version"] == 2) for line in lines[:-10])
    _, text = gateway.get("/metrics")
    assert 'tensorgate_rollout_share{model="digits",variant="candidate",version="2"} 0.5' in text
    assert 'tensorgate_model_version{model="digits"} 1.0' in text


async def test_a_sticky_key_keeps_its_version(gateway: Gateway, operator: Operator) -> None:
    """The same key is answered by the same version, and who had the candidate keeps it when its share rises."""

    async def answered() -> dict[int, int]:
        found = {}
        async with grpc.aio.insecure_channel(gateway.address) as channel:
            stub = PredictionServiceStub(channel)
            tensor = codec.to_proto(np.zeros((1, 28, 28), np.float32))
            request = tfs.PredictRequest(model_spec=tfs.ModelSpec(name="digits"), inputs={"image": tensor})
            for key in range(40):
                metadata = (("x-api-key", gateway.key), ("x-tensorgate-sticky-key", f"user-{key}"))
                answers = {(await stub.Predict(request, metadata=metadata)).model_spec.version.value for _ in range(3)}
                (found[key],) = answers
        return found

    await operator.start(stable_version=1, rules=pb.RolloutRules(step_percents=[30, 70, 100], min_samples=10**9))
    few = await answered()
    await operator("AdvanceRollout", pb.AdvanceRolloutRequest())
    many = await answered()
    candidates = {key for key, version in few.items() if version == 2}
    assert 3 <= len(candidates) <= 24
    assert candidates < {key for key, version in many.items() if version == 2}


async def test_a_canary_is_split_alike_by_grpc_and_json(gateway: Gateway, operator: Operator) -> None:
    """A sticky key has one version in every protocol, and callers without one are split in each."""
    await operator.start(stable_version=1, rules=pb.RolloutRules(step_percents=[50, 100], min_samples=10**9))
    async with Doors(gateway) as doors:
        by_key = {(name, key): await ask(f"user-{key}") for key in range(24) for name, ask in doors.all.items()}
        by_lot = {(name, call): await ask("") for call in range(40) for name, ask in doors.all.items()}

    async def logged() -> dict[str, int]:
        lines = {line["request_id"]: line["version"] for line in gateway.calls() if "version" in line}
        return lines if {*by_key.values(), *by_lot.values()} <= lines.keys() else {}

    version = await eventually(logged)
    for key in range(24):
        assert len({version[by_key[name, key]] for name in doors.all}) == 1, key
    assert {version[request] for request in by_key.values()} == {1, 2}
    for name in doors.all:
        split = Counter(version[by_lot[name, call]] for call in range(40))
        assert 4 <= split[2] <= 36, (name, split)


class Doors:
    """Everything that a prediction can be asked by, with a sticky key or without one; the request's id comes back."""

    def __init__(self, gateway: Gateway) -> None:
        self._key = gateway.key
        self._channel = grpc.aio.insecure_channel(gateway.address)
        self._http = httpx.AsyncClient(base_url=f"http://{gateway.http}", timeout=20)
        ours = predict_request([IMAGE], model="digits", version=0, signature="", top_k=0)
        spec, tensor = tfs.ModelSpec(name="digits"), np.zeros((1, 28, 28), "<f4")
        theirs = tfs.PredictRequest(model_spec=spec, inputs={"image": codec.to_proto(tensor)})
        infer = oip.ModelInferRequest(model_name="digits", raw_input_contents=[tensor.tobytes()])
        infer.inputs.add(name="image", datatype="FP32", shape=tensor.shape)
        image = {"image": base64.b64encode(IMAGE).decode()}
        rest, row = "/v1/models/digits:predict", tensor[0].tolist()
        connect = "/tensorgate.v1.InferenceService/Predict"
        self.all: dict[str, Callable[[str], Awaitable[str]]] = {
            "ours": functools.partial(self._grpc, InferenceServiceStub(self._channel).Predict, ours),
            "TFS": functools.partial(self._grpc, PredictionServiceStub(self._channel).Predict, theirs),
            "OIP": functools.partial(self._grpc, GRPCInferenceServiceStub(self._channel).ModelInfer, infer),
            "REST, rows": functools.partial(self._json, rest, {"instances": [row]}),
            "REST, columns": functools.partial(self._json, rest, {"inputs": [row]}),
            "Connect": functools.partial(self._json, connect, {"model": "digits", "instances": [image]}),
        }

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._channel.close()
        await self._http.aclose()

    def _headers(self, key: str) -> dict[str, str]:
        return {"x-api-key": self._key} | ({"x-tensorgate-sticky-key": key} if key else {})

    async def _grpc(self, method: Any, request: Any, key: str) -> str:
        call = method(request, metadata=tuple(self._headers(key).items()), timeout=20)
        await call
        return str(dict(await call.trailing_metadata())["x-request-id"])

    async def _json(self, path: str, body: Any, key: str) -> str:
        answer = await self._http.post(path, json=body, headers=self._headers(key))
        assert answer.status_code == 200, answer.text
        return str(answer.headers["x-request-id"])


async def test_a_good_candidate_is_promoted_and_stays(
    gateway: Gateway, operator: Operator, server: FakeModelServer
) -> None:
    """Step by step by evidence, with its reasons kept; what is published afterwards answers nobody by itself."""
    await operator.start(stable_version=1, rules=rules(step_percents=[25, 100]), reason="try it")
    rollout = await under_traffic(gateway, over(operator))
    assert rollout.state == pb.ROLLOUT_STATE_PROMOTED
    assert [(v.version, v.role, v.share_percent) for v in rollout.versions] == [
        (2, pb.ROLLOUT_ROLE_STABLE, 100),
        (1, pb.ROLLOUT_ROLE_PREVIOUS, 0),
    ]
    events = (await operator("ListRolloutEvents", pb.ListRolloutEventsRequest())).events
    assert [event.action for event in events] == ["promote", "advance", "start"]
    assert (events[-1].change.by, events[-1].change.reason) == ("tester", "try it")
    assert events[0].change.by == "gateway"
    assert "no worse in errors: candidate 0 of" in events[0].change.reason

    server.models["digits"].versions = [1, 2, 3]
    await asyncio.sleep(0.5)
    assert set(await versions(gateway, 20)) == {2}


@pytest.mark.parametrize("fault", ["fails", "hangs"])
async def test_a_candidate_that_fails_is_taken_back_unnoticed(
    gateway: Gateway, operator: Operator, server: FakeModelServer, fault: str
) -> None:
    """Stable answers in its stead: no call fails, and the evidence takes it back."""
    if fault == "fails":
        server.errors[2] = (grpc.StatusCode.INTERNAL, "no")
    else:
        server.delays[2] = 60.0
    before = len(gateway.calls())
    await operator.start(stable_version=1, rules=rules(step_percents=[25, 100]))

    async def ask() -> None:
        async with gateway.client(timeout=1.0) as client:
            while not stop.is_set():
                assert (await client.predict(IMAGE)).version == 1

    stop = asyncio.Event()
    callers = [asyncio.create_task(ask()) for _ in range(8)]
    rollout = await eventually(over(operator))
    stop.set()
    await asyncio.gather(*callers)
    assert rollout.state == pb.ROLLOUT_STATE_ROLLED_BACK
    assert "worse in errors: candidate" in rollout.changed.reason
    assert {line["code"] for line in since(gateway, before)} == {"OK"}
    _, text = gateway.get("/metrics")
    assert 'tensorgate_rollout_failovers_total{model="digits"}' in text


async def test_a_candidate_that_crashes_its_server_is_taken_back(
    gateway: Gateway, operator: Operator, server: FakeModelServer
) -> None:
    """Stable is on the same server, which starts again each time; once the candidate is gone all is as it was."""
    server.crashes.add(2)
    server.delays[2] = 60.0
    await operator.start(stable_version=1, rules=rules(step_percents=[25, 100]))
    failed: set[str] = set()

    async def ask() -> None:
        async with gateway.client() as client:
            while not stop.is_set():
                try:
                    assert (await client.predict(IMAGE)).version == 1
                except TensorgateError as error:
                    failed.add(error.code)
                await asyncio.sleep(0.01)

    stop = asyncio.Event()
    callers = [asyncio.create_task(ask()) for _ in range(4)]
    try:
        rollout = await eventually(over(operator))
    finally:
        stop.set()
        await asyncio.gather(*callers)
    assert rollout.state == pb.ROLLOUT_STATE_ROLLED_BACK
    assert "worse in errors: candidate" in rollout.changed.reason
    # While the server was away there was nobody to answer.
    assert failed <= {"UNAVAILABLE"}

    async def healthy() -> bool:
        with contextlib.suppress(TensorgateError):
            return set(await versions(gateway, 50)) == {1}
        return False

    await eventually(healthy)


@pytest.mark.parametrize("fault", ["fails", "hangs", "disagrees"])
async def test_nobody_notices_a_candidate_in_the_shadow(
    gateway: Gateway, operator: Operator, server: FakeModelServer, fault: str
) -> None:
    """Whatever it does, callers get stable's answers as fast as ever; what it does is counted."""
    if fault == "fails":
        server.errors[2] = (grpc.StatusCode.UNAVAILABLE, "crashed")
    elif fault == "hangs":
        server.delays[2] = 60.0
    else:
        server.computes[2] = lambda image: brightest_row(image)[:, ::-1]
    before = len(gateway.calls())
    await operator.start(stable_version=1, mode=pb.ROLLOUT_MODE_SHADOW, rules=NEVER)
    started = time.monotonic()
    assert set(await versions(gateway, 200)) == {1}
    assert time.monotonic() - started < 10

    async def counted() -> bool:
        # On a busy machine all copies of the first calls may have been dropped.
        assert set(await versions(gateway, 10)) == {1}
        # Copies go out a moment after their calls, and not while the gateway is busy writing metrics.
        await asyncio.sleep(0.5)
        _, text = gateway.get("/metrics")
        outcome = {"fails": "failed", "hangs": "dropped", "disagrees": "answered"}[fault]
        return f'tensorgate_rollout_shadow_requests_total{{model="digits",outcome="{outcome}"}}' in text

    await eventually(counted)
    if fault == "disagrees":
        rollout = await under_traffic(gateway, over(operator))
        assert rollout.state == pb.ROLLOUT_STATE_ROLLED_BACK
        assert "worse in disagreement" in rollout.changed.reason
    assert {line["code"] for line in since(gateway, before)} == {"OK"}


async def test_a_shadow_that_agrees_goes_on_as_a_canary(gateway: Gateway, operator: Operator) -> None:
    """Evidence from copies leads to the first share."""
    await operator.start(
        stable_version=1, mode=pb.ROLLOUT_MODE_SHADOW, rules=rules(min_samples=20, step_percents=[40, 100])
    )

    async def canary() -> pb.Rollout | None:
        rollout = await operator.get()
        return rollout if rollout.mode == pb.ROLLOUT_MODE_CANARY else None

    rollout = await under_traffic(gateway, canary)
    assert rollout.versions[1].share_percent in (40, 100)


async def test_a_candidate_that_goes_away_leaves_stable_to_answer(
    gateway: Gateway, operator: Operator, server: FakeModelServer
) -> None:
    """Its share goes to stable, and status and metrics say why."""
    await operator.start(stable_version=1, rules=pb.RolloutRules(step_percents=[90, 100], min_samples=1))
    server.models["digits"].versions = [1]

    async def gone() -> bool:
        return not (await operator.get()).versions[1].available

    await eventually(gone)
    assert set(await versions(gateway, 50)) == {1}

    async def said() -> bool:
        reasons = (await operator.get()).verdict.reasons
        return any("version 2 is not AVAILABLE; stable answers in its stead" in reason for reason in reasons)

    await eventually(said)
    _, text = gateway.get("/metrics")
    assert 'tensorgate_rollout_version_available{model="digits",variant="candidate"} 0.0' in text


async def test_what_makes_no_sense_is_refused(gateway: Gateway, operator: Operator) -> None:
    """Each with a code and a sentence that says what was expected."""
    start, advance = pb.StartRolloutRequest, pb.AdvanceRolloutRequest
    code, text = await operator.refused("StartRollout", start(candidate_version=7))
    assert (code, "version 7 of the model 'digits' does not exist; expected AVAILABLE" in text) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        True,
    )
    for request in (
        start(),
        start(candidate_version=2, stable_version=2),
        start(candidate_version=2, stable_version=1, rules={"step_percents": [50, 20, 100]}),
        start(candidate_version=2, stable_version=1, rules={"step_percents": [5, 20]}),
        start(candidate_version=2, stable_version=1, rules={"min_duration": {"seconds": -1}}),
        start(candidate_version=2, stable_version=1, reason="x" * 1001),
        start(candidate_version=2, stable_version=1, mode=9),
    ):
        assert (await operator.refused("StartRollout", request))[0] is grpc.StatusCode.INVALID_ARGUMENT, request
    code, text = await operator.refused("AdvanceRollout", advance())
    assert (code, "no roll-out of 'digits' is under way" in text) == (grpc.StatusCode.FAILED_PRECONDITION, True)

    rollout = await operator.start(stable_version=1, rules=NEVER)
    code, text = await operator.refused("StartRollout", start(candidate_version=2, stable_version=1))
    assert (code, "abort it first" in text) == (grpc.StatusCode.FAILED_PRECONDITION, True)
    code, text = await operator.refused("AdvanceRollout", advance(generation=rollout.generation + 1))
    assert (code, "was changed meanwhile" in text) == (grpc.StatusCode.ABORTED, True)
    assert (await operator.refused("GetRollout", pb.GetRolloutRequest(model="x")))[0] is grpc.StatusCode.NOT_FOUND
    bad_page = pb.ListRolloutEventsRequest(page_token="x")
    assert (await operator.refused("ListRolloutEvents", bad_page))[0] is grpc.StatusCode.INVALID_ARGUMENT


async def test_changes_need_the_scope_admin(server: FakeModelServer, start_gateway: StartGateway, plans: Path) -> None:
    """Who may predict may read and nothing else; without a place for plans, nobody can change them."""
    reader = Operator(start_gateway(server.address, *flags(plans)))
    assert (await reader.get()).model == "digits"
    request = pb.StartRolloutRequest(candidate_version=2)
    assert (await reader.refused("StartRollout", request))[0] is grpc.StatusCode.PERMISSION_DENIED
    without = Operator(start_gateway(server.address, scopes=SCOPES))
    assert [rollout.model for rollout in (await without("ListRollouts", pb.ListRolloutsRequest())).rollouts] == [
        "digits"
    ]
    code, text = await without.refused("StartRollout", request)
    assert (code, "`rollout.plans`" in text) == (grpc.StatusCode.FAILED_PRECONDITION, True)


async def test_replicas_follow_one_plan(
    server: FakeModelServer, start_gateway: StartGateway, gateway: Gateway, operator: Operator, plans: Path
) -> None:
    """What one is told the other does; a corrupt file changes nothing and raises an alarm, also after a restart."""
    other = start_gateway(server.address, *flags(plans), scopes=SCOPES)
    await operator.start(stable_version=1, rules=NEVER)
    rollout = (await operator("PromoteRollout", pb.PromoteRolloutRequest(reason="sure"))).rollout

    async def followed() -> bool:
        return (await Operator(other).get()).generation == rollout.generation

    await eventually(followed)
    assert set(await versions(other, 20)) == {2}

    await operator("StartRollout", pb.StartRolloutRequest(candidate_version=1, rules=NEVER))
    await operator("AbortRollout", pb.AbortRolloutRequest())
    (plans / "digits/rollout.json").write_text('{"versions": [')

    async def alarmed() -> bool:
        return 'tensorgate_rollout_plan_errors_total{model="digits"}' in other.get("/metrics")[1]

    await eventually(alarmed)
    for each in (other, start_gateway(server.address, *flags(plans), scopes=SCOPES)):
        assert set(await versions(each, 20)) == {2}
        assert "rollout.json" in (await Operator(each).get()).problem
    # The next change makes it whole.
    await operator("StartRollout", pb.StartRolloutRequest(candidate_version=1, rules=NEVER))
    assert json.loads((plans / "digits/rollout.json").read_text())["state"] == "RUNNING"


async def test_a_model_may_be_kept_at_its_version_from_the_start(
    gateway: Gateway, server: FakeModelServer, start_gateway: StartGateway, tmp_path: Path
) -> None:
    """With `rollout.pin` not even the first new version takes traffic by itself."""
    server.models["digits"].versions = [1]
    pinning = start_gateway(server.address, *flags(tmp_path / "plans"), "--rollout.pin", scopes=SCOPES)

    async def pinned() -> bool:
        return (await Operator(pinning).get()).state == pb.ROLLOUT_STATE_PINNED

    await eventually(pinned)
    server.models["digits"].versions = [1, 2]
    await asyncio.sleep(0.5)
    assert set(await versions(pinning, 20)) == {1}
    assert (await Operator(pinning).start(rules=NEVER)).versions[0].version == 1


async def test_operators_start_wait_and_look_back(
    gateway: Gateway,
    server: FakeModelServer,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The command starts a roll-out, says what happens and ends with a status that a pipeline can go by."""
    base = ["--address", gateway.address, "--key", gateway.key]
    fast = ["--stable", "1", "--min-samples", "40", "--min-seconds", "0", "--steps", "50,100", "--timeout", "20"]

    async def command(*arguments: str) -> tuple[int, str]:
        status = await asyncio.to_thread(rollout_commands.run, [*base, *arguments])
        out, err = capsys.readouterr()
        return status, out + err

    monkeypatch.setenv("TENSORGATE_METADATA", "x-request-id=of-an-operator")
    assert (await command("status", "--wait"))[0] == rollout_commands.FAILED
    assert (await command("--metadata", "a-token", "status")) == (
        rollout_commands.FAILED,
        "rollout: metadata without `=`: expected NAME=VALUE\n",
    )

    async def logged() -> bool:
        return any(line["request_id"] == "of-an-operator" for line in gateway.calls())

    await eventually(logged)
    monkeypatch.delenv("TENSORGATE_METADATA")
    server.errors[2] = (grpc.StatusCode.INTERNAL, "no")
    waiting = asyncio.create_task(command("start", "2", *fast, "--wait", "--reason", "first try"))
    await eventually(lambda: running(Operator(gateway)))
    status, text = await under_traffic(gateway, lambda: _result(waiting))
    assert status == rollout_commands.TAKEN_BACK, text
    assert "start by tester: version 2 answers 50 %, 1 the rest (first try)" in text
    assert "roll_back by gateway: rolled back: version 1 answers (worse in errors: candidate" in text

    server.errors.clear()
    status, text = await command("start", "2", *fast[:-4], "--by-hand", "--mode", "shadow", "--copied", "10")
    assert (status, "version 2: candidate, 10 % copied" in text) == (rollout_commands.DONE, True), text
    status, text = await command("advance", "--generation", "99")
    assert (status, "ABORTED: the plan of 'digits' has generation" in text) == (rollout_commands.FAILED, True), text
    status, text = await command("advance")
    assert (status, "version 2: candidate, 1 %" in text) == (rollout_commands.DONE, True), text
    assert (await command("promote", "--reason", "it is fine"))[0] == rollout_commands.DONE
    status, text = await command("status", "--wait")
    assert (status, "promote by tester: promoted: version 2 answers (it is fine)" in text) == (0, True), text
    assert (await command("abort"))[0] == rollout_commands.FAILED
    _, text = await command("history")
    assert [line.split()[3] for line in text.splitlines()] == ["promote", "advance", "start", "roll_back", "start"]


async def _result(task: asyncio.Task[tuple[int, str]]) -> tuple[int, str] | None:
    return task.result() if task.done() else None


async def test_evidence_of_all_replicas_comes_from_prometheus(
    server: FakeModelServer, start_gateway: StartGateway, gateway: Gateway, tmp_path: Path
) -> None:
    """A replica without calls of its own takes a candidate back that fails on another one."""
    if shutil.which("prometheus") is None:
        pytest.skip("prometheus is not installed (Debian's package prometheus)")
    port = free_port()
    plans = tmp_path / "plans"
    url = f"http://127.0.0.1:{port}"
    judge = start_gateway(server.address, *flags(plans), f"--rollout.prometheus={url}", scopes=SCOPES)
    # Without a say of its own.
    busy = start_gateway(server.address, *flags(plans), "--rollout.false-alarm=1e-300", scopes=SCOPES)
    scraping = {"job_name": "gateway", "static_configs": [{"targets": [judge.http, busy.http]}]}
    config = tmp_path / "prometheus.yml"
    config.write_text(yaml.safe_dump({"global": {"scrape_interval": "500ms"}, "scrape_configs": [scraping]}))
    command = [
        "prometheus",
        f"--config.file={config}",
        f"--storage.tsdb.path={tmp_path / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    server.errors[2] = (grpc.StatusCode.INTERNAL, "no")

    async def both_scraped() -> bool:
        answer = await asyncio.to_thread(httpx.get, f"{url}/api/v1/query", params={"query": "up == 1"})
        return len(answer.json()["data"]["result"]) == 2

    with child("Prometheus", command, tmp_path / "prometheus.log") as prometheus:
        prometheus.wait_for("ready to receive web requests", 20)
        # It takes five seconds to begin, in which a fast machine makes more than enough calls for 1e-300.
        await eventually(both_scraped)
        await Operator(judge).start(stable_version=1, rules=rules(step_percents=[30, 100], min_samples=10**9))

        await eventually(lambda: running(Operator(busy)))
        rollout = await under_traffic(busy, over(Operator(judge)))
    assert rollout.state == pb.ROLLOUT_STATE_ROLLED_BACK
    assert "worse in errors: candidate" in rollout.changed.reason
    assert [line for line in judge.log() if line.get("action") == "roll_back"]
    assert not [line for line in busy.log() if line.get("action") == "roll_back"]


async def test_labels_take_a_candidate_back_that_is_wrong(
    gateway: Gateway, server: FakeModelServer, start_gateway: StartGateway, tmp_path: Path
) -> None:
    """As sure as stable and wrong: what callers send back says so, and nothing else does."""
    server.computes[2] = lambda image: brightest_row(image)[:, ::-1]
    database = f"--feedback.database-url=sqlite:///{tmp_path / 'feedback.db'}"
    kept = (*flags(tmp_path / "plans"), database, "--receipt-key=0123456789abcdef")
    judge = start_gateway(server.address, *kept, scopes=(*SCOPES, "feedback:*"))
    await Operator(judge).start(stable_version=1, rules=rules(step_percents=[50, 100], min_samples=10**9))

    async def ask() -> None:
        async with judge.client() as client:
            while not stop.is_set():
                await client.feedback((await client.predict(IMAGE)).id, "3")

    stop = asyncio.Event()
    callers = [asyncio.create_task(ask()) for _ in range(4)]
    rollout = await eventually(over(Operator(judge)))
    stop.set()
    await asyncio.gather(*callers)
    assert rollout.state == pb.ROLLOUT_STATE_ROLLED_BACK
    assert rollout.changed.reason.startswith("worse in quality: candidate")
