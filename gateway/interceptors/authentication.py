"""Who is calling."""

from collections.abc import Awaitable
from typing import Protocol

from gateway.auth.client_certificates import ClientCertificates
from gateway.auth.principal import Principal
from gateway.call import Call
from gateway.errors import Unauthenticated
from gateway.interceptors.interceptor import Interceptor

_BEARER = "bearer "
_TOKEN_DOTS = 2


class Keys(Protocol):
    """Knows whose an API key is."""

    def authenticate(self, presented: str) -> Principal:
        """The key's owner; Unauthenticated if it is nobody's."""


class Tokens(Protocol):
    """Knows whose a token is."""

    async def authenticate(self, token: str) -> Principal:
        """The token's owner; Unauthenticated if it is nobody's."""


class Authentication(Interceptor):
    """Takes the first credential that a call has, and no other should that one be bad:

    `x-api-key`; then `authorization: Bearer …`, a token if it has the form of one, else an API key; then the client
    certificate of the connection.
    """

    def __init__(
        self,
        keys: Keys | None = None,
        tokens: Tokens | None = None,
        certificates: ClientCertificates | None = None,
    ) -> None:
        self.keys = keys
        self.tokens = tokens
        self.certificates = certificates

    def on_start(self, call: Call) -> Awaitable[None] | None:
        """Sets `call.principal`; Unauthenticated without a valid credential."""
        header = call.metadata.get("authorization", "")
        bearer = header[len(_BEARER) :].strip() if header[: len(_BEARER)].lower() == _BEARER else ""
        key = call.metadata.get("x-api-key")
        if not key and self.tokens and bearer.count(".") == _TOKEN_DOTS:
            return self._by_token(call, self.tokens, bearer)
        presented = key or bearer
        if presented and self.keys:
            call.principal = self.keys.authenticate(presented)
            return None
        if presented:
            raise Unauthenticated("no credential of this kind is taken here", reason="CREDENTIAL_INVALID")
        principal = self.certificates.authenticate(call.auth_context()) if self.certificates else None
        if principal is None:
            raise Unauthenticated(f"no credential; expected {self._expected()}")
        call.principal = principal
        return None

    def on_message(self, call: Call) -> Awaitable[None] | None:
        """The same again: a credential that is revoked ends the streams that it opened."""
        return self.on_start(call)

    async def _by_token(self, call: Call, tokens: Tokens, bearer: str) -> None:
        call.principal = await tokens.authenticate(bearer)

    def _expected(self) -> str:
        ways = []
        if self.keys:
            ways.append("the metadata `authorization: Bearer <API key>` or `x-api-key: <API key>`")
        if self.tokens:
            ways.append("the metadata `authorization: Bearer <token>`")
        if self.certificates:
            ways.append("a client certificate")
        return ", or ".join(ways)


class NoAuthentication(Interceptor):
    """Lets everybody do everything: for a gateway that something else guards."""

    def __init__(self, principal: Principal) -> None:
        self._principal = principal

    def on_start(self, call: Call) -> None:
        """Sets `call.principal`."""
        call.principal = self._principal
