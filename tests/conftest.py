"""What holds for every test."""

import os

from hypothesis import settings

# Child processes are started while gRPC is in use; its fork handlers would start its threads in them before they exec.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "false")

# A slow example is a slow machine, not a failure.
settings.register_profile("tensorgate", deadline=None)
settings.load_profile("tensorgate")
