"""The report of a run: a page that stands alone, plots, a table for the terminal and for a pull request."""

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import jinja2

from loadtest import plots
from loadtest.observer import Observer
from loadtest.recording import Recording
from loadtest.thresholds import Outcome

_TEMPLATES = jinja2.Environment(loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True)
_HEADER = ("calls", "number", "failed", "calls/s", "p50 ms", "p95 ms", "p99 ms", "p50 / echo")


@dataclass(frozen=True)
class Run:
    """Everything that a report tells of."""

    title: str
    measured: Recording
    echo: Recording
    outcomes: Sequence[Outcome]
    observer: Observer
    baseline: Recording | None = None


def write(directory: Path, run: Run) -> Path:
    """Puts report.html, the plots as PNG files, figures.json and summary.md into `directory`; the page's path."""
    pictures = plots.draw(run.measured, run.observer, run.baseline)
    for picture in pictures:
        (directory / f"{picture.name}.png").write_bytes(picture.png)
    rows = table(run.measured, run.echo)
    baseline = table(run.baseline, run.echo) if run.baseline else []
    page = _TEMPLATES.get_template("report.html").render(
        title=f"Load test: {run.title}",
        outcomes=run.outcomes,
        header=_HEADER,
        rows=rows,
        baseline=baseline,
        codes=run.measured.codes(),
        pictures=[(each.caption, base64.b64encode(each.png).decode()) for each in pictures],
    )
    path = directory / "report.html"
    path.write_text(page, "utf-8")
    (directory / "summary.md").write_text(summary(run.measured, run.echo, run.outcomes) + "\n", "utf-8")
    figures = {
        "calls": [dict(zip(_HEADER, row, strict=True)) for row in rows],
        "codes": run.measured.codes(),
        "thresholds": [{"text": str(outcome), "passed": outcome.passed} for outcome in run.outcomes],
        "stages": run.observer.stages,
        "cpu": run.observer.cpu,
        "memory": run.observer.memory,
    }
    (directory / "figures.json").write_text(json.dumps(figures, indent=2), "utf-8")
    return path


def summary(measured: Recording, echo: Recording, outcomes: Sequence[Outcome]) -> str:
    """The figures and the thresholds as Markdown."""
    lines = [" | ".join(_HEADER), " | ".join(["---"] + ["---:"] * (len(_HEADER) - 1))]
    lines += [" | ".join(row) for row in table(measured, echo)]
    return "\n".join(
        [*(f"| {line} |" for line in lines), ""]
        + [f"- {'held' if outcome.passed else '**BREACHED**'}: {outcome}" for outcome in outcomes]
    )


def table(measured: Recording, echo: Recording) -> list[tuple[str, ...]]:
    """A row for all calls, for each kind of them and for the echo."""
    reference = echo.quantile(0.5)
    parts = {"all": measured} | {name: measured.called(name) for name in measured.names()} | {"bare echo": echo}
    return [
        (
            name,
            str(part.calls),
            str(part.failures),
            f"{part.throughput:.0f}",
            *(f"{part.quantile(share) * 1e3:.1f}" for share in (0.5, 0.95, 0.99)),
            f"{part.quantile(0.5) / reference:.2f}",
        )
        for name, part in parts.items()
    ]
