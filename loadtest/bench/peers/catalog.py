"""The peers."""

import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from loadtest.bench.peers import protocols
from loadtest.bench.peers.protocols import Protocol

ENVIRONMENTS = Path("var/bench/peers")
_SERVERS = Path(__file__).parent / "servers"
_INSTALL_SECONDS = 1800


class InstallError(Exception):
    """A peer that cannot be installed here, in its installer's words."""


@dataclass(frozen=True)
class Peer:
    """A server that is installed from PyPI; `requirement` is its own, TensorFlow comes along."""

    name: str
    requirement: str
    script: str
    protocol: Protocol
    python: str = sys.executable
    """What its environment is made with."""

    @property
    def _python(self) -> Path:
        return ENVIRONMENTS / self.script / "bin/python"

    def install(self) -> str:
        """Makes the environment unless it is there; the peer's version. InstallError."""
        uv = [sys.executable, "-m", "uv"]
        done = self._python.parent.parent / "installed"
        if not done.exists():
            # The engine is ours, so that what differs is what is around it; this build has no GPU code.
            suffix = "-cpu" if sys.platform == "linux" else ""
            tensorflow = f"tensorflow{suffix}=={metadata.version('tensorflow')}"
            _run([*uv, "venv", "--quiet", "--clear", "--python", self.python, str(done.parent)])
            _run([*uv, "pip", "install", "--quiet", "--python", str(self._python), self.requirement, tensorflow])
            done.touch()
        name = self.requirement.partition("[")[0]
        code = f"from importlib.metadata import version; print(version({name!r}))"
        return _run([str(self._python), "-c", code]).strip()

    def command(self, port: int, model: Path) -> list[str]:
        """What serves `model` on `port`."""
        script = str(_SERVERS / f"serve_{self.script}.py")
        return ["env", f"BENCH_PORT={port}", f"BENCH_MODEL={model}", str(self._python.absolute()), script]


def _run(command: list[str]) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=_INSTALL_SECONDS, check=True).stdout
    except subprocess.CalledProcessError as error:
        raise InstallError(" ".join(error.stderr.split())[-300:]) from error
    except subprocess.TimeoutExpired as error:
        raise InstallError(f"not installed within {_INSTALL_SECONDS} s") from error


# Triton brings a libpython of its own, which reads the standard library of the Python that it finds, and fails with
# that of a later patch release. A distribution's is old enough.
_FOR_TRITON = shutil.which("python3", path="/usr/bin") or sys.executable

PEERS = (
    Peer("Triton (nvidia-pytriton)", "nvidia-pytriton", "pytriton", protocols.OIP, _FOR_TRITON),
    Peer("MLServer", "mlserver", "mlserver", protocols.OIP),
    Peer("KServe SDK", "kserve", "kserve", protocols.OIP),
    Peer("Mosec", "mosec", "mosec", protocols.INFERENCE),
    Peer("LitServe", "litserve", "litserve", protocols.PREDICT),
    Peer("BentoML", "bentoml", "bentoml", protocols.BENTOML),
    Peer("Ray Serve", "ray[serve]", "ray", protocols.ROOT),
    Peer("MLflow scoring server", "mlflow", "mlflow", protocols.MLFLOW),
)
