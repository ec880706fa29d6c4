"""An issuer's public keys: found by discovery, fetched off the event loop, kept, and fetched again when they change."""

import asyncio
import contextlib
import json
import ssl
import time
import urllib.request
from collections.abc import Iterable, Mapping
from http.client import HTTPException
from typing import Any

import jwt
import structlog

from gateway.errors import CredentialUncheckable, Unauthenticated
from gateway.settings.guards import IssuerSettings, permitted

log = structlog.get_logger("gateway.auth")

# Seconds that an issuer may take to answer with its keys.
FETCH_TIMEOUT = 5.0
# Seconds between two fetches because of unknown keys, whatever callers send.
MIN_INTERVAL = 10.0
# No issuer has more keys than go into this.
MAX_BYTES = 1 << 20
RETRY_AFTER = 5.0


Keys = dict[tuple[str | None, str], jwt.PyJWK]
"""Keys by id and algorithm."""


class IssuerError(Exception):
    """The issuer's keys could not be had."""


class IssuerKeys:
    """The keys of one issuer by id."""

    def __init__(self, settings: IssuerSettings) -> None:
        self._settings = settings
        self._min_interval = MIN_INTERVAL
        self._keys: Keys = {}
        self._tried = -float("inf")
        self._fetched = -float("inf")
        self._fetching: asyncio.Task[None] | None = None
        self.generation = 0
        """Goes up when the keys change: what was checked with the old ones must be checked again."""

    async def key(self, key_id: str | None, algorithm: str) -> jwt.PyJWK:
        """The key called `key_id` for `algorithm`, or the only one there is for None.

        Unauthenticated if there is none, CredentialUncheckable if the issuer does not answer.
        """
        self.refresh_if_old()
        found = self._find(key_id, algorithm)
        if found is None:
            fetching = self.refresh()
            if fetching is not None:
                # Shielded: that one caller leaves must not end it for the others.
                await asyncio.shield(fetching)
            found = self._find(key_id, algorithm)
        if found is not None:
            return found
        if self._fetched < self._tried:
            raise CredentialUncheckable(
                "the issuer's keys cannot be had, so that the token cannot be checked; retry later",
                retry_after=RETRY_AFTER,
            )
        raise Unauthenticated("the token's signing key is not among its issuer's", reason="CREDENTIAL_INVALID")

    def refresh(self) -> "asyncio.Task[None] | None":
        """Fetches the keys in the background, or joins a fetch under way; None if the last was a moment ago."""
        if self._fetching is None and time.monotonic() - self._tried > self._min_interval:
            self._tried = time.monotonic()
            self._fetching = asyncio.get_running_loop().create_task(self._refresh())
        return self._fetching

    def refresh_if_old(self) -> None:
        """Fetches the keys in the background once they are past their age."""
        if time.monotonic() - self._fetched > self._settings.max_key_age:
            self.refresh()

    async def close(self) -> None:
        """Ends a fetch under way."""
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.gather(self._fetching, return_exceptions=True)

    def _find(self, key_id: str | None, algorithm: str) -> jwt.PyJWK | None:
        if key_id is None:
            fitting = [key for (_, for_algorithm), key in self._keys.items() if for_algorithm == algorithm]
            return fitting[0] if len(fitting) == 1 else None
        return self._keys.get((key_id, algorithm))

    async def _refresh(self) -> None:
        try:
            # The look-up of a name has no time-out of its own.
            async with asyncio.timeout(2 * FETCH_TIMEOUT):
                keys = await asyncio.to_thread(fetch, self._settings)
        except (IssuerError, TimeoutError) as error:
            log.warning(
                "issuer unreachable, its keys stay as they were", issuer=self._settings.issuer, message=str(error)
            )
        else:
            self._fetched = time.monotonic()
            if {name: key.key for name, key in keys.items()} != {name: key.key for name, key in self._keys.items()}:
                self._keys = keys
                self.generation += 1
                log.info("issuer's keys", issuer=self._settings.issuer, keys=sorted({str(name) for name, _ in keys}))
        finally:
            self._fetching = None


def fetch(settings: IssuerSettings) -> Keys:
    """The issuer's keys, those that the settings would take; blocks. IssuerError says what went wrong."""
    deadline = time.monotonic() + FETCH_TIMEOUT
    try:
        context = ssl.create_default_context(cafile=settings.ca_file)
    except OSError as error:
        raise IssuerError(f"{settings.ca_file}: {error}") from error
    url = settings.jwks_url or _discover(settings, context, deadline)
    if not permitted(url, insecure_http=settings.insecure_http):
        raise IssuerError(f"keys at {url!r}; expected an https URL")
    found = _get(url, context, deadline).get("keys")
    keys: Keys = {}
    for described in found if isinstance(found, list) else []:
        if isinstance(described, dict) and described.get("use", "sig") == "sig":
            keys |= _usable(described, settings.algorithms)
    if not keys:
        raise IssuerError(f"no key for {', '.join(settings.algorithms)} at {url}")
    return keys


def _usable(described: dict[str, Any], algorithms: Iterable[str]) -> Keys:
    """A key for each of the algorithms that it can be used with; for none if it is of a kind that is not known."""
    keys: Keys = {}
    for algorithm in algorithms:
        if described.get("alg", algorithm) == algorithm:
            with contextlib.suppress(jwt.PyJWTError, ValueError, TypeError, AttributeError, KeyError):
                key = jwt.PyJWK(described, algorithm)
                keys[key.key_id, algorithm] = key
    return keys


def _discover(settings: IssuerSettings, context: ssl.SSLContext, deadline: float) -> str:
    document = _get(f"{settings.issuer.rstrip('/')}/.well-known/openid-configuration", context, deadline)
    if document.get("issuer") != settings.issuer:
        raise IssuerError(f"its configuration is that of {str(document.get('issuer'))[:200]!r}")
    return str(document.get("jwks_uri", ""))


def _get(url: str, context: ssl.SSLContext, deadline: float) -> Mapping[str, Any]:
    opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=context), _NoRedirects)
    try:
        with opener.open(url, timeout=max(deadline - time.monotonic(), 0.001)) as answer:
            body = bytearray()
            # In pieces: the time-out is that of one read, and a slow issuer could go on for ever.
            while piece := answer.read1(1 << 16):
                body += piece
                if len(body) > MAX_BYTES:
                    raise IssuerError(f"{url} has more than {MAX_BYTES} bytes")
                if time.monotonic() > deadline:
                    raise IssuerError(f"{url} took longer than {FETCH_TIMEOUT:.0f} s")
        document = json.loads(body)
    except (OSError, HTTPException, ValueError, RecursionError) as error:
        raise IssuerError(f"{url}: {error}") from error
    if not isinstance(document, dict):
        raise IssuerError(f"{url} holds no JSON object")
    return document


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """An issuer's keys are where it says they are, and nowhere else."""

    def redirect_request(self, *_: Any) -> None:
        """Follows nothing: the redirect becomes an HTTPError."""
