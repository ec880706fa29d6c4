"""What gRPC's core reads from the environment when Python imports it, and never again."""

import os

# By default threads of its own poll the sockets, and wake those that wait for them: half of the time of a lone call.
_EXPERIMENTS = "-event_engine_client,-event_engine_listener"
# It writes to stderr by itself, in a form of its own, whenever a stranger's handshake fails; what matters comes back as
# errors.
_VERBOSITY = "NONE"


def configure() -> None:
    """To be called before gRPC is imported; what the environment says already wins."""
    os.environ.setdefault("GRPC_EXPERIMENTS", _EXPERIMENTS)
    os.environ.setdefault("GRPC_VERBOSITY", _VERBOSITY)
