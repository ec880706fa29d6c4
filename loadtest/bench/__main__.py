"""`python -m loadtest.bench`: the gateway on the digits model against a bare grpc.aio echo, in one run."""

import argparse
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from loadtest.bench import floors
from loadtest.bench.load import Load, LoadError, Target, run
from serving.transport.default import installed_transports
from serving.wire import codec
from serving.wire import open_inference_pb2 as oip
from serving.wire import tensorflow_serving_pb2 as tfs
from stack.__main__ import MODEL, MODELS, ensure_key, ensure_model, free_port, start, start_gateway
from stack.processes import Child, child
from tensorgate import Client
from tensorgate.requests import pixels, predict_request

PREDICT = "/tensorgate.v1.InferenceService/Predict"
NO_OP = "loadtest.bench.no_op"
MANY = 32
# A share of the calls; the first ones find a cold process.
WARM_UP = 0.1
# Number 1023, the integer 0.
UNKNOWN_FIELD = b"\xf8\x3f\x00"


@dataclass(frozen=True)
class Case:
    """What is asked, of which gateway."""

    name: str
    method: str
    message: bytes
    module: str = "gateway"
    rows: int = 1


def main() -> int:
    """Measures and prints a table; 1 if a call failed, or with --check if a floor was missed."""
    parser = argparse.ArgumentParser(prog="python -m loadtest.bench", description=__doc__)
    parser.add_argument("--calls", type=int, default=5000, help="in each measurement (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="the median of them counts (default: %(default)s)")
    parser.add_argument("--json", type=Path, help="also write every figure to this file")
    parser.add_argument("--plot", type=Path, help="also draw the ratios into this file")
    parser.add_argument("--check", action="store_true", help="end with status 1 if a floor is missed")
    options = parser.parse_args()
    ensure_model()
    key = ensure_key()
    cases = all_cases()
    with ExitStack() as children, tempfile.TemporaryDirectory() as scratch:
        echo = children.enter_context(
            child("the echo", [sys.executable, "-m", "loadtest.bench.echo"], Path(scratch) / "echo.log")
        )
        echo_target = Target(
            echo.wait_for("serving on ", 30).split()[-1], "/bench.Echo/Echo", cases[0].message, pid=echo.pid
        )
        targets: dict[floors.Key, tuple[Target, Load, Load]] = {}
        for (transport, module), (address, http, gateway) in gateways(children).items():
            with Client(address, key=key) as client:
                client.predict(np.zeros((28, 28), np.float32))
            for case in cases:
                if case.module != module:
                    continue
                target = Target(address, case.method, case.message, pid=gateway.pid, http=http)
                crowd, alone = _load(floors.CROWD, options.calls), _load(floors.ALONE, options.calls)
                fewer = _load(floors.CROWD, options.calls // case.rows)
                targets[transport, case.name, floors.CROWD] = target, fewer, crowd
                if case is cases[0]:
                    targets[transport, case.name, floors.ALONE] = target, alone, alone
        try:
            measured = _measure(echo_target, targets, key, options.rounds, Path(scratch))
        except LoadError as error:
            print(f"bench: {error}", file=sys.stderr)
            return 1
    judged, echoes = floors.judge(measured), floors.echoes(measured)
    print("\n" + floors.table(judged, echoes))
    if options.json:
        floors.write(judged, echoes, options.json)
    if options.plot:
        floors.plot(judged, options.plot)
    return int(options.check and any(one.missed for one in judged))


def all_cases() -> list[Case]:
    """What is measured, the ordinary call first."""
    sample = next(iter(sorted(MODELS.glob(f"{MODEL}/*/assets.extra/samples/7-*.png"))))
    tensor = np.zeros((28, 28), np.float32)

    def predict(*instances: Any) -> bytes:
        return predict_request(list(instances), model=MODEL, version=0, signature="", top_k=0).SerializeToString()

    tfs_predict = "/tensorflow.serving.PredictionService/Predict"
    return [
        Case("tensor", PREDICT, predict(tensor)),
        Case("pixels", PREDICT, predict(pixels(np.asarray(Image.open(sample))))),
        Case("PNG", PREDICT, predict(sample)),
        Case("TFS", tfs_predict, _tfs_request(tensor)),
        Case("TFS, passed on", tfs_predict, _tfs_request(tensor, alone=True)),
        Case("OIP", "/inference.GRPCInferenceService/ModelInfer", _oip_request(tensor)),
        Case(f"{MANY} tensors", PREDICT, predict(*[tensor] * MANY), rows=MANY),
        Case(f"{MANY} PNGs", PREDICT, predict(*[sample] * MANY), rows=MANY),
        Case("no-op backend", PREDICT, predict(tensor), module=NO_OP),
    ]


def gateways(children: ExitStack) -> dict[tuple[str, str], tuple[str, str, Child]]:
    """The gateways by transport and module, each with its addresses for gRPC and HTTP."""
    processes = start(argparse.Namespace(server=0, gateway=0, http=0, transport=floors.AIO), children)
    found = {(floors.AIO, "gateway"): (processes.address, processes.http, processes.gateway)}
    for transport in installed_transports():
        for module in ("gateway", NO_OP):
            if (transport, module) not in found:
                address, http = (f"127.0.0.1:{free_port()}" for _ in range(2))
                gateway = start_gateway(children, processes.backend, address, http, transport, module=module)
                found[transport, module] = address, http, gateway
    return found


def _load(name: str, calls: int) -> Load:
    return Load(max(calls // 8, 1), connections=1, streams=1) if name == floors.ALONE else Load(max(calls, 128))


def _measure(
    echo: Target, targets: dict[floors.Key, tuple[Target, Load, Load]], key: str, rounds: int, scratch: Path
) -> dict[floors.Key, list[floors.Pair]]:
    """The figures of each target, round after round, each with the echo's under the same kind of load."""
    measured: dict[floors.Key, list[floors.Pair]] = {name: [] for name in targets}
    for _ in range(rounds):
        for name, (target, load, echo_load) in targets.items():
            beside = run(echo, key, echo_load, scratch)
            run(target, key, Load(max(round(load.calls * WARM_UP), 128), load.connections, load.streams), scratch)
            measured[name].append((run(target, key, load, scratch), beside))
    return measured


def _tfs_request(tensor: Any, *, alone: bool = False) -> bytes:
    """A Predict of one row; `alone` adds a field that nobody knows, so that it is passed on as it is."""
    request = tfs.PredictRequest(model_spec=tfs.ModelSpec(name=MODEL))
    request.inputs["image"].CopyFrom(codec.to_proto(tensor[np.newaxis]))
    return request.SerializeToString() + (UNKNOWN_FIELD if alone else b"")


def _oip_request(tensor: Any) -> bytes:
    request = oip.ModelInferRequest(model_name=MODEL, raw_input_contents=[tensor.tobytes()])
    request.inputs.add(name="image", datatype="FP32", shape=(1, 28, 28))
    return request.SerializeToString()


if __name__ == "__main__":
    sys.exit(main())
