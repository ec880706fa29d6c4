"""`python -m loadtest.bench`: the gateway on the digits model against a bare grpc.aio echo, in one run."""

import argparse
import sys
import tempfile
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from loadtest.bench.load import Figure, Load, LoadError, Target, run
from serving.wire import codec
from serving.wire import open_inference_pb2 as oip
from serving.wire import tensorflow_serving_pb2 as tfs
from stack.__main__ import MODEL, MODELS, ensure_key, ensure_model, free_port, start, start_gateway
from stack.processes import child
from tensorgate import Client
from tensorgate.requests import pixels, predict_request

PREDICT = "/tensorgate.v1.InferenceService/Predict"
WARM_UP = 500
# Number 1023, the integer 0.
UNKNOWN_FIELD = b"\xf8\x3f\x00"


def main() -> int:
    """Measures and prints a table; 1 if a call failed."""
    parser = argparse.ArgumentParser(prog="python -m loadtest.bench", description=__doc__)
    parser.add_argument("--calls", type=int, default=8000, help="in each measurement (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="the median of them counts (default: %(default)s)")
    options = parser.parse_args()
    ensure_model()
    key = ensure_key()
    sample = next(iter(sorted(MODELS.glob(f"{MODEL}/*/assets.extra/samples/7-*.png"))))
    tensor = np.zeros((28, 28), np.float32)
    # A stroke, since a blank page is refused.
    stroke = np.zeros((28, 28), np.uint8)
    stroke[6:22, 12:16] = 255
    cases = {"PNG": sample, "pixels": pixels(stroke), "tensor": tensor}
    messages = {
        name: predict_request([instance], model=MODEL, version=0, signature="", top_k=0).SerializeToString()
        for name, instance in cases.items()
    }
    foreign = {
        "TFS Predict": ("/tensorflow.serving.PredictionService/Predict", _tfs_request(tensor)),
        "TFS Predict, alone": ("/tensorflow.serving.PredictionService/Predict", _tfs_request(tensor, alone=True)),
        "OIP tensor": ("/inference.GRPCInferenceService/ModelInfer", _oip_request(tensor)),
    }
    with ExitStack() as children, tempfile.TemporaryDirectory() as scratch:
        echo = children.enter_context(
            child("the echo", [sys.executable, "-m", "loadtest.bench.echo"], Path(scratch) / "echo.log")
        )
        echo_address = echo.wait_for("serving on ", 30).split()[-1]
        processes = start(argparse.Namespace(server=0, gateway=0, http=0, transport="grpc.aio"), children)
        gateways = {"grpc.aio": processes.address}
        if find_spec("pyvoy"):
            address, http = (f"127.0.0.1:{free_port()}" for _ in range(2))
            start_gateway(children, processes.backend, address, http, "envoy")
            gateways["envoy"] = address
        for address in gateways.values():
            with Client(address, key=key) as client:
                for instance in cases.values():
                    client.predict(instance)
        targets = {"bare grpc.aio echo": Target(echo_address, "/bench.Echo/Echo", messages["tensor"])} | {
            f"gateway on {transport}, {name}": Target(address, method, message)
            for name, (method, message) in ({name: (PREDICT, m) for name, m in messages.items()} | foreign).items()
            for transport, address in gateways.items()
        }
        figures: dict[str, list[Figure]] = {name: [] for name in targets}
        try:
            # Round after round, so that a machine that slows down slows all of them.
            for number in range(options.rounds + 1):
                for name, target in targets.items():
                    load = Load(options.calls if number else WARM_UP)
                    figure = run(target, key, load, Path(scratch))
                    if number:
                        figures[name].append(figure)
        except LoadError as error:
            print(f"bench: {error}", file=sys.stderr)
            return 1
    _print_table(figures)
    return 0


def _tfs_request(tensor: Any, *, alone: bool = False) -> bytes:
    """A Predict of one row; `alone` adds a field that nobody knows, so that it is passed on as it is."""
    request = tfs.PredictRequest(model_spec=tfs.ModelSpec(name=MODEL))
    request.inputs["image"].CopyFrom(codec.to_proto(tensor[np.newaxis]))
    return request.SerializeToString() + (UNKNOWN_FIELD if alone else b"")


def _oip_request(tensor: Any) -> bytes:
    request = oip.ModelInferRequest(model_name=MODEL, raw_input_contents=[tensor.tobytes()])
    request.inputs.add(name="image", datatype="FP32", shape=(1, 28, 28))
    return request.SerializeToString()


def _print_table(figures: dict[str, list[Figure]]) -> None:
    medians = {
        name: sorted(measured, key=lambda figure: figure.rate)[len(measured) // 2] for name, measured in figures.items()
    }
    reference = next(iter(medians.values())).rate
    print(f"\n{'single-row calls, 8 connections × 16 streams':46}{'calls/s':>9}{'p50 ms':>9}{'ratio':>7}")
    for name, figure in medians.items():
        print(f"{name:46}{figure.rate:9.0f}{figure.p50 * 1e3:9.1f}{figure.rate / reference:7.2f}")


if __name__ == "__main__":
    sys.exit(main())
