"""`python -m gateway report FILES --reference FILES`."""

import argparse
import sys
from pathlib import Path

from gateway.drift.comparison import Comparison
from gateway.replay.corpus import CorpusError, read
from gateway.report.features import beside, of_requests
from gateway.report.page import has_drifted, page
from gateway.settings.drift import DriftSettings
from serving.wire.codec import TensorError

CANNOT = 2


def run(arguments: list[str]) -> int:
    """Writes the page and says which features have drifted; 0, or 2 if the files cannot be read or compared."""
    defaults = DriftSettings()
    parser = argparse.ArgumentParser(
        prog="python -m gateway report", description="Compares captured requests with others, and writes a page."
    )
    parser.add_argument(
        "files", nargs="+", metavar="FILE", help="captured files, directories of them, patterns or URLs"
    )
    parser.add_argument("--reference", nargs="+", required=True, metavar="FILE", help="what they are compared with")
    parser.add_argument("--out", type=Path, default=Path("drift.html"), help="the page (default: %(default)s)")
    parser.add_argument("--alpha", type=float, default=defaults.alpha, help="level of the tests (%(default)s)")
    parser.add_argument("--min-psi", type=float, default=defaults.min_psi, help="least PSI that counts (%(default)s)")
    options = parser.parse_args(arguments)
    level = {"alpha": options.alpha, "min_psi": options.min_psi}
    try:
        comparisons = _compared(options)
        options.out.write_text(
            page(comparisons, " ".join(options.reference), " ".join(options.files), **level), "utf-8"
        )
    except (CorpusError, OSError, TensorError) as error:
        print(f"report: {error}", file=sys.stderr)
        return CANNOT
    for each in comparisons:
        mark = "drifted" if has_drifted(each, **level) else ""
        print(f"{each.feature.name:24} PSI {each.psi:7.3f}   p {each.p_value:8.2g}   {mark}".rstrip())
    print(f"report: {options.out}")
    return 0


def _compared(options: argparse.Namespace) -> list[Comparison]:
    reference, current = (of_requests(read(paths, whole=False)) for paths in (options.reference, options.files))
    comparisons = beside(reference, current)
    if not comparisons:
        raise CorpusError("the files have no feature in common")
    return comparisons
