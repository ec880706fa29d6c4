"""Shows how far training is: a bar on a terminal, a line per epoch elsewhere."""

import contextlib
import logging
from collections.abc import Callable, Iterator, Mapping

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

_log = logging.getLogger(__package__)


@contextlib.contextmanager
def epochs(total: int) -> Iterator[Callable[[int, Mapping[str, float]], None]]:
    """Something to call after each epoch with its number, from 1, and the figures that `fit` reports."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda number, figures: _log.info("epoch %d/%d: %s", number, total, _listed(figures))
        return
    columns = (BarColumn(20), MofNCompleteColumn(), TextColumn("epochs{task.description}"), TimeRemainingColumn())
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("", total=total)

        def show(number: int, figures: Mapping[str, float]) -> None:
            # A line has no room for those on the training examples.
            watched = {name: figure for name, figure in figures.items() if not name.startswith("train_")}
            bar.update(task, completed=number, description=f", {_listed(watched)}")

        yield show


def _listed(figures: Mapping[str, float]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value:.4f}" for name, value in figures.items())
