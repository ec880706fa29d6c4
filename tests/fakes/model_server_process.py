"""`python -m tests.fakes.model_server_process`: the fake model server as a process of its own, to be killed."""

import threading

from tests.fakes import digits
from tests.fakes.model_server import FakeModel, FakeModelServer

DELAY = 0.01

if __name__ == "__main__":
    server = FakeModelServer(digits=FakeModel(contract=digits.contract().model_dump_json()))
    server.delay = DELAY
    server.start()
    print(f"serving {server.address}", flush=True)  # noqa: T201  # for the test that started it
    threading.Event().wait()
