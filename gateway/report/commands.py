"""`python -m gateway report [FILES --reference FILES] [--database-url URL]`."""

import argparse
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from gateway.drift.comparison import Comparison
from gateway.quality.report import Window
from gateway.replay.corpus import CorpusError, read
from gateway.report import drift, quality
from gateway.report.features import beside, of_requests
from gateway.report.page import page
from gateway.report.quality import LabelsError
from gateway.settings.drift import DriftSettings
from serving.wire.codec import TensorError

CANNOT = 2
_VARIABLE = "TENSORGATE_FEEDBACK__DATABASE_URL"


def run(arguments: list[str]) -> int:
    """Writes the page and says the main things; 0, or 2 if labels or files cannot be read or compared."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if bool(options.files) != bool(options.reference):
        parser.error("FILE and --reference need one another")
    if not (options.files or options.database_url):
        parser.error("expected captured files with --reference, a database of labels (--database-url), or both")
    try:
        sections = [*_quality(options), *_drift(options)]
        options.out.write_text(page(sections), "utf-8")
    except (CorpusError, LabelsError, OSError, TensorError) as error:
        print(f"report: {error}", file=sys.stderr)
        return CANNOT
    print(f"report: {options.out}")
    return 0


def _parser() -> argparse.ArgumentParser:
    defaults = DriftSettings()
    parser = argparse.ArgumentParser(
        prog="python -m gateway report",
        description="Writes a page: how good each version was, by labels; how captured requests differ from others.",
    )
    add = parser.add_argument
    add("files", nargs="*", metavar="FILE", help="captured files, directories of them, patterns or URLs")
    add("--reference", nargs="+", default=[], metavar="FILE", help="what they are compared with")
    add("--alpha", type=float, default=defaults.alpha, help="level of the tests (%(default)s)")
    add("--min-psi", type=float, default=defaults.min_psi, help="least PSI that counts (%(default)s)")
    add(
        "--database-url",
        default=os.environ.get(_VARIABLE, ""),
        metavar="URL",
        help=f"where the gateway keeps labels (better in {_VARIABLE}: arguments are seen)",
    )
    add("--model", default="", help="whose labels (default: all models')")
    add(
        "--window",
        choices=[window.value for window in Window],
        default=Window.ALL.value,
        help="of predictions whose confusion and calibration are shown (%(default)s)",
    )
    add("--out", type=Path, default=Path("report.html"), help="the page (default: %(default)s)")
    return parser


def _quality(options: argparse.Namespace) -> Iterator[str]:
    if not options.database_url:
        return
    window = Window(options.window)
    for found in quality.read(options.database_url, options.model):
        for each in found.qualities:
            if each.window is window:
                figures = (f"{name} {quality.written(name, figure)}" for name, figure in quality.figures(each).items())
                print(
                    f"{found.model} {each.version} {each.variant.name.lower()}: {each.labelled} of {each.predictions} "
                    f"predictions labelled; {', '.join(figures) or 'no figures'}"
                )
        yield quality.section(found, window)


def _drift(options: argparse.Namespace) -> Iterator[str]:
    if not options.files:
        return
    level = {"alpha": options.alpha, "min_psi": options.min_psi}
    comparisons = _compared(options)
    for each in comparisons:
        mark = "drifted" if drift.has_drifted(each, **level) else ""
        print(f"{each.feature.name:24} PSI {each.psi:7.3f}   p {each.p_value:8.2g}   {mark}".rstrip())
    yield drift.section(comparisons, " ".join(options.reference), " ".join(options.files), **level)


def _compared(options: argparse.Namespace) -> list[Comparison]:
    reference, current = (of_requests(read(paths, whole=False)) for paths in (options.reference, options.files))
    comparisons = beside(reference, current)
    if not comparisons:
        raise CorpusError("the files have no feature in common")
    return comparisons
