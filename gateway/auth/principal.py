"""Who is calling, and what they may do."""

from dataclasses import dataclass

from gateway.errors import PermissionDenied

ANY = "*"
ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Principal:
    """A caller: a name for logs and metrics, and scopes.

    A scope is `predict:<model>`, `feedback:<model>`, either with `*` for every model, or `admin`.
    """

    client: str
    scopes: frozenset[str] = frozenset()
    group: str = ""
    """What metrics call the client where names are anybody's to make up, as in tokens; empty for the name itself."""

    def may(self, action: str, model: str) -> bool:
        """Whether the scopes cover `action` on `model`."""
        return f"{action}:{ANY}" in self.scopes or f"{action}:{model}" in self.scopes

    def require(self, action: str, model: str) -> None:
        """PermissionDenied unless the scopes cover `action` on `model`, whether or not there is such a model."""
        if not self.may(action, model):
            raise PermissionDenied(
                f"the credential does not cover `{action}` on this model; it needs the scope {action}:<model>",
                metadata={"action": action},
            )

    def require_admin(self) -> None:
        """PermissionDenied unless the scopes have `admin`."""
        if ADMIN not in self.scopes:
            raise PermissionDenied(
                f"the credential does not cover administration; it needs the scope {ADMIN}", metadata={"action": ADMIN}
            )


# Before authentication: nobody, with no rights. With authentication off: anybody, with all of them.
ANONYMOUS = Principal("anonymous")
EVERYONE = Principal("anonymous", frozenset({f"predict:{ANY}", f"feedback:{ANY}", ADMIN}))
