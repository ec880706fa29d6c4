"""`python -m loadtest.bench.no_op`: the gateway, but that it answers predictions itself: what the gateway alone costs.

Takes the gateway's command line. Of the model server it asks what there is, and nothing else.
"""

import asyncio
import sys

from serving import grpc_core

grpc_core.configure()

import numpy as np

from gateway import configuration
from gateway.backend import Signature, Tensors
from gateway.backend.tf_serving import TensorFlowServing
from gateway.bootstrap import run
from serving import contract
from serving.transport.envoy.host import Host
from serving.transport.envoy.options import EnvoyOptions


class NoOp(TensorFlowServing):
    """Answers zeros."""

    _signatures: dict[str, Signature]

    async def signatures(self, model: str, version: int) -> dict[str, Signature]:
        """What the model server says."""
        self._signatures = await super().signatures(model, version)
        return self._signatures

    async def predict(self, model: str, version: int, signature: str, inputs: Tensors, timeout: float) -> Tensors:
        """Zeros for each row; the contract is the model server's."""
        if signature == contract.SIGNATURE:
            return await super().predict(model, version, signature, inputs, timeout)
        rows = len(next(iter(inputs.values())))
        outputs = self._signatures[signature].outputs.items()
        return {name: np.zeros((rows, *(spec.shape or ())[1:]), spec.dtype) for name, spec in outputs}


async def _program(arguments: list[str]) -> int:
    settings = configuration.load(arguments)
    return await run(settings, lambda: settings, NoOp)


app = Host(_program)


def main(arguments: list[str]) -> int:
    """Serves until the process is ended."""
    settings = configuration.load(arguments)
    if settings.transport == "envoy":
        from serving.transport.envoy import launch  # noqa: PLC0415  # not on every platform

        options = EnvoyOptions(**settings.envoy.model_dump())
        launch.launch("loadtest.bench.no_op:app", arguments, [settings.listen], options)
    return asyncio.run(_program(arguments))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
