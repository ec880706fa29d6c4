"""`python -m loadtest.bench.peers`: ours and what a user would pick instead, on the same model and the same images.

Each peer is installed from PyPI into an environment of its own under var/bench/peers, a gigabyte each. Servers run one
at a time, beside a bare grpc.aio echo that all figures are held against; answers are checked first.
"""

import argparse
import os
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from loadtest.bench.load import LoadError, Target
from loadtest.bench.peers import page
from loadtest.bench.peers.catalog import InstallError
from loadtest.bench.peers.contenders import START_TIMEOUT, Contender, await_answer, contenders
from loadtest.bench.peers.measure import Result, measure
from loadtest.bench.peers.protocols import TFS
from loadtest.model import digit, newest
from serving.wire.codec import Array
from stack.processes import ProcessError, child


def main() -> int:
    """Measures, prints, and writes; 1 if one of ours could not be measured."""
    parser = argparse.ArgumentParser(prog="python -m loadtest.bench.peers", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="the medians count (default: %(default)s)")
    parser.add_argument("--minutes", type=float, default=90.0, help="then no other begins (default: %(default)g)")
    parser.add_argument("--only", nargs="*", metavar="WORD", help="servers whose names contain one of these")
    parser.add_argument("--json", type=Path, help="write every figure to this file")
    parser.add_argument("--from", type=Path, dest="known", metavar="JSON", help="measure nothing: the figures are here")
    parser.add_argument("--page", type=Path, help="write the table to this Markdown file, and a plot beside it")
    options = parser.parse_args()
    chosen = [
        contender
        for contender in contenders()
        if options.only is None or any(word.lower() in contender.name.lower() for word in options.only)
    ]
    if options.known:
        if options.page is None:
            parser.error("--from is for writing a page: expected --page FILE")
        page.write(options.page, page.Run.load(options.known))
        return 0
    end = time.monotonic() + options.minutes * 60
    result = page.Run(options.rounds, os.getloadavg()[0])
    model = newest()
    image = digit(model)
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        echo = stack.enter_context(
            child("the echo", [sys.executable, "-m", "loadtest.bench.echo"], scratch / "echo.log")
        )
        address = echo.wait_for("serving on ", START_TIMEOUT).split()[-1]
        target = Target(address, "/bench.Echo/Echo", TFS.message(image))
        comparison = _Comparison(model, image, target, options.rounds, scratch)
        for contender in chosen:
            result.rows.append(comparison.row(contender) if time.monotonic() < end else comparison.late(contender))
            print(page.line(result.rows[-1]), flush=True)
            # Each time, since a run takes an hour and may be cut short.
            if options.json:
                result.save(options.json)
            if options.page:
                page.write(options.page, result)
    return int(any(row.ours and isinstance(row.outcome, str) for row in result.rows))


@dataclass
class _Comparison:
    """What all servers have in common."""

    model: Path
    image: Array
    echo: Target
    rounds: int
    scratch: Path
    expected: Array | None = None
    """What the first server answered, which is ours: the model itself."""

    @staticmethod
    def late(contender: Contender) -> page.Row:
        """That there was no time left for a server."""
        return page.Row(contender.name, "", contender.protocol.name, contender.ours, "the time was up")

    def row(self, contender: Contender) -> page.Row:
        """What a server does, or why it does not."""
        version = ""
        outcome: Result | str
        try:
            with contender.start(self.model, self.scratch) as running:
                version = running.version
                self.expected = await_answer(contender, running, self.image, self.expected)
                target = contender.protocol.target(running.address, self.image)
                outcome = measure(target, running.children, self.echo, self.rounds, self.scratch)
        except (InstallError, ProcessError, LoadError) as error:
            outcome = str(error)
        return page.Row(contender.name, version, contender.protocol.name, contender.ours, outcome)


if __name__ == "__main__":
    sys.exit(main())
