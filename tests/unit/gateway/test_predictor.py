"""gateway.predictor, with the catalog, router and instances that it works with"""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import pytest

from gateway.answers import Classification, Raw
from gateway.catalog import Catalog, Servable, State
from gateway.errors import (
    BackendUnavailable,
    DeadlineExceeded,
    GatewayError,
    InvalidInput,
    ModelNotFound,
    NotFinite,
    NotReady,
    RequestTooLarge,
    Unsupported,
)
from gateway.instances import Image, Instance, Pixels, Tensors, TensorStack
from gateway.metrics import Metrics
from gateway.predictor import Batch, Prediction, Predictions, Predictor, Query
from gateway.receipts import Receipts
from gateway.upstream import BatchLimits, Upstream
from tests.fakes import digits
from tests.fakes.backend import FakeBackend, signature
from tests.fakes.model_server import brightest_row

receipts = Receipts(b"k" * 16)
TENSOR = Tensors({None: np.zeros((28, 28), np.float32)})


@pytest.fixture
def backend() -> FakeBackend:
    """A backend with the fake digits and their contract."""
    return FakeBackend(
        contract=digits.contract().model_dump_json(),
        compute=lambda inputs: {"probabilities": brightest_row(inputs["image"])},
    )


class Result(NamedTuple):
    """What came of a query."""

    servable: Servable
    predictions: Predictions


class Core:
    """A predictor over a catalog that has looked once."""

    def __init__(self, backend: FakeBackend, names: tuple[str, ...] = ("digits",)) -> None:
        metrics = Metrics()
        self.catalog = Catalog(names, backend, metrics, timeout=1.0)
        self.predictor = Predictor(
            self.catalog,
            Upstream(backend, metrics, BatchLimits(max_rows=8, max_in_flight=2, max_queued_rows=100)),
            receipts,
            metrics,
            ThreadPoolExecutor(1),
            max_instances=4,
        )

    async def look(self) -> "Core":
        """Has the catalog look at every model."""
        for name in self.catalog.models:
            await self.catalog.refresh(name)
        return self

    async def predict(self, *instances: Instance | GatewayError, model: str = "digits", **options: Any) -> Result:
        """Predicts on instances."""
        route, predictions = await self.predictor.predict(Query(model, instances, **options), time.monotonic() + 5)
        return Result(route.servable, predictions)

    async def error(self, *instances: Instance, **options: Any) -> GatewayError:
        """The error of the only instance."""
        (prediction,) = (await self.predict(*instances, **options)).predictions
        assert isinstance(prediction, GatewayError)
        return prediction


async def test_answers_with_receipts(backend: FakeBackend) -> None:
    """Images, pixels and tensors are answered in order, each with a receipt that says what was answered."""
    core = await Core(backend).look()
    image = digits.band(3)
    result = await core.predict(Image(digits.encode(image)), Pixels(image[:, :, np.newaxis]), TENSOR)
    labels = []
    for prediction in result.predictions:
        assert isinstance(prediction, Prediction)
        assert isinstance(prediction.answer, Classification)
        receipt = receipts.check(prediction.receipt)
        assert receipt.class_index == prediction.answer.top[0].class_index
        assert receipt.version == 1
        labels.append(prediction.answer.top[0].label)
    assert labels == ["3", "3", "0"]
    assert backend.calls == [(1, "serving_default")]


async def test_errors_keep_their_place(backend: FakeBackend) -> None:
    """A bad instance, or one that the protocol could not read, stands in its place; the rest are answered."""
    core = await Core(backend).look()
    unread = InvalidInput("unread")
    result = await core.predict(unread, TENSOR, Image(b""), TENSOR)
    kinds = [type(prediction) for prediction in result.predictions]
    assert kinds == [InvalidInput, Prediction, InvalidInput, Prediction]
    assert result.predictions[0] is unread


async def test_numbers_that_are_none(backend: FakeBackend) -> None:
    """Rows that hold NaN or infinity are refused, each by itself, though they are looked at together."""
    core = await Core(backend).look()
    bad = [Tensors({None: np.full((28, 28), value, np.float32)}) for value in (np.nan, np.inf)]
    result = await core.predict(TENSOR, bad[0], TENSOR, bad[1])
    kinds = [type(prediction) for prediction in result.predictions]
    assert kinds == [Prediction, NotFinite, Prediction, NotFinite]
    assert backend.calls == [(1, "serving_default")]
    alike = np.stack([array for one in (TENSOR, bad[0], TENSOR, bad[1]) for array in one.values.values()])
    _, predictions = await core.predictor.predict(Query("digits", TensorStack(alike)), time.monotonic() + 5)
    assert [type(prediction) for prediction in predictions] == kinds
    backend.calls.clear()
    alone = await asyncio.gather(*(core.predict(instance) for instance in (bad[0], TENSOR, bad[1], TENSOR)))
    assert [type(result.predictions[0]) for result in alone] == [NotFinite, Prediction, NotFinite, Prediction]
    assert len(backend.calls) == 1
    assert (await core.error(bad[0])).reason == "TENSOR_NOT_FINITE"


async def test_all_bad_costs_nothing(backend: FakeBackend) -> None:
    """If no instance is good the backend is not asked."""
    core = await Core(backend).look()
    assert (await core.error(Image(b"x"))).reason == "IMAGE_UNREADABLE"
    assert backend.calls == []


async def test_limits(backend: FakeBackend) -> None:
    """No instances, too many of them, and a negative top_k concern the whole query."""
    core = await Core(backend).look()
    with pytest.raises(InvalidInput, match="at least one"):
        await core.predict()
    with pytest.raises(RequestTooLarge, match="4 at most"):
        await core.predict(*[TENSOR] * 5)
    with pytest.raises(InvalidInput, match="top_k"):
        await core.predict(TENSOR, top_k=-1)


async def test_model_names(backend: FakeBackend) -> None:
    """An empty name means the only model; with several it names none."""
    assert (await (await Core(backend).look()).predict(TENSOR, model="")).servable.model == "digits"
    core = await Core(backend, names=("digits", "letters")).look()
    assert (await core.predict(TENSOR, model="letters")).servable.model == "letters"
    for name in ("", "cats"):
        with pytest.raises(ModelNotFound):
            await core.predict(TENSOR, model=name)


async def test_versions(backend: FakeBackend) -> None:
    """The highest version answers, or the one that is asked for."""
    backend.available = [2, 10, 1]
    core = await Core(backend).look()
    assert (await core.predict(TENSOR)).servable.version == 10
    assert (await core.predict(TENSOR, version=2)).servable.version == 2
    with pytest.raises(ModelNotFound, match="there are: 1, 2, 10"):
        await core.predict(TENSOR, version=3)


async def test_version_dropped_between_looks(backend: FakeBackend) -> None:
    """A version that went since the last look is replaced on the spot; one that was asked for by number is gone."""
    backend.available = [1, 2]
    core = await Core(backend).look()
    backend.available = [1]
    assert (await core.predict(TENSOR)).servable.version == 1
    backend.available = [1, 2]
    await core.look()
    backend.available = [1]
    with pytest.raises(ModelNotFound, match="no version 2"):
        await core.predict(TENSOR, version=2)


async def test_backend_contradicts_itself(backend: FakeBackend) -> None:
    """A backend that lists a version and does not know it makes the call fail, and not go round in circles."""
    core = await Core(backend).look()

    def gone(inputs: object) -> dict[str, np.ndarray]:
        raise ModelNotFound("gone")

    backend.compute = gone
    with pytest.raises(NotReady, match="being replaced"):
        await core.predict(TENSOR)


async def test_not_ready(backend: FakeBackend) -> None:
    """Until a version has been seen calls are told to come again; an absent backend leaves what was known."""
    core = Core(backend)
    with pytest.raises(NotReady) as caught:
        await core.predict(TENSOR)
    assert caught.value.retry_after
    await core.look()
    backend.error = BackendUnavailable("away")
    await core.look()
    assert not core.catalog.ready
    assert isinstance(await core.error(TENSOR), BackendUnavailable)
    backend.error = None
    assert (await core.predict(TENSOR)).servable.version == 1


async def test_other_files_behind_a_version(backend: FakeBackend) -> None:
    """When a backend was away its versions are read anew."""
    core = await Core(backend).look()
    backend.error = BackendUnavailable("away")
    await core.look()
    backend.error, backend.contract = None, "{}"
    await core.look()
    assert core.catalog.models["digits"].versions[1].state is State.REFUSED


async def test_a_backend_too_busy_to_be_read(backend: FakeBackend) -> None:
    """A version that answered stays in use while it cannot be read anew, and is read when it can."""
    core = await Core(backend).look()
    backend.error = BackendUnavailable("away")
    await core.look()
    backend.error, backend.describe_error = None, DeadlineExceeded("busy")
    await core.look()
    assert (await core.predict(TENSOR)).servable.version == 1
    backend.describe_error, backend.contract = None, "{}"
    await core.look()
    assert core.catalog.models["digits"].versions[1].state is State.REFUSED


async def test_shapes_that_differ(backend: FakeBackend) -> None:
    """Where the model leaves sizes open, instances of different sizes are answered each by a call of its kind."""
    open_sizes = signature("serving_default", {"x": (np.float32, (-1, -1))}, {"x": (np.float32, (-1, -1))})
    backend.contract, backend.signatures_, backend.compute = None, {"serving_default": open_sizes}, dict
    core = await Core(backend).look()
    arrays = [np.arange(size, dtype=np.float32) for size in (2, 3, 2)]
    result = await core.predict(*(Tensors({"x": array}) for array in arrays))
    for prediction, array in zip(result.predictions, arrays, strict=True):
        assert isinstance(prediction, Prediction)
        assert isinstance(prediction.answer, Raw)
        np.testing.assert_array_equal(prediction.answer.outputs["x"], array)
    assert len(backend.calls) == 2


async def test_a_batch(backend: FakeBackend) -> None:
    """A batch with a contract is answered with outputs and predictions; its images are preprocessed."""
    core = await Core(backend).look()
    deadline = time.monotonic() + 10
    encoded = np.array([digits.encode(digits.band(digit)) for digit in (3, 7)], object)
    for inputs in ({"image": encoded}, {"image": np.zeros((2, 28, 28), np.float32)}):
        inference = await core.predictor.infer(Batch("", inputs), deadline)
        assert (inference.rows, inference.outputs["probabilities"].shape) == (2, (2, 10))
        assert all(receipts.check(prediction.receipt).version == 1 for prediction in inference.predictions)
    with pytest.raises(InvalidInput, match="PNG") as caught:
        await core.predictor.infer(Batch("", {"image": np.array([encoded[0], b"x"], object)}), deadline)
    assert caught.value.field == "inputs[0].contents[1]"
    with pytest.raises(RequestTooLarge, match="4 at most"):
        await core.predictor.infer(Batch("", {"image": np.zeros((5, 28, 28), np.float32)}), deadline)


@pytest.mark.parametrize(
    ("inputs", "text"),
    [
        ({}, "expected 'image': float32"),
        ({"image": np.zeros((1, 28, 28))}, "is float64"),
        ({"image": np.zeros((28, 28), np.float32)}, r"expected \[-1, 28, 28\]"),
        ({"image": np.zeros((0, 28, 28), np.float32)}, "1 or more"),
        ({"image": np.full((1, 28, 28), np.nan, np.float32)}, "finite"),
        ({"image": np.array([], object)}, "is string"),
    ],
)
async def test_a_bad_batch(backend: FakeBackend, inputs: dict[str, np.ndarray], text: str) -> None:
    """A batch that does not fit the signature is refused, and the backend is not asked."""
    core = await Core(backend).look()
    with pytest.raises(InvalidInput, match=text):
        await core.predictor.infer(Batch("", inputs), time.monotonic() + 10)
    assert backend.calls == []


async def test_a_batch_without_a_contract(backend: FakeBackend) -> None:
    """Without a contract a batch goes alone, whatever its signature's dimensions mean."""
    fixed = signature("serving_default", {"x": (np.float32, (3,))}, {"x": (np.float32, (3,))})
    backend.contract, backend.signatures_, backend.compute = None, {"serving_default": fixed}, dict
    core = await Core(backend).look()
    inference = await core.predictor.infer(Batch("", {"x": np.ones(3, np.float32)}), time.monotonic() + 10)
    assert (inference.outputs["x"].tolist(), list(inference.predictions)) == ([1, 1, 1], [])
    with pytest.raises(DeadlineExceeded):
        await core.predictor.infer(Batch("", {"x": np.ones(3, np.float32)}), time.monotonic())


async def test_several_inputs(backend: FakeBackend) -> None:
    """A signature of several inputs takes them by name, all of them."""
    both = signature("serving_default", {"a": (np.int64, (-1,)), "b": (np.int64, None)}, {})
    backend.contract, backend.signatures_, backend.compute = None, {"serving_default": both}, dict
    core = await Core(backend).look()
    one = np.array(1)
    assert isinstance((await core.predict(Tensors({"a": one, "b": one}))).predictions[0], Prediction)
    for values in ({"a": one}, {None: one}, {"a": one, "b": one, "c": one}):
        error = await core.error(Tensors(values))
        assert error.reason == "TENSOR_NAMES_MISMATCH"
        assert "'a': int64 []" in error.message
        assert "'b': int64 any shape" in error.message


async def test_no_batch_dimension(backend: FakeBackend) -> None:
    """A signature without a batch dimension cannot be asked in this way, and the answer says how."""
    fixed = signature("serving_default", {"x": (np.float32, (3,))}, {})
    backend.contract, backend.signatures_ = None, {"serving_default": fixed}
    error = await (await Core(backend).look()).error(Tensors({"x": np.zeros(3, np.float32)}))
    assert isinstance(error, Unsupported)
    assert "tensorflow.serving.PredictionService" in error.message


async def test_other_signature(backend: FakeBackend) -> None:
    """A signature other than the contract's gives tensors, and takes no images."""
    raw = signature("raw", {"image": (np.float32, (-1, 28, 28))}, {"probabilities": (np.float32, (-1, 10))})
    backend.signatures_ = backend.signatures_ | {"raw": raw}
    core = await Core(backend).look()
    (prediction,) = (await core.predict(TENSOR, signature="raw")).predictions
    assert isinstance(prediction, Prediction)
    assert isinstance(prediction.answer, Raw)
    assert (await core.error(Image(digits.encode(digits.band(1))), signature="raw")).reason == "IMAGES_NOT_ACCEPTED"
    with pytest.raises(ModelNotFound, match="there are: raw, serving_default"):
        await core.predict(TENSOR, signature="contract")


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"input": {"name": "other", "dtype": "float32", "shape": (28, 28)}}, "the only input 'other'"),
        ({"input": {"name": "image", "dtype": "uint8", "shape": (28, 28)}}, "uint8"),
        ({"input": {"name": "image", "dtype": "float32", "shape": (28,)}}, r"\[28\]"),
        ({"postprocessing": {"task": "regression", "output": "value"}}, "the output 'value'"),
    ],
)
async def test_contract_and_model_disagree(backend: FakeBackend, change: dict[str, Any], text: str) -> None:
    """A contract that speaks of another input or output than the model has is refused when the version appears."""
    backend.contract = digits.contract(**(change | {"golden": ()})).model_dump_json()
    core = await Core(backend).look()
    version = core.catalog.models["digits"].versions[1]
    assert version.state is State.REFUSED
    with pytest.raises(NotReady, match=text):
        await core.predict(TENSOR, version=1)
