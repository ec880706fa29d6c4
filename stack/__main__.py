"""`python -m stack run|demo`: trains if there is no model, serves it, asks it about real digits; `run` goes on.
`demo-drift` sends digits that have changed, too, and shows the alert where Prometheus is installed.
"""

import argparse
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from gateway.auth.keys import KeyRing, KeysFile, KeysFileError, create
from gateway.errors import Unauthenticated
from serving.transport.default import default_transport
from stack.monitor import prometheus
from stack.processes import Child, ProcessError, child
from tensorgate import Client, TensorgateError

MODEL = "digits"
MODELS = Path("var/models")
STATE = Path("var/stack")
KEYS = STATE / "keys.json"
LABELS, RECEIPT_KEY = STATE / "feedback.db", STATE / "receipt.key"
# Newest ones that are served: stable, a candidate, and one that has just been published.
VERSIONS = 3
# TensorFlow alone takes seconds to import, more on a busy machine.
SERVER_TIMEOUT, GATEWAY_TIMEOUT = 120.0, 30.0
# Longer than it takes to start a model server by hand.
RESTART_AFTER = 20.0
DIGITS, ENOUGH = 10, 9


class StackError(Exception):
    """Something that the stack needs is not there, or did not work."""


def main() -> int:
    """Runs the stack; 0 if all went well, 1 if any part failed."""
    options = _options()
    mode = options.mode
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: _interrupt(stopping))
    try:
        ensure_model()
        key = ensure_key()
        keep_receipt_key()
        with ExitStack() as children:
            processes = start(options, children, f"--feedback.database-url=sqlite:///{LABELS}")
            right = classify(processes.address, key)
            if mode == "demo-drift":
                _show_drift(processes, key)
            if mode == "run":
                _print_how_to_use(processes, key, options.transport)
                _keep_serving(processes, stopping)
    except (StackError, ProcessError, TensorgateError, KeysFileError, OSError) as error:
        print(f"stack: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0 if mode == "run" else 130
    if right < ENOUGH:
        print(f"stack: only {right} of {DIGITS} digits are right; expected {ENOUGH}", file=sys.stderr)
        return 1
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m stack", description=__doc__)
    modes = parser.add_subparsers(dest="mode", required=True, metavar="MODE")
    for mode, text, ports in (
        ("run", "keep serving until Ctrl-C", (8500, 50051, 8080)),
        ("demo", "end after the answers", (0, 0, 0)),
        ("demo-drift", "show how inverted and noisy digits are noticed, and end", (0, 0, 0)),
    ):
        options = modes.add_parser(mode, help=text)
        for name, port in zip(("server", "gateway", "http"), ports, strict=True):
            options.add_argument(f"--{name}", type=int, default=port, metavar="PORT", help="0 for any (%(default)s)")
        options.add_argument(
            "--transport",
            choices=("grpc.aio", "envoy"),
            default=default_transport(),
            help="of the gateway and the model server (%(default)s)",
        )
    return parser.parse_args()


def ensure_model() -> None:
    """Trains and publishes a model unless one is there."""
    if list((MODELS / MODEL).glob("[0-9]*/saved_model.pb")):
        return
    print(f"No model in {MODELS / MODEL}: training one.", flush=True)
    if subprocess.run([sys.executable, "-m", "trainer", "train"], check=False).returncode:
        raise StackError("training failed")


def ensure_key() -> str:
    """The key in TENSORGATE_KEY if the gateway will take it, else a new one; the gateway gets its hash."""
    presented = os.environ.get("TENSORGATE_KEY")
    try:
        if presented and KEYS.exists():
            KeyRing(KEYS).authenticate(presented)
            return presented
    except Unauthenticated:
        pass
    text, key = create("local", frozenset({"predict:*", "feedback:*", "admin"}))
    KeysFile(keys=[key]).save(KEYS)
    return text


@dataclass(frozen=True)
class Processes:
    """The two processes of the stack and where they are reached."""

    server: Child
    backend: str
    gateway: Child
    address: str
    http: str


def keep_receipt_key() -> None:
    """Has the gateway sign predictions with the same key at every start, so that feedback may come later."""
    if not RECEIPT_KEY.exists():
        RECEIPT_KEY.parent.mkdir(parents=True, exist_ok=True)
        RECEIPT_KEY.touch(mode=0o600)
        RECEIPT_KEY.write_text(secrets.token_urlsafe(32))
    os.environ.setdefault("TENSORGATE_RECEIPT_KEY", RECEIPT_KEY.read_text())


def start(ports: argparse.Namespace, children: ExitStack, *flags: str, models: Path = MODELS) -> Processes:
    """Starts the embedded server and the gateway, and returns when both are ready. `children` ends them.

    `flags` are the gateway's, beside those that it always has; `models` is the model store.
    """
    print("Starting the model server and the gateway …", flush=True)
    # Known beforehand, so that a process that is started again is found where it was.
    backend, address, http = (f"127.0.0.1:{port or free_port()}" for port in (ports.server, ports.gateway, ports.http))
    python = [sys.executable, "-m"]
    server_command = [
        "serving.embedded",
        f"--port={backend.rpartition(':')[2]}",
        f"--transport={ports.transport}",
        f"--model_config_file={_model_config(models)}",
        # The digits are small: threads that share one operation's work take longer to wake than to do it.
        "--tensorflow_intra_op_parallelism=1",
    ]
    server = children.enter_context(child("the model server", python + server_command, STATE / "server.log"))
    server.wait_for("serving gRPC on ", SERVER_TIMEOUT)
    # Plans stand beside the versions that they are about.
    flags = (f"--rollout.plans={models}", *flags)
    gateway = start_gateway(children, backend, address, http, ports.transport, *flags)
    return Processes(server, backend, gateway, address, http)


def _model_config(models: Path) -> Path:
    """The model server's configuration: a roll-out needs more versions than the newest."""
    config = STATE / "models.config"
    config.parent.mkdir(parents=True, exist_ok=True)
    config.write_text(
        f'model_config_list {{ config {{ name: "{MODEL}" base_path: "{(models / MODEL).resolve()}" '
        f'model_platform: "tensorflow" model_version_policy {{ latest {{ num_versions: {VERSIONS} }} }} }} }}\n'
    )
    return config


def start_gateway(
    children: ExitStack, backend: str, address: str, http: str, transport: str, *flags: str, module: str = "gateway"
) -> Child:
    """Starts a gateway in front of the model server at `backend`, and returns when it is ready."""
    command = [
        *(sys.executable, "-m", module),
        f"--models={MODEL}",
        f"--transport={transport}",
        f"--listen={address}",
        f"--http={http}",
        f"--backend.address={backend}",
        f"--auth.keys-file={KEYS}",
        "--drain.delay=0",
        *flags,
    ]
    gateway = children.enter_context(child("the gateway", command, STATE / f"{module}-{transport}.log"))
    gateway.wait_for('"event": "serving"', GATEWAY_TIMEOUT)
    return gateway


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def classify(address: str, key: str) -> int:
    """Sends one held-out digit of each class, prints the answers, and returns how many are right."""
    versions = sorted((MODELS / MODEL).glob("[0-9]*"), key=lambda path: int(path.name))
    samples = sorted((versions[-1] / "assets.extra/samples").glob("*.png"))
    by_label = {sample.name.split("-")[0]: sample for sample in samples}
    if len(by_label) < DIGITS:
        raise StackError(f"{versions[-1]} holds no samples; remove it to train again")
    right = 0
    with Client(address, key=key) as client:
        model = client.get_model(MODEL)
        accuracy = model.evaluation.get("accuracy", float("nan"))
        print(f"\n{model.name} version {model.default_version}, held-out accuracy {accuracy:.4f}\n")
        print(f"{'file':24}{'digit':>6}{'answer':>8}{'confidence':>12}{'ms':>8}")
        for label, sample in by_label.items():
            started = time.perf_counter()
            answer = client.predict(sample, model=MODEL)
            milliseconds = (time.perf_counter() - started) * 1e3
            right += answer.label == label
            mark = "" if answer.label == label else "  wrong"
            print(f"{sample.name:24}{label:>6}{answer.label:>8}{answer.confidence:>12.1%}{milliseconds:>8.1f}{mark}")
    print(f"\n{right} of {len(by_label)} right", flush=True)
    return right


def _show_drift(processes: Processes, key: str) -> None:
    from stack import demo_drift  # noqa: PLC0415  # the trainer's data take seconds to import

    print(f"\nhttp://{processes.http}/console/ shows it as it happens, with the key {key}", flush=True)
    with ExitStack() as children:
        alerts = ""
        if shutil.which("prometheus"):
            alerts = f"127.0.0.1:{free_port()}"
            directory = Path(children.enter_context(tempfile.TemporaryDirectory()))
            children.enter_context(prometheus(directory, processes.http, alerts, interval="1s"))
        if not demo_drift.run(processes.address, processes.http, key, MODEL, alerts):
            raise StackError("drift was not noticed as it must be")


def _print_how_to_use(processes: Processes, key: str, transport: str) -> None:
    sample = f"{MODELS}/{MODEL}/*/assets.extra/samples/*.png"
    print(
        f"""
gRPC on {processes.address} ({transport}), JSON and metrics on http://{processes.http}, logs in {STATE}/.
Draw a digit, and see how the model does, on http://{processes.http}/console/ with the key below. Or in another shell:

    export TENSORGATE_ADDRESS={processes.address} TENSORGATE_KEY={key}
    .venv/bin/tensorgate predict {sample}
    .venv/bin/tensorgate feedback ID TRUE_LABEL     # ID as `tensorgate predict --json` has it

Serving until Ctrl-C.""",
        flush=True,
    )


def _keep_serving(processes: Processes, stopping: threading.Event) -> None:
    """Waits for Ctrl-C. A process that ends is started again, unless somebody does so by hand first."""
    ended: dict[Child, float] = {}
    try:
        while not stopping.wait(0.2):
            for process, address in ((processes.server, processes.backend), (processes.gateway, processes.address)):
                if process.running:
                    ended.pop(process, None)
                elif process not in ended:
                    ended[process] = time.monotonic()
                    print(
                        f"{process.name} has ended (see {process.log}). It is started again in {RESTART_AFTER:.0f} s, "
                        f"unless something listens on {address} by then.",
                        flush=True,
                    )
                elif time.monotonic() - ended[process] > RESTART_AFTER and not _listening(address):
                    process.start()
    finally:
        print("Stopping …", flush=True)


def _listening(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=1).close()
    except OSError:
        return False
    return True


def _interrupt(stopping: threading.Event) -> None:
    """Ends whatever is under way; a second signal while children are being ended changes nothing."""
    if not stopping.is_set():
        stopping.set()
        raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
