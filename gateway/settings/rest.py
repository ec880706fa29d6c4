"""The settings of JSON over HTTP."""

from typing import Annotated

from pydantic import Field

from gateway.settings.guards import Section


class RestSettings(Section):
    """JSON over the HTTP port, for callers with a key as everywhere."""

    enabled: bool = True
    """Whether models answer there; /metrics, /livez and /readyz do in any case."""
    docs: bool = True
    """Whether /docs describes the methods to people, and /openapi.json to callers with a key."""
    console: bool = True
    """Whether /console/ is a page on which people with a key try the models and watch how they do."""
    cors_origins: tuple[Annotated[str, Field(pattern=r"^(\*|https?://[^/\s]+)$")], ...] = ()
    """Origins whose pages may call from browsers, e.g. `https://example.org`; `*` for any. Default: none."""
    max_connections: Annotated[int, Field(ge=1)] = 2048
    """Connections to the HTTP port at once; further ones are closed as they come."""
    body_timeout: Annotated[float, Field(gt=0)] = 30.0
    """Seconds within which a request's body must have come."""
