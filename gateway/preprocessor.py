"""From instances to rows: tensors are checked, images and tables preprocessed, as many at once as there are."""

import asyncio
import functools
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import Executor
from typing import Any, cast

from gateway.backend import Signature
from gateway.catalog import Servable
from gateway.errors import GatewayError
from gateway.instances import (
    Image,
    Instance,
    Instances,
    Pixels,
    Record,
    Row,
    Tensors,
    TensorStack,
    image_rows,
    pipeline_for,
    record_rows,
    to_row,
)
from gateway.rows import Rows, RowStack, of_tensors
from serving.gathering import Gathering
from serving.on_loop import OnLoop
from serving.preprocessing.decode import claimed_pixels

Picture = Image | Pixels

# An image of at most this many bytes and pixels is preprocessed on the spot: handing it to a thread would cost more.
INLINE_BYTES, INLINE_PIXELS = 2048, 4096
# So are rows of a table that hold this many values together.
INLINE_VALUES = 512
# Images after which others get a turn; what more at once would save is little.
_AT_ONCE = 32


class Preprocessor(OnLoop):
    """Makes rows of instances. Small images that come one upon the other are made together (see `serving.gathering`).
    With `sources` rows know of what image they are.

    What is large, or may be slow because a step is somebody's own, goes to the `executor`.
    """

    def __init__(self, executor: Executor, *, sources: bool = False) -> None:
        self._executor = executor
        self._sources = sources
        self._waiting: deque[tuple[Servable, Sequence[Picture], asyncio.Future[Rows]]] = deque()
        self._count = 0
        self._gathering = Gathering(self._make)

    def rows(self, servable: Servable, signature: Signature, instances: Instances) -> Rows | RowStack | Awaitable[Rows]:
        """Each instance's row, or what is wrong with it. What takes time returns an awaitable."""
        if isinstance(instances, TensorStack):
            return of_tensors(instances, signature)
        checked: list[Row | GatewayError | Picture | Record] = []
        done = True
        for instance in instances:
            one = _checked(instance, servable, signature)
            checked.append(one)
            done = done and isinstance(one, (Row, GatewayError))
        if done:
            return cast("Rows", checked)
        if len(checked) <= _AT_ONCE and not _has_own(servable) and all(map(_is_small, checked)):
            return self._together(servable, cast("Sequence[Picture]", checked))
        return self._preprocessed(servable, checked)

    async def _preprocessed(
        self, servable: Servable, instances: Sequence[Row | GatewayError | Picture | Record]
    ) -> Rows:
        raw = {place: one for place, one in enumerate(instances) if not isinstance(one, (Row, GatewayError))}
        made = await self._made(servable, raw)
        return [one if isinstance(one, (Row, GatewayError)) else made[place] for place, one in enumerate(instances)]

    async def _made(self, servable: Servable, raw: Mapping[int, Picture | Record]) -> dict[int, Row | GatewayError]:
        """What becomes of images and a table's rows, by their places."""
        own = _has_own(servable)
        records: dict[int, Record] = {}
        small: dict[int, Picture] = {}
        large: dict[int, asyncio.Future[Rows]] = {}
        for place, one in raw.items():
            if isinstance(one, Record):
                records[place] = one
            elif own or not _is_small(one):
                large[place] = self._in_thread(image_rows, [one], servable, sources=self._sources)
            else:
                small[place] = one
        made: dict[int, Row | GatewayError] = {}
        if records:
            many = own or sum(len(record.values) for record in records.values()) > INLINE_VALUES
            table = list(records.values())
            rows = await self._in_thread(record_rows, table, servable) if many else record_rows(table, servable)
            made |= zip(records, rows, strict=True)
        if small:
            pictures = list(small.values())
            parts = [
                self._together(servable, pictures[start : start + _AT_ONCE])
                for start in range(0, len(pictures), _AT_ONCE)
            ]
            made |= zip(small, [row for part in parts for row in await part], strict=True)
        for place, pending in large.items():
            (made[place],) = await pending
        return made

    def _in_thread(self, make: Callable[..., Rows], *arguments: Any, **options: Any) -> "asyncio.Future[Rows]":
        call = functools.partial(make, *arguments, **options)
        return self._loop.run_in_executor(self._executor, call)

    def _together(self, servable: Servable, images: Sequence[Picture]) -> "asyncio.Future[Rows]":
        done: asyncio.Future[Rows] = self._loop.create_future()
        self._gathering.arrived(first=not self._waiting)
        self._waiting.append((servable, images, done))
        self._count += len(images)
        self._gathering.begin()
        if self._count >= _AT_ONCE:
            self._gathering.hurry()
        return done

    def _make(self) -> int:
        """Makes the rows of those who came first and want the same version; returns how many they are."""
        servable, images, done = self._waiting.popleft()
        asked, together = [(len(images), done)], list(images)
        while self._waiting and self._waiting[0][0] is servable and len(together) < _AT_ONCE:
            _, images, done = self._waiting.popleft()
            asked.append((len(images), done))
            together += images
        self._count -= len(together)
        if self._waiting:
            self._gathering.begin()
            self._gathering.hurry()
        try:
            rows = image_rows(together, servable, sources=self._sources)
        except Exception as error:
            # Whatever went wrong is everybody's: a step that fails on what it should refuse.
            for _, done in asked:
                if not done.done():
                    done.set_exception(error)
            return len(asked)
        start = 0
        for count, done in asked:
            if not done.done():
                done.set_result(rows[start : start + count])
            start += count
        return len(asked)


def _checked(
    instance: Instance | GatewayError, servable: Servable, signature: Signature
) -> Row | GatewayError | Picture | Record:
    """The row of a tensor or what is wrong with it; what is to be preprocessed, as it is, if it may be."""
    if isinstance(instance, GatewayError):
        return instance
    try:
        if isinstance(instance, Tensors):
            return to_row(instance, signature)
        pipeline_for(servable, signature, "rows" if isinstance(instance, Record) else "images")
    except GatewayError as error:
        return error
    return instance


def _has_own(servable: Servable) -> bool:
    """Whether a step is somebody's own, and may take any time."""
    return servable.pipeline is not None and servable.pipeline.has_own


def _is_small(image: object) -> bool:
    """Whether it is an image that takes next to nothing, as far as can be told without decoding it: a few bytes may be
    a bomb.
    """
    if isinstance(image, Pixels):
        height, width = image.array.shape[:2]
        return int(height * width) <= INLINE_PIXELS
    if not isinstance(image, Image) or len(image.encoded) > INLINE_BYTES:
        return False
    pixels = claimed_pixels(image.encoded)
    return pixels is not None and pixels <= INLINE_PIXELS
