"""gateway.preprocessor"""

import asyncio
import re
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from gateway import preprocessor
from gateway.backend import Signature
from gateway.catalog import Servable
from gateway.errors import InvalidInput, PreprocessingFailed
from gateway.instances import Image, Pixels, Record, Tensors
from gateway.preprocessor import Preprocessor
from serving.preprocessing import Step, build
from tests.fakes import digits, own_steps, people
from tests.fakes.backend import signature

SIGNATURE = signature("serving_default", {"image": (np.float32, (-1, 28, 28))}, {})
IMAGES = [Image(digits.encode(digits.band(label, 56))) for label in range(4)]


@pytest.fixture
def executor() -> Iterator[ThreadPoolExecutor]:
    """A thread for what is large."""
    with ThreadPoolExecutor(1) as threads:
        yield threads


@pytest.fixture
def servable() -> Servable:
    """A version with the fake digits' contract."""
    contract = digits.contract()
    return Servable("digits", 1, {"serving_default": SIGNATURE}, contract, contract.pipeline())


async def preprocessed(rows: Preprocessor, servable: Servable, signature: Signature, instances: Sequence[Any]) -> Any:
    """The rows, once they are there."""
    found = rows.rows(servable, signature, instances)
    return found if isinstance(found, list) else await found


async def test_together(executor: ThreadPoolExecutor, servable: Servable, monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests that come in one turn are made together, each gets its own; who leaves takes nobody along."""
    sizes: list[int] = []
    original = preprocessor.image_rows

    def noted(images: Any, servable: Servable, **options: Any) -> Any:
        sizes.append(len(images))
        return original(images, servable, **options)

    monkeypatch.setattr(preprocessor, "image_rows", noted)
    rows = Preprocessor(executor)
    requests = [[IMAGES[0]], [Image(IMAGES[1].encoded[:60]), IMAGES[1]], [IMAGES[2]], [IMAGES[3]]]
    tasks = [asyncio.ensure_future(preprocessed(rows, servable, SIGNATURE, request)) for request in requests]
    await asyncio.sleep(0)
    tasks[2].cancel()
    first, second, left, last = await asyncio.gather(*tasks, return_exceptions=True)
    assert sizes == [5]
    assert isinstance(left, asyncio.CancelledError)
    for row, label in ((first[0], 0), (second[1], 1), (last[0], 3)):
        np.testing.assert_array_equal(row["image"], servable.pipeline(IMAGES[label].encoded))
    assert isinstance(second[0], InvalidInput)
    assert second[0].reason == "IMAGE_UNREADABLE"


@pytest.mark.parametrize(
    ("image", "inline"),
    [
        (Image(digits.encode(np.zeros((28, 28), np.uint8))), True),
        (Image(digits.encode(np.zeros((28, 28), np.uint8), "JPEG")), True),
        (Pixels(np.zeros((64, 64, 3), np.uint8)), True),
        (Pixels(np.zeros((65, 64, 1), np.uint8)), False),
        (Image(digits.encode(np.zeros((1200, 1200), np.uint8))), False),
        (Image(digits.encode(np.zeros((4000, 4000), np.uint8), "WEBP", lossless=True)), False),
        (Image(digits.encode(np.zeros((28, 28), np.uint8), "GIF")), False),
        (Image(b"no image"), False),
    ],
)
async def test_few_bytes(servable: Servable, monkeypatch: Any, image: Image | Pixels, inline: bool) -> None:
    """The event loop is for what is sure to be small: a file of a few bytes may have millions of pixels."""
    if isinstance(image, Image):
        assert len(image.encoded) <= preprocessor.INLINE_BYTES
    where: list[bool] = []
    monkeypatch.setattr(preprocessor, "image_rows", lambda images, *_, **__: [where.append(_on_loop())] * len(images))
    with ThreadPoolExecutor(1) as executor:
        await preprocessed(Preprocessor(executor), servable, SIGNATURE, [image])
    assert where == [inline]


def _on_loop() -> bool:
    return threading.current_thread() is threading.main_thread()


async def test_places(executor: ThreadPoolExecutor, servable: Servable) -> None:
    """Tensors, small and large images, and errors of one request keep their places."""
    tensor = np.full((28, 28), 0.5, np.float32)
    large = digits.band(2)
    rows = await preprocessed(
        Preprocessor(executor),
        servable,
        SIGNATURE,
        [Pixels(large[:, :, np.newaxis]), Tensors({None: tensor}), InvalidInput("bad"), IMAGES[1]],
    )
    np.testing.assert_array_equal(rows[0]["image"], servable.pipeline.from_pixels(large[:, :, np.newaxis]))
    assert rows[1]["image"] is tensor
    assert isinstance(rows[2], InvalidInput)
    np.testing.assert_array_equal(rows[3]["image"], servable.pipeline(IMAGES[1].encoded))


async def test_more_than_go_at_once(executor: ThreadPoolExecutor, servable: Servable) -> None:
    """A request with many images gets all its rows, in order."""
    rows = await preprocessed(Preprocessor(executor), servable, SIGNATURE, IMAGES * 20)
    expected = [servable.pipeline(image.encoded) for image in IMAGES]
    np.testing.assert_array_equal([row["image"] for row in rows], expected * 20)


async def test_a_step_that_fails(executor: ThreadPoolExecutor, servable: Servable, monkeypatch: Any) -> None:
    """What no step should raise reaches who asked, and the next request is served."""
    rows = Preprocessor(executor)
    with monkeypatch.context() as patch:
        patch.setattr(preprocessor, "image_rows", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            await preprocessed(rows, servable, SIGNATURE, [IMAGES[0]])
    assert len(await preprocessed(rows, servable, SIGNATURE, [IMAGES[0]])) == 1


@pytest.mark.parametrize(
    ("place", "name", "bad", "text"),
    [
        (1, "fail_on_black", Pixels(np.zeros((28, 28, 1), np.uint8)), "fail_on_black failed: RuntimeError"),
        (len(digits.STEPS), "halve", IMAGES[0], r"made float32 \[14, 28\]; expected float32 \[28, 28\]"),
    ],
)
async def test_own_steps(executor: ThreadPoolExecutor, place: int, name: str, bad: Image | Pixels, text: str) -> None:
    """An image that a step fails on, or makes too little of, is no other's affair."""
    steps = [*digits.STEPS[:place], Step(name=f"{own_steps.__name__}:{name}"), *digits.STEPS[place:]]
    servable = Servable(
        "digits", 1, {}, digits.contract(preprocessing=tuple(steps)), build(steps, [own_steps.__name__])
    )
    rows = Preprocessor(executor)
    first, error, last = await preprocessed(rows, servable, SIGNATURE, [IMAGES[1], bad, IMAGES[2]])
    assert [row["image"].shape for row in (first, last)] == [(28, 28)] * 2
    assert isinstance(error, PreprocessingFailed)
    assert re.search(text, error.message)


async def test_sources(executor: ThreadPoolExecutor, servable: Servable) -> None:
    """Rows of images, whether small or large, know what they were made of; those of tensors do not."""
    rows = Preprocessor(executor, sources=True)
    tensor = Tensors({None: np.zeros((28, 28), np.float32)})
    large = Pixels(np.ones((280, 280, 1), np.uint8))
    encoded, none, pixels, made = await preprocessed(
        rows, servable, SIGNATURE, [IMAGES[0], Image(b"none"), large, tensor]
    )
    assert encoded.source.pixels == 56 * 56
    assert encoded.source.levels.max() == 255
    assert isinstance(none, InvalidInput)
    assert pixels.source.levels.mean() == 1
    assert made.source is None
    (without,) = await preprocessed(Preprocessor(executor), servable, SIGNATURE, [IMAGES[0]])
    assert without.source is None


@pytest.mark.parametrize("count", [1, 200])
async def test_rows_of_a_table(executor: ThreadPoolExecutor, count: int) -> None:
    """All at once, few here and many in a thread; each has its own row or error. An image is none."""
    contract = people.contract()
    servable = Servable("people", 1, {}, contract, contract.pipeline())
    rows = Preprocessor(executor)
    signature_ = signature(contract.signature, {contract.input.name: (np.float32, (-1, *contract.input.shape))}, {})
    good, bad = Record(people.ROW), Record({**people.ROW, "surprise": 1})
    *made, wrong, image = await preprocessed(rows, servable, signature_, [*[good] * count, bad, IMAGES[0]])
    assert [row[contract.input.name].shape for row in made] == [contract.input.shape] * count
    assert isinstance(wrong, InvalidInput)
    assert isinstance(image, InvalidInput)
    assert image.reason == "IMAGES_NOT_ACCEPTED"
