"""Questions between the processes of one gateway: a word to a Unix socket, JSON back."""

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

Answers = Mapping[str, Callable[[], Awaitable[Any]]]
# Seconds for a question and its answer.
TIMEOUT = 5.0


class SilentError(OSError):
    """Nobody answered."""


async def listen(path: Path, answers: Answers) -> None:
    """Answers each word with what its function returns, until cancelled."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Who asks and leaves is nobody's loss.
        with contextlib.suppress(OSError, TimeoutError, KeyError, SilentError), contextlib.closing(writer):
            async with asyncio.timeout(TIMEOUT):
                word = (await reader.readline()).decode("ascii", "replace").strip()
                writer.write(json.dumps(await answers[word]()).encode())
                await writer.drain()

    async with await asyncio.start_unix_server(answer, path) as server:
        await server.serve_forever()


async def ask(path: Path, word: str, timeout: float = TIMEOUT) -> Any:
    """The answer to a word; SilentError if there is none within `timeout` seconds."""
    try:
        async with asyncio.timeout(timeout):
            reader, writer = await asyncio.open_unix_connection(path)
            with contextlib.closing(writer):
                writer.write(f"{word}\n".encode())
                return json.loads(await reader.read())
    except (OSError, TimeoutError, ValueError) as error:
        raise SilentError(f"{path.name} does not answer") from error
