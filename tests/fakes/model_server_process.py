"""`python -m tests.fakes.model_server_process`: the fake model server as a process of its own, to be killed, or to take
the embedded server's place where TensorFlow would take long to start. It has few of the flags, and ignores the others.
"""

import argparse
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.fakes import digits
from tests.fakes.model_server import FakeModel, FakeModelServer

DELAY = 0.01


class Available(BaseHTTPRequestHandler):
    """All that it says over REST."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"state": "AVAILABLE"}')


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--rest_api_port", type=int)
    flags, _ = parser.parse_known_args()
    server = FakeModelServer(digits=FakeModel(contract=digits.contract().model_dump_json()))
    server.host, server.port, server.delay = flags.host, flags.port, DELAY
    server.start()
    if flags.rest_api_port:
        rest = ThreadingHTTPServer((flags.host, flags.rest_api_port), Available)
        threading.Thread(target=rest.serve_forever, daemon=True).start()
    print(f"serving {server.address}", flush=True)  # noqa: T201  # for the test that started it
    threading.Event().wait()
