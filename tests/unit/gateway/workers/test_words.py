"""gateway.workers.words: questions over Unix sockets."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway.workers import words
from gateway.workers.words import SilentError


@pytest.fixture
async def path(tmp_path: Path) -> AsyncIterator[Path]:
    """Where somebody answers."""

    async def greet() -> Any:
        return {"hello": "é"}

    async def fail() -> Any:
        raise OSError("no")

    found = tmp_path / "words.sock"
    answering = asyncio.create_task(words.listen(found, {"greet": greet, "fail": fail}))
    await asyncio.sleep(0.05)
    yield found
    answering.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await answering


async def test_answers(path: Path) -> None:
    """A word is answered, and another after it."""
    assert [await words.ask(path, "greet") for _ in range(2)] == [{"hello": "é"}] * 2


@pytest.mark.parametrize("word", ["fail", "nonsense", ""])
async def test_silence(path: Path, word: str) -> None:
    """A word that nobody knows, or whose answer fails, is met with silence; so is one to nobody."""
    with pytest.raises(SilentError):
        await words.ask(path, word)
    with pytest.raises(SilentError):
        await words.ask(path.with_name("none.sock"), "greet")
    assert await words.ask(path, "greet")


async def test_impatience(path: Path) -> None:
    """Who asks waits no longer than a moment."""
    left = asyncio.Event()

    async def never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.readline():
            pass
        writer.close()
        left.set()

    silent = path.with_name("silent.sock")
    async with await asyncio.start_unix_server(never, silent):
        with pytest.raises(SilentError):
            await words.ask(silent, "greet", 0.05)
        await left.wait()
