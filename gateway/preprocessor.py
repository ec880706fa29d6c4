"""From instances to rows: tensors are checked, images preprocessed, as many at once as there are."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor

from gateway.backend import Signature
from gateway.catalog import Servable
from gateway.errors import GatewayError
from gateway.instances import Image, Instance, Pixels, Row, Tensors, check_takes_images, image_rows, to_row

Picture = Image | Pixels
Rows = list[Row | GatewayError]

# An image of at most this many bytes is preprocessed on the spot: handing it to a thread would cost more.
INLINE_BYTES = 2048
# Images after which others get a turn; what more at once would save is little.
_AT_ONCE = 32
# Seconds that small images wait for others while their rows would wait for the model server anyhow.
_GATHERING = 0.002


class Preprocessor:
    """Makes rows of instances. Small images that come in one turn of the event loop are made together, and those that
    come within a moment where the model server is `busy` with others.
    """

    def __init__(self, executor: Executor, busy: Callable[[Servable, Signature], bool]) -> None:
        self._executor = executor
        self._busy = busy
        self._waiting: deque[tuple[Servable, Sequence[Picture], asyncio.Future[Rows]]] = deque()
        self._count = 0
        self._next: asyncio.Handle | None = None
        self._gathering = False

    async def rows(
        self, servable: Servable, signature: Signature, instances: Sequence[Instance | GatewayError]
    ) -> Rows:
        """Each instance's row, or what is wrong with it."""
        small: dict[int, Picture] = {}
        large: dict[int, asyncio.Future[Rows]] = {}
        rows: list[Row | GatewayError | None] = []
        for place, instance in enumerate(instances):
            row: Row | GatewayError | None = None
            try:
                if isinstance(instance, GatewayError):
                    row = instance
                elif isinstance(instance, Tensors):
                    row = to_row(instance, servable, signature)
                else:
                    check_takes_images(servable, signature)
                    if _bytes(instance) <= INLINE_BYTES:
                        small[place] = instance
                    else:
                        large[place] = asyncio.get_running_loop().run_in_executor(
                            self._executor, image_rows, [instance], servable
                        )
            except GatewayError as error:
                row = error
            rows.append(row)
        if small:
            for place, row in zip(small, await self._together(servable, signature, list(small.values())), strict=True):
                rows[place] = row
        for place, pending in large.items():
            (rows[place],) = await pending
        return [row for row in rows if row is not None]

    def _together(self, servable: Servable, signature: Signature, images: Sequence[Picture]) -> "asyncio.Future[Rows]":
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Rows] = loop.create_future()
        self._waiting.append((servable, images, done))
        self._count += len(images)
        if self._next is None:
            self._gathering = self._busy(servable, signature)
            self._next = loop.call_later(_GATHERING, self._make) if self._gathering else loop.call_soon(self._make)
        elif self._gathering and self._count >= _AT_ONCE:
            self._next.cancel()
            self._gathering, self._next = False, loop.call_soon(self._make)
        return done

    def _make(self) -> None:
        """Makes the rows of those who came first and want the same version."""
        servable, images, done = self._waiting.popleft()
        asked, together = [(len(images), done)], list(images)
        while self._waiting and self._waiting[0][0] is servable and len(together) < _AT_ONCE:
            _, images, done = self._waiting.popleft()
            asked.append((len(images), done))
            together += images
        self._count -= len(together)
        self._gathering = False
        self._next = asyncio.get_running_loop().call_soon(self._make) if self._waiting else None
        try:
            rows = image_rows(together, servable)
        except Exception as error:
            # Whatever went wrong is everybody's: a step that fails on what it should refuse.
            for _, done in asked:
                if not done.done():
                    done.set_exception(error)
            return
        start = 0
        for count, done in asked:
            if not done.done():
                done.set_result(rows[start : start + count])
            start += count


def _bytes(image: Picture) -> int:
    return len(image.encoded) if isinstance(image, Image) else image.array.size
