"""What the servers say and use while they are under load."""

import threading
import time
import urllib.request
from collections.abc import Mapping
from types import TracebackType
from typing import Self

import psutil
from prometheus_client.parser import text_string_to_metric_families

_INTERVAL = 1.0
_STAGES = "tensorgate_stage_seconds"


class Observer:
    """While its context lasts, CPU and memory of processes; over all of it, the gateway's stages."""

    def __init__(self, processes: Mapping[str, int], http: str) -> None:
        self.cpu: dict[str, list[float]] = {name: [] for name in processes}
        """Cores in use, second by second."""
        self.memory: dict[str, list[float]] = {name: [] for name in processes}
        """Resident bytes, second by second."""
        self.stages: dict[str, float] = {}
        """Mean seconds of a prediction in each stage, as the gateway measured them."""
        self._processes = {name: psutil.Process(pid) for name, pid in processes.items()}
        self._http = http
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._before = self._read_stages()
        self._started = self._cpu_seconds(), time.monotonic()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        for stage, (count, total) in self._read_stages().items():
            count_before, total_before = self._before.get(stage, (0.0, 0.0))
            if count > count_before:
                self.stages[stage] = (total - total_before) / (count - count_before)

    def cpu_seconds(self) -> float:
        """CPU time that all processes together have used since the context was entered."""
        return self._cpu_seconds() - self._started[0]

    def _cpu_seconds(self) -> float:
        times = [process.cpu_times() for process in self._processes.values()]
        return sum(each.user + each.system for each in times)

    def _watch(self) -> None:
        for process in self._processes.values():
            process.cpu_percent()
        while not self._stop.wait(_INTERVAL):
            for name, process in self._processes.items():
                try:
                    self.cpu[name].append(process.cpu_percent() / 100)
                    self.memory[name].append(float(process.memory_info().rss))
                except psutil.NoSuchProcess:
                    return

    def _read_stages(self) -> dict[str, tuple[float, float]]:
        """How many, and seconds in all, by stage; nothing if the gateway's metrics cannot be had."""
        if not self._http:
            return {}
        with urllib.request.urlopen(f"http://{self._http}/metrics", timeout=5) as answer:
            text = answer.read().decode()
        found: dict[str, dict[str, float]] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples if family.name == _STAGES else ():
                suffix = sample.name.removeprefix(_STAGES)
                if suffix in ("_count", "_sum"):
                    stage = found.setdefault(sample.labels["stage"], {"_count": 0.0, "_sum": 0.0})
                    stage[suffix] += sample.value
        return {stage: (each["_count"], each["_sum"]) for stage, each in found.items()}
