"""serving.transport.envoy.launch, as the programs call it"""

import subprocess
import sys
from pathlib import Path

import pytest

from serving.transport.default import default_transport

# Instead of becoming Envoy, says how many threads there are.
PROGRAM = """
import os, sys
os.execve = lambda *_: os._exit(100 + len(os.listdir("/proc/self/task")))
from {program}.__main__ import main
main({arguments})
"""


@pytest.mark.skipif(
    sys.platform != "linux" or default_transport() != "envoy", reason="Envoy cannot run here, or has no /proc"
)
@pytest.mark.parametrize(
    ("program", "arguments"), [("gateway", "['--transport=envoy', '--models=digits']"), ("serving.embedded", "")]
)
def test_alone(tmp_path: Path, program: str, arguments: str) -> None:
    """What becomes Envoy has one thread: another, of numpy's say, would take a signal that waits for Envoy, and end."""
    flags = [] if arguments else ["--transport=envoy", "--port=0", f"--model_base_path={tmp_path}"]
    code = PROGRAM.format(program=program, arguments=arguments)
    process = subprocess.run([sys.executable, "-c", code, *flags], check=False, capture_output=True, text=True)
    assert process.returncode == 101, process.stderr
