"""Reflection of services whose messages live in a private descriptor pool or in the default one."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import grpc.aio
from google.protobuf import descriptor_pool
from grpc_reflection.v1alpha import reflection


class _Pools:
    """Looks in one descriptor pool after the other; all methods raise KeyError for what is in none."""

    def __init__(self, *pools: descriptor_pool.DescriptorPool) -> None:
        self._pools = pools

    def __getattr__(self, method: str) -> Any:
        return partial(self._find, method)

    def _find(self, method: str, *arguments: Any) -> Any:
        for pool in self._pools:
            try:
                return getattr(pool, method)(*arguments)
            except KeyError:
                continue
        raise KeyError(arguments)


def add_reflection(services: Sequence[str], private: descriptor_pool.DescriptorPool, server: grpc.aio.Server) -> None:
    """Adds grpc.reflection.v1alpha, which then tells of `services` and itself, by their full names."""
    pools: Any = _Pools(private, descriptor_pool.Default())
    reflection.enable_server_reflection((*services, reflection.SERVICE_NAME), server, pool=pools)
