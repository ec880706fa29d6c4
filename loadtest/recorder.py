"""Every call of a run, counted by second, name, status, outcome and latency; merged from workers, written as JSON.

Locust's own statistics round latencies to milliseconds, more than half of what a prediction takes.
"""

import json
import time
from collections import Counter
from pathlib import Path
from typing import Any

import gevent
from locust.env import Environment
from locust.runners import WorkerRunner

from loadtest.recording import bucket

_KEY = "tensorgate_calls"


class Recorder:
    """Listens to a Locust environment's events."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self._calls: Counter[tuple[int, str, str, bool, int]] = Counter()
        self._users: dict[int, int] = {}
        events = environment.events
        events.test_start.add_listener(self._on_start)
        events.request.add_listener(self._on_request)
        events.report_to_master.add_listener(self._on_report)
        events.worker_report.add_listener(self._on_worker)
        options: Any = environment.parsed_options
        if options.record and not isinstance(environment.runner, WorkerRunner):
            events.test_start.add_listener(lambda **_: gevent.spawn(self._count_users))
            events.quitting.add_listener(lambda **_: self.save(Path(options.record)))

    def save(self, path: Path) -> None:
        """Writes what has been recorded so far."""
        rows = [[*key, count] for key, count in sorted(self._calls.items())]
        users = sorted(self._users.items())
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"rows": rows, "users": users}), "utf-8")

    def _on_start(self, **_: Any) -> None:
        self._calls.clear()
        self._users.clear()

    def _on_request(
        self, *, name: str, response_time: float, context: dict[str, Any], exception: Exception | None, **_: Any
    ) -> None:
        place = bucket(response_time / 1e3)
        self._calls[int(time.time()), name, context["code"], exception is not None, place] += 1

    def _on_report(self, *, data: dict[str, Any], **_: Any) -> None:
        data[_KEY] = [[*key, count] for key, count in self._calls.items()]
        self._calls.clear()

    def _on_worker(self, *, data: dict[str, Any], **_: Any) -> None:
        for second, name, code, failed, place, count in data.get(_KEY, ()):
            self._calls[second, name, code, failed, place] += count

    def _count_users(self) -> None:
        runner = self._environment.runner
        while runner is not None and runner.state not in ("stopped", "cleanup"):
            self._users[int(time.time())] = runner.user_count
            gevent.sleep(0.5)
