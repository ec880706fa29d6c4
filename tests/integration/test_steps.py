"""Rows of a table, and steps of one's own, through a real gateway."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tritonclient import grpc as triton
from tritonclient.utils import InferenceServerException

from serving.preprocessing import Step
from tensorgate import Client, TensorgateError
from tensorgate.results import Prediction
from tensorgate.v1 import model_pb2
from tests.fakes import digits, own_steps, people
from tests.fakes.model_server import FakeModel, FakeModelServer, signature_def
from tests.integration.conftest import TIMEOUT, Gateway, gateways
from tests.integration.test_client import command

FEATURES = signature_def({"features": (np.float32, (-1, 4))}, {"features_out": (np.float32, (-1, 4))})
OWN = f"{own_steps.__name__}:"
FAILING = (digits.STEPS[0], Step(name=f"{OWN}fail_on_black"), *digits.STEPS[1:])
HALVING = (*digits.STEPS[:-1], Step(name=f"{OWN}halve"), *digits.STEPS[-1:])
STRANGER = (*digits.STEPS, Step(name="os:system"))


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, transport: str) -> Iterator[Gateway]:
    """A gateway that allows two steps, in front of models of rows and of images with such steps."""
    models = {
        "people": FakeModel(contract=people.contract().model_dump_json(), signatures={"serving_default": FEATURES}),
        **{
            name: FakeModel(contract=digits.contract(preprocessing=steps).model_dump_json())
            for name, steps in {"failing": FAILING, "halving": HALVING, "stranger": STRANGER}.items()
        },
    }
    server = FakeModelServer(**models)
    server.start()
    allowed = json.dumps([f"{OWN}fail_on_black", f"{OWN}halve"])
    try:
        with gateways(tmp_path_factory.mktemp("gateway"), transport) as start:
            yield start(server.address, f"--preprocessing.allowed-steps={allowed}", models=",".join(models))
    finally:
        server.close()


@pytest.fixture
def client(gateway: Gateway) -> Iterator[Client]:
    """A client of the gateway."""
    with Client(gateway.address, key=gateway.key, timeout=TIMEOUT) as client:
        yield client


def tensor(prediction: Prediction) -> list[float]:
    """What the model was given, which it gives back."""
    assert prediction.error is None, prediction.error
    return np.asarray(prediction.outputs["features_out"].numpy()).tolist()


def test_rows(client: Client) -> None:
    """Rows are preprocessed by name; a bad one does not fail its neighbours, and its column is said."""
    rows = [people.ROW, {**people.ROW, "age": "abc"}, {"city": "Oslo", "member": False}]
    first, second, third = client.predict_batch(rows, model="people")
    assert tensor(first) == people.TENSOR
    assert tensor(third) == [40, 1, 0, 0]
    assert second.error is not None
    assert (second.error.code, second.error.reason) == ("INVALID_ARGUMENT", "COLUMN_TYPE_MISMATCH")
    assert second.error.message == "column 'age': expected a number, got 'abc'"
    assert tensor(client.predict(np.array(people.TENSOR, np.float32), model="people")) == people.TENSOR


def test_many_rows(client: Client) -> None:
    """More than are worth doing on the spot."""
    rows = [{**people.ROW, "age": age} for age in range(256)]
    assert [tensor(answer)[0] for answer in client.predict_batch(rows, model="people")] == list(range(256))


def test_what_a_model_does_not_take(client: Client) -> None:
    """Images for a table and rows for images are refused."""
    with pytest.raises(TensorgateError, match="takes no images"):
        client.predict(json.dumps(people.ROW).encode(), model="people")
    with pytest.raises(TensorgateError, match="takes no rows"):
        client.predict(people.ROW, model="failing")


def test_the_columns_are_described(client: Client) -> None:
    """A model says which columns its rows have."""
    columns = [(column.name, column.type, column.nullable) for column in client.get_model("people").columns]
    assert columns == [
        ("age", model_pb2.COLUMN_TYPE_NUMBER, True),
        ("city", model_pb2.COLUMN_TYPE_STRING, False),
        ("member", model_pb2.COLUMN_TYPE_BOOLEAN, False),
    ]


def test_the_command(gateway: Gateway, tmp_path: Path) -> None:
    """`tensorgate predict` takes rows as CSV and as lines of JSON, each with its line."""
    table, lines = tmp_path / "people.csv", tmp_path / "people.jsonl"
    table.write_text("city,age,member,name\nRome,20,true,Ada\nOslo,,0,Bo\nOslo,old,0,Cy\n")
    lines.write_text(f"{json.dumps(people.ROW)}\n")
    ended = command(gateway, "predict", "--json", "--model=people", str(table), str(lines))
    answers = json.loads(ended.stdout)
    assert [Path(answer["file"]).name for answer in answers] == [
        "people.csv:2",
        "people.csv:3",
        "people.csv:4",
        "people.jsonl:1",
    ]
    assert ["error" in answer for answer in answers] == [False, False, True, False]
    assert "column 'age': expected a number, got 'old'" in answers[2]["error"]
    assert ended.returncode == 1


def test_columns_by_the_open_inference_protocol(gateway: Gateway) -> None:
    """Each column is an input; strings are BYTES."""
    asked = triton.InferenceServerClient(gateway.address)

    def infer(**columns: np.ndarray) -> triton.InferResult:
        kinds = {"f": "FP64", "O": "BYTES", "b": "BOOL"}
        inputs = [
            triton.InferInput(name, list(array.shape), kinds[array.dtype.kind]) for name, array in columns.items()
        ]
        for made, array in zip(inputs, columns.values(), strict=True):
            made.set_data_from_numpy(array)
        return asked.infer("people", inputs, headers={"authorization": f"Bearer {gateway.key}"}, client_timeout=TIMEOUT)

    cities, members = np.array([b"Rome", b"Oslo"], object), np.array([True, False])
    answer = infer(age=np.array([20.0, 30.0]), city=cities, member=members)
    assert answer.as_numpy("features_out").tolist() == [people.TENSOR, [30, 1, 0, 0]]
    assert infer(city=cities[:, np.newaxis], member=members).as_numpy("features_out")[0, 0] == 40
    for wrong, message in (
        ({"age": np.array([np.nan, 1.0]), "city": cities, "member": members}, "column 'age': expected a finite number"),
        ({"age": np.array([1.0]), "city": cities, "member": members}, "the same n"),
        ({"age": np.array([1.0, 2.0]), "city": np.array([b"\xff", b""], object), "member": members}, "not UTF-8"),
        ({"weight": np.array([1.0])}, "no column 'weight'"),
    ):
        with pytest.raises(InferenceServerException, match=message):
            infer(**wrong)


def test_a_step_that_fails(client: Client, gateway: Gateway) -> None:
    """Whoever sent the instance hears which step failed, and no more; the log has what it raised."""
    black = digits.encode(np.zeros((28, 28), np.uint8))
    good, bad = client.predict_batch([digits.encode(digits.band(3)), black], model="failing")
    assert good.label == "3"
    assert bad.error is not None
    assert (bad.error.code, bad.error.reason) == ("INTERNAL", "STEP_FAILED")
    assert bad.error.message == f"the step {OWN}fail_on_black failed: RuntimeError"
    gateway.process.wait_for("secret: all black", TIMEOUT)


def test_a_step_that_makes_another_tensor(client: Client) -> None:
    """The golden vectors did not show it; the instance is refused, and its neighbours are not."""
    bright = digits.encode(np.pad(np.zeros((20, 20), np.uint8), 4, constant_values=120))
    good, bad = client.predict_batch([digits.encode(digits.band(3)), bright], model="halving")
    assert good.label == "3"
    assert bad.error is not None
    assert bad.error.message == "preprocessing made float32 [14, 28]; expected float32 [28, 28]"


def test_a_step_that_is_not_allowed(client: Client) -> None:
    """A version whose contract names one is refused, and says so."""
    (version,) = client.get_model("stranger").message.versions
    assert version.state == model_pb2.MODEL_VERSION_STATE_REFUSED
    assert "step 6 (os:system): it is not allowed here" in version.state_detail
