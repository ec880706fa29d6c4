"""`python -m gateway report [FILES --reference FILES] [--database-url URL] [--evidently DIRECTORY]`."""

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType

from gateway.quality.report import Window
from gateway.replay.corpus import CorpusError, read
from gateway.report import drift, quality
from gateway.report.database import LabelsError, labels
from gateway.report.features import Captures, beside, of_requests
from gateway.report.labelled import Labelled
from gateway.report.labelled import read as read_labelled
from gateway.report.page import page
from gateway.report.quality import ModelQuality
from gateway.settings.drift import DriftSettings
from serving.wire.codec import TensorError

CANNOT = 2
_VARIABLE = "TENSORGATE_FEEDBACK__DATABASE_URL"


class EvidentlyMissingError(Exception):
    """Evidently cannot be imported here."""


def run(arguments: list[str]) -> int:
    """Writes the pages and says the main things; 0, or 2 if labels or files cannot be read or compared."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if bool(options.files) != bool(options.reference):
        parser.error("FILE and --reference need one another")
    if not (options.files or options.database_url):
        parser.error("expected captured files with --reference, a database of labels (--database-url), or both")
    try:
        evidently = _evidently() if options.evidently else None
        models, told = _labels(options) if options.database_url else ([], [])
        captures = _captures(options) if options.files else None
        pages = {options.out: page([*_quality(models, options), *_drift(captures, options)])}
        if evidently:
            options.evidently.mkdir(parents=True, exist_ok=True)
            pages |= {options.evidently / name: html for name, html in evidently.pages(told, captures)}
        for file, html in pages.items():
            file.write_text(html, "utf-8")
            print(f"report: {file}")
    except (CorpusError, EvidentlyMissingError, LabelsError, OSError, TensorError) as error:
        print(f"report: {error}", file=sys.stderr)
        return CANNOT
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
        help="of predictions whose confusion and calibration are shown, and of those Evidently gets (%(default)s)",
    )
    add("--out", type=Path, default=Path("report.html"), help="the page (default: %(default)s)")
    add(
        "--evidently",
        type=Path,
        metavar="DIRECTORY",
        help="where Evidently's pages of the same go besides; needs requirements/evidently.txt (`make evidently`)",
    )
    return parser


def _evidently() -> ModuleType:
    """What makes Evidently's pages."""
    # Parts of Evidently report their use unless told otherwise.
    os.environ["DO_NOT_TRACK"] = "1"
    try:
        from gateway.report import evidently  # noqa: PLC0415  # seconds, and seldom installed
    except ImportError as error:
        raise EvidentlyMissingError(
            f"Evidently cannot be imported here ({error}); expected an environment with requirements/evidently.txt: "
            "`make evidently` sets one up, for `.evidently/bin/python -m gateway report …`"
        ) from error
    return evidently


def _labels(options: argparse.Namespace) -> tuple[list[ModelQuality], list[Labelled]]:
    """How good the models were, and for Evidently their labelled predictions."""
    with labels(options.database_url) as connection:
        models = quality.read(connection, options.model)
        told = read_labelled(connection, models, Window(options.window)) if options.evidently else ()
        return models, list(told)


def _captures(options: argparse.Namespace) -> Captures:
    reference, current = (of_requests(read(paths, whole=False)) for paths in (options.reference, options.files))
    return reference, current


def _quality(models: Sequence[ModelQuality], options: argparse.Namespace) -> Iterator[str]:
    window = Window(options.window)
    for found in models:
        for each in found.qualities:
            if each.window is window:
                figures = (f"{name} {quality.written(name, figure)}" for name, figure in quality.figures(each).items())
                print(
                    f"{found.model} {each.version} {each.variant.name.lower()}: {each.labelled} of {each.predictions} "
                    f"predictions labelled; {', '.join(figures) or 'no figures'}"
                )
        yield quality.section(found, window)


def _drift(captures: Captures | None, options: argparse.Namespace) -> Iterator[str]:
    if captures is None:
        return
    level = {"alpha": options.alpha, "min_psi": options.min_psi}
    comparisons = beside(*captures)
    if not comparisons:
        raise CorpusError("the files have no feature in common")
    for each in comparisons:
        mark = "drifted" if drift.has_drifted(each, **level) else ""
        print(f"{each.feature.name:24} PSI {each.psi:7.3f}   p {each.p_value:8.2g}   {mark}".rstrip())
    yield drift.section(comparisons, " ".join(options.reference), " ".join(options.files), **level)
