"""JSON Web Tokens of OpenID Connect issuers: whose they are and what they allow."""

import hashlib
import time
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Any

import jwt

from gateway.auth.issuer_keys import IssuerKeys
from gateway.auth.principal import ADMIN, Principal
from gateway.errors import Unauthenticated
from gateway.settings.guards import SCOPE_PATTERN, IssuerSettings

# Larger tokens are nobody's: gRPC's own limit for all metadata is 8 to 16 KiB.
MAX_TOKEN_BYTES = 8192
MAX_NAME = 256
# Tokens that were found good lately: checking a signature costs more than the rest of the call's guards.
MAX_CACHED = 4096
# Beyond any time that a float can tell from the next.
_FAR = 1 << 53


class TokenVerifier:
    """Checks tokens of the issuers in its settings."""

    def __init__(self, issuers: Iterable[IssuerSettings]) -> None:
        self._issuers = {settings.issuer: (settings, IssuerKeys(settings)) for settings in issuers}
        self._good: OrderedDict[bytes, tuple[Principal, float, IssuerKeys, int]] = OrderedDict()

    def start(self) -> None:
        """Fetches the issuers' keys in the background, so that the first callers need not wait for them."""
        for _, keys in self._issuers.values():
            keys.refresh()

    async def close(self) -> None:
        """Ends what is under way."""
        for _, keys in self._issuers.values():
            await keys.close()

    async def authenticate(self, token: str) -> Principal:
        """Whose token it is. Unauthenticated if it is not good, CredentialUncheckable if its issuer is away."""
        if len(token) > MAX_TOKEN_BYTES:
            raise _invalid(f"the token is longer than {MAX_TOKEN_BYTES} bytes")
        digest = hashlib.blake2b(token.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        known = self._good.get(digest)
        if known is not None:
            principal, expires, keys, generation = known
            if time.time() < expires and keys.generation == generation:
                keys.refresh_if_old()
                return principal
            del self._good[digest]
        settings, keys, header = self._read(token)
        key = await keys.key(header.get("kid"), header["alg"])
        generation = keys.generation
        claims = _checked(token, key, settings)
        principal = _principal(claims, settings)
        expires = min(int(claims["exp"]), _FAR) + settings.leeway
        self._good[digest] = (principal, expires, keys, generation)
        if len(self._good) > MAX_CACHED:
            self._good.popitem(last=False)
        return principal

    def _read(self, token: str) -> tuple[IssuerSettings, IssuerKeys, Mapping[str, Any]]:
        """The issuer that the token claims to be of; nothing of this is proven yet."""
        try:
            unproven = jwt.decode_complete(token, options={"verify_signature": False})
        except (jwt.PyJWTError, ValueError, RecursionError):
            raise _invalid("the token is no JSON Web Token") from None
        issuer = unproven["payload"].get("iss")
        if not isinstance(issuer, str) or issuer not in self._issuers:
            raise _invalid("the token's issuer is not one whose tokens are taken here")
        settings, keys = self._issuers[issuer]
        if unproven["header"].get("alg") not in settings.algorithms:
            raise _invalid("the token is not signed by an algorithm that is taken from its issuer")
        return settings, keys, unproven["header"]


def _checked(token: str, key: jwt.PyJWK, settings: IssuerSettings) -> dict[str, Any]:
    try:
        claims = jwt.decode(
            token,
            key,
            # One of the settings', and one that the key is for.
            algorithms=[key.algorithm_name],
            audience=settings.audiences,
            issuer=settings.issuer,
            leeway=settings.leeway,
            options={"require": ["exp", "iss", "aud"]},
        )
    except jwt.ExpiredSignatureError:
        raise Unauthenticated("the token has expired", reason="CREDENTIAL_EXPIRED") from None
    except jwt.InvalidAudienceError:
        raise _invalid("the token is for another audience") from None
    except jwt.MissingRequiredClaimError as error:
        raise _invalid(f"the token has no claim `{error.claim}`") from None
    except (jwt.PyJWTError, ValueError, TypeError, OverflowError):
        raise _invalid("the token is not valid") from None
    for name, value in settings.required_claims.items():
        if claims.get(name) != value:
            raise _invalid(f"the token's claim `{name}` is not what it must be")
    return claims


def _principal(claims: Mapping[str, Any], settings: IssuerSettings) -> Principal:
    client = claims.get(settings.client_claim)
    if not isinstance(client, str) or not 0 < len(client) <= MAX_NAME:
        raise _invalid(f"the token's claim `{settings.client_claim}` names no client")
    granted = claims.get(settings.scopes_claim, ())
    values = granted.split() if isinstance(granted, str) else granted if isinstance(granted, list) else ()
    scopes = set(settings.scopes | settings.clients.get(client, frozenset()))
    for value in values:
        if isinstance(value, str):
            # Administration is never had by a word that means something elsewhere.
            itself = {value} if SCOPE_PATTERN.fullmatch(value) and value != ADMIN else set()
            scopes |= settings.scope_map.get(value, itself)
    return Principal(client, frozenset(scopes), group="" if client in settings.clients else settings.issuer)


def _invalid(text: str) -> Unauthenticated:
    return Unauthenticated(text, reason="CREDENTIAL_INVALID")
