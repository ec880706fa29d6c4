"""The client as its users install it."""

import subprocess
import sys
from email.parser import Parser
from pathlib import Path

from tests.integration.conftest import TIMEOUT

ROOT = Path(__file__).resolve().parents[2]


def test_wheel(tmp_path: Path) -> None:
    """The wheel holds the client and its stubs, needs neither TensorFlow nor numpy, and works from elsewhere."""
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True, timeout=TIMEOUT * 3)
    (wheel,) = tmp_path.glob("tensorgate-*.whl")
    target = tmp_path / "installed"
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(target), str(wheel)]
    subprocess.run(install, check=True, capture_output=True, timeout=TIMEOUT * 3)
    (metadata,) = target.glob("tensorgate-*.dist-info/METADATA")
    needed = Parser().parsestr(metadata.read_text()).get_all("Requires-Dist") or []
    names = {requirement.split(">")[0].split("<")[0].strip() for requirement in needed}
    assert names == {"googleapis-common-protos", "grpcio", "grpcio-status", "protobuf", "rich"}
    assert (target / "tensorgate/py.typed").exists()
    program = (
        "import sys; sys.modules['numpy'] = None; import tensorgate; from tensorgate.v1 import model_pb2; "
        "print(tensorgate.__file__, tensorgate.Client, model_pb2.Model())"
    )
    ended = subprocess.run(
        [sys.executable, "-P", "-c", program],
        cwd=tmp_path,
        env={"PYTHONPATH": str(target)},
        capture_output=True,
        text=True,
        check=True,
        timeout=TIMEOUT,
    )
    assert str(target) in ended.stdout
    assert (target / "bin/tensorgate").exists()
