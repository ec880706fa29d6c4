"""What the process that becomes Envoy tells the program inside."""

import json
import os
import signal
from dataclasses import asdict, dataclass
from typing import Self

ADMIN_SOCKET = "admin.sock"
DRAINING = "draining"
_VARIABLE = "TENSORGATE_INSIDE_ENVOY"
# Envoy would end at once, or forget SIGHUP; these stay pending until the program inside asks for them.
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@dataclass(frozen=True)
class Launched:
    """How the process was started."""

    arguments: list[str]
    """The program's command line."""
    ports: dict[str, int]
    """The port by each address that was asked for."""
    encrypted: list[str]
    """The addresses that speak TLS."""
    directory: str
    """Holds Envoy's configuration, certificates and keys, and its admin interface's socket; nobody else can enter."""
    admin_port: int | None = None
    """Of Envoy's own pages, where they were asked for."""

    def environment(self) -> dict[str, str]:
        """The variable by which `current` knows."""
        return {_VARIABLE: json.dumps(asdict(self))}

    @classmethod
    def current(cls) -> Self:
        """How this process was started; RuntimeError if not as Envoy."""
        text = os.environ.get(_VARIABLE)
        if text is None:
            raise RuntimeError("this application runs inside Envoy; start its program with --transport=envoy")
        return cls(**json.loads(text))
