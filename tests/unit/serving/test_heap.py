"""serving.heap"""

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

# Threads that hold the heap at the same time, and then how many arenas there are.
PROGRAM = """
import ctypes, sys, threading
from serving import heap
if sys.argv[1] == "shared":
    heap.share()
c = ctypes.CDLL(None)
c.malloc.restype = c.fopen.restype = ctypes.c_void_p
c.malloc.argtypes, c.free.argtypes = [ctypes.c_size_t], [ctypes.c_void_p]
c.malloc_info.argtypes, c.fclose.argtypes = [ctypes.c_int, ctypes.c_void_p], [ctypes.c_void_p]
ready = threading.Barrier(8)
def take():
    ready.wait()
    for _ in range(1000):
        c.free(c.malloc(5000))
threads = [threading.Thread(target=take) for _ in range(8)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
out = c.fopen(sys.argv[2].encode(), b"w")
c.malloc_info(0, out)
c.fclose(out)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's")
@pytest.mark.parametrize(
    ("how", "limit", "shared"), [("shared", "", True), ("apart", "", False), ("shared", "4", False)]
)
def test_share(tmp_path: Path, how: str, limit: str, shared: bool) -> None:
    """Threads have arenas of their own unless they are to share one, or the environment says how many."""
    environment = {name: value for name, value in os.environ.items() if name != "MALLOC_ARENA_MAX"}
    if limit:
        environment["MALLOC_ARENA_MAX"] = limit
    subprocess.run([sys.executable, "-c", PROGRAM, how, tmp_path / "info"], check=True, env=environment)
    arenas = (tmp_path / "info").read_text().count("<heap nr=")
    assert (arenas == 1) is shared
