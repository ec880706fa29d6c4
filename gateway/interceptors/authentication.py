"""Who is calling."""

from typing import Protocol

from gateway.auth.principal import Principal
from gateway.call import Call
from gateway.interceptors.interceptor import Interceptor

_BEARER = "bearer "


class Authenticator(Protocol):
    """Knows whose a credential is."""

    def authenticate(self, presented: str | None) -> Principal:
        """The credential's owner; Unauthenticated if it is nobody's."""


class Authentication(Interceptor):
    """Takes the credential from `authorization: Bearer …`, or from `x-api-key`."""

    def __init__(self, authenticator: Authenticator) -> None:
        self._authenticator = authenticator

    async def on_start(self, call: Call) -> None:
        """Sets `call.principal`; Unauthenticated without a valid credential."""
        header = call.metadata.get("authorization", "")
        bearer = header[len(_BEARER) :].strip() if header[: len(_BEARER)].lower() == _BEARER else None
        call.principal = self._authenticator.authenticate(bearer or call.metadata.get("x-api-key"))

    async def on_message(self, call: Call) -> None:
        """The same again: a credential that is revoked ends the streams that it opened."""
        await self.on_start(call)


class NoAuthentication(Interceptor):
    """Lets everybody do everything: for a gateway that something else guards."""

    def __init__(self, principal: Principal) -> None:
        self._principal = principal

    async def on_start(self, call: Call) -> None:
        """Sets `call.principal`."""
        call.principal = self._principal
