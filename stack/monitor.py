"""`python -m stack.monitor`: Prometheus on a gateway that runs, with the rules that are in force elsewhere."""

import argparse
import shutil
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

from stack.processes import Child, ProcessError, child

MONITORING = Path(__file__).resolve().parents[1] / "monitoring"
READY_TIMEOUT = 30.0


class MonitorError(Exception):
    """Prometheus, or what it is to watch, is not there."""


@contextmanager
def prometheus(directory: Path, http: str, listen: str, *, interval: str = "5s") -> Iterator[Child]:
    """A Prometheus on host:port `listen` that scrapes the gateway whose HTTP port is `http`.

    It keeps its configuration, data and log in `directory`. MonitorError if there is no Prometheus, ProcessError if it
    does not get ready.
    """
    program = shutil.which("prometheus")
    if program is None:
        raise MonitorError("there is no `prometheus`; Debian has it as prometheus (apt-get install prometheus)")
    config = yaml.safe_load((MONITORING / "prometheus.yml").read_text(encoding="utf-8"))
    config["global"] = {"scrape_interval": interval, "evaluation_interval": interval}
    config["rule_files"] = [str(MONITORING / pattern) for pattern in config["rule_files"]]
    # The stack's model server has no REST port, where its metrics would be.
    config["scrape_configs"] = [job for job in config["scrape_configs"] if job["job_name"] == "gateway"]
    config["scrape_configs"][0]["static_configs"] = [{"targets": [http]}]
    directory.mkdir(parents=True, exist_ok=True)
    file = directory / "prometheus.yml"
    file.write_text(yaml.safe_dump(config), encoding="utf-8")
    command = [
        program,
        f"--config.file={file.resolve()}",
        f"--storage.tsdb.path={(directory / 'data').resolve()}",
        "--storage.tsdb.retention.time=15d",
        f"--web.listen-address={listen}",
    ]
    with child("Prometheus", command, directory / "prometheus.log") as server:
        server.wait_for("Server is ready to receive web requests", READY_TIMEOUT)
        yield server


def main() -> int:
    """Runs Prometheus until Ctrl-C; 1 if it, or the gateway, is not there."""
    parser = argparse.ArgumentParser(prog="python -m stack.monitor", description=__doc__)
    parser.add_argument("--http", default="127.0.0.1:8080", metavar="HOST:PORT", help="the gateway's (%(default)s)")
    parser.add_argument("--listen", default="127.0.0.1:9090", metavar="HOST:PORT", help="Prometheus's (%(default)s)")
    options = parser.parse_args()
    directory = Path("var/prometheus")
    try:
        _check_gateway(options.http)
        with prometheus(directory, options.http, options.listen) as server:
            print(
                f"Prometheus on http://{options.listen}/alerts, its data and log in {directory}/, until Ctrl-C.",
                flush=True,
            )
            while server.running:
                time.sleep(0.2)
        print(f"stack.monitor: Prometheus has ended, see {server.log}", file=sys.stderr)
    except (MonitorError, ProcessError) as error:
        print(f"stack.monitor: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        return 0
    return 1


def _check_gateway(http: str) -> None:
    try:
        urllib.request.urlopen(f"http://{http}/livez", timeout=5).close()
    except (urllib.error.URLError, OSError) as error:
        raise MonitorError(f"no gateway answers on http://{http} ({error}); `make run` starts one") from error


if __name__ == "__main__":
    sys.exit(main())
