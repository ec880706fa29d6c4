"""Envoy's admin interface, on a Unix socket of this process's own."""

import asyncio
import http.client
import socket
from pathlib import Path


class Admin:
    """Asks and orders; OSError or HTTPException if Envoy does not answer."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def get(self, resource: str) -> tuple[int, str]:
        """Status and text of a page, e.g. /ready."""
        return await asyncio.to_thread(self._request, "GET", resource)

    async def post(self, resource: str) -> None:
        """Has Envoy do something, e.g. /drain_listeners."""
        status, text = await asyncio.to_thread(self._request, "POST", resource)
        if status != http.client.OK:
            raise http.client.HTTPException(f"{resource}: {status} {text.strip()}")

    def _request(self, method: str, resource: str) -> tuple[int, str]:
        connection = _UnixConnection(self._path)
        try:
            connection.request(method, resource)
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=10)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))
