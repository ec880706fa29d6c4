"""loadtest.bench.peers: how peers are asked, and what is said of them."""

import json
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pytest

from loadtest.bench.peers import __main__ as peers
from loadtest.bench.peers import page, protocols
from loadtest.bench.peers.catalog import PEERS, InstallError, Peer
from loadtest.bench.peers.measure import Result
from serving.wire import open_inference_pb2 as oip

IMAGE = np.linspace(0, 1, 784, dtype=np.float32).reshape(28, 28)
PROBABILITIES = np.arange(10, dtype=np.float32) / 45


def row(name: str, to_echo: float, *, ours: bool = False) -> page.Row:
    """A server that does so much."""
    return page.Row(name, "1.0", "gRPC", ours, Result(1000.0, 0.01, 1 / to_echo, 1 / to_echo, to_echo))


@pytest.mark.parametrize("raw", [False, True])
def test_open_inference(raw: bool) -> None:
    """Both places where a server may put its answer are read."""
    request = oip.ModelInferRequest.FromString(protocols.OIP.message(IMAGE))
    assert np.frombuffer(request.raw_input_contents[0], np.float32).tolist() == IMAGE.ravel().tolist()
    response = oip.ModelInferResponse()
    response.outputs.add(name="label", datatype="BYTES", shape=(1,)).contents.bytes_contents.append(b"seven")
    output = response.outputs.add(name="probabilities", datatype="FP32", shape=(1, 10))
    if raw:
        response.raw_output_contents.extend((b"\5\0\0\0seven", PROBABILITIES.tobytes()))
    else:
        output.contents.fp32_contents.extend(PROBABILITIES)
    assert list(protocols.OIP.read(response.SerializeToString())) == PROBABILITIES.tolist()


@pytest.mark.parametrize("status", [200, 503])
def test_json(status: int) -> None:
    """An image goes out as JSON, and an answer comes back or says what was wrong."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            assert np.shape(body["inputs"]) == (1, 28, 28)
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps({"predictions": [PROBABILITIES.tolist()]}).encode())

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.handle_request, daemon=True).start()
        address = f"127.0.0.1:{server.server_port}"
        if status == 200:
            np.testing.assert_array_equal(protocols.MLFLOW.ask(address, IMAGE, 10), PROBABILITIES)
        else:
            with pytest.raises(ValueError, match="503"):
                protocols.MLFLOW.ask(address, IMAGE, 10)


def test_page(tmp_path: Path) -> None:
    """The fastest comes first, what is ahead of ours is named, and what did not run says why."""
    file = tmp_path / "page.md"
    rows = [row("us", 0.5, ours=True), row("fast", 0.7), row("slow", 0.1), page.Row("none", "", "x", False, "no wheel")]
    run = page.Run(3, 0.0, rows)
    run.save(tmp_path / "run.json")
    assert page.Run.load(tmp_path / "run.json") == run
    page.write(file, run)
    text = file.read_text()
    assert text.index("| fast 1.0 |") < text.index("| **us** |") < text.index("| slow 1.0 |")
    assert "- throughput: fast\n- latency, one call at a time: fast\n- CPU time a call: fast\n" in text
    assert "- none : no wheel" in text
    assert (tmp_path / "page.png").read_bytes().startswith(b"\x89PNG")


def test_page_without_losses(tmp_path: Path) -> None:
    """If nobody is ahead the page says so."""
    page.write(tmp_path / "page.md", page.Run(1, 0.0, [row("us", 0.5, ours=True), row("slow", 0.1)]))
    assert "No peer is ahead of the best of ours." in (tmp_path / "page.md").read_text()


def test_page_of_known_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was measured once becomes a page without measuring anything again."""
    page.Run(1, 0.0, [row("us", 0.5, ours=True)]).save(tmp_path / "run.json")
    arguments = ["peers", "--from", str(tmp_path / "run.json"), "--page", str(tmp_path / "page.md")]
    monkeypatch.setattr(sys, "argv", arguments)
    assert peers.main() == 0
    assert "| **us** | gRPC | 0.50 |" in (tmp_path / "page.md").read_text()


def test_install_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be installed is told in the installer's words, and tried again the next time."""
    monkeypatch.chdir(tmp_path)
    peer = Peer("None", "no-index-has-this @ file:///nowhere", "none", protocols.OIP)
    for _ in range(2):
        with pytest.raises(InstallError, match="nowhere"):
            peer.install()


def test_every_peer_has_a_script() -> None:
    """What a peer is started by is there."""
    for peer in PEERS:
        assert Path(peer.command(1, Path("/m"))[-1]).is_file()
