"""Runs a command that ends with its parent: `launch.py PARENT_PID COMMAND …`, on Linux.

A program of its own, since code between fork and exec is not safe in a parent that has threads.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1

ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
# A parent that died before the kernel was asked will not be told of.
if os.getppid() == int(sys.argv[1]):
    os.execv(sys.argv[2], sys.argv[2:])  # noqa: S606 - the parent's own command
