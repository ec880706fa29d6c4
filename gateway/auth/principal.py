"""Who is calling, and what they may do."""

from dataclasses import dataclass

from gateway.errors import PermissionDenied

ANY = "*"


@dataclass(frozen=True, slots=True)
class Principal:
    """A caller: a name for logs and metrics, and scopes.

    A scope is `predict:<model>`, `feedback:<model>`, either with `*` for every model, or `admin`.
    """

    client: str
    scopes: frozenset[str] = frozenset()
    group: str = ""
    """What metrics call the client where names are anybody's to make up, as in tokens; empty for the name itself."""

    def may(self, action: str, model: str = "") -> bool:
        """Whether the scopes cover `action`, on `model` if it is about one."""
        if not model:
            return action in self.scopes
        return f"{action}:{ANY}" in self.scopes or f"{action}:{model}" in self.scopes

    def require(self, action: str, model: str = "") -> None:
        """PermissionDenied unless the scopes cover `action` on `model`, whether or not there is such a model."""
        if not self.may(action, model):
            on, scope = (" on this model", f"{action}:<model>") if model else ("", action)
            raise PermissionDenied(
                f"the credential does not cover `{action}`{on}; it needs the scope {scope}",
                metadata={"action": action},
            )


# Before authentication: nobody, with no rights. With authentication off: anybody, with all that a client may have.
ANONYMOUS = Principal("anonymous")
EVERYONE = Principal("anonymous", frozenset({f"predict:{ANY}", f"feedback:{ANY}"}))
