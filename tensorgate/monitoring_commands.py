"""The commands `tensorgate quality` and `tensorgate drift`."""

import argparse
import math
from datetime import timedelta
from typing import Any

from google.protobuf.json_format import MessageToJson
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tensorgate.client import Client
from tensorgate.monitoring import FIGURES, WINDOWS, Figure, Quality
from tensorgate.v1 import quality_service_pb2 as quality_pb

_SHARES = ("accuracy",)
_STYLES = {"drifted": "red", "steady": "green"}


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]", shared: argparse.ArgumentParser) -> None:
    """Adds the commands to those of the command line."""
    asking = argparse.ArgumentParser(add_help=False)
    asking.add_argument("model", nargs="?", default="", metavar="MODEL", help="its name (default: the only one)")
    quality = commands.add_parser(
        "quality", parents=[shared, asking], help="how good each version of a model is, by the labels that came back"
    )
    quality.add_argument("--model-version", type=int, default=0, metavar="N", help="(default: all)")
    quality.add_argument("--window", choices=WINDOWS, default="", help="of predictions made in it (default: each)")
    quality.set_defaults(command=_quality)
    drift = commands.add_parser(
        "drift", parents=[shared, asking], help="how far a version's inputs and answers are from its held-out data"
    )
    drift.add_argument("--model-version", type=int, default=0, metavar="N", help="(default: the one that answers)")
    drift.set_defaults(command=_drift)


def _quality(client: Client, options: argparse.Namespace) -> int:
    qualities = client.quality(options.model, version=options.model_version, window=options.window)
    if options.json:
        messages = [each.message for each in qualities]
        model = qualities[0].model if qualities else options.model
        _print_json(quality_pb.GetQualityResponse(model=model, qualities=messages))
        return 0
    names = [name for name in FIGURES if any(name in each.figures for each in qualities)]
    estimated = any(each.estimated_accuracy for each in qualities)
    table = Table("version", "variant", "window", title="Figures with their 95% intervals", title_justify="left")
    for column in ("predictions", "labels", *(name.replace("_", " ") for name in names)):
        table.add_column(column, justify="right")
    if estimated:
        table.add_column("estimated accuracy of the others", justify="right")
    for each in qualities:
        table.add_row(*_quality_row(each, names, estimated=estimated))
    Console().print(table if qualities else "no predictions")
    return 0


def _quality_row(quality: Quality, names: list[str], *, estimated: bool) -> list[str]:
    return [
        str(quality.version),
        quality.variant,
        quality.window,
        str(quality.predictions),
        f"{quality.labels} ({quality.coverage.value:.1%})",
        *(_written(quality.figures.get(name), share=name in _SHARES) for name in names),
        *([_written(quality.estimated_accuracy, share=True)] if estimated else []),
    ]


def _written(figure: Figure | None, *, share: bool) -> str:
    if figure is None:
        return "–"

    def number(value: float) -> str:
        return f"{value:.1%}" if share else f"{value:.4g}"

    if figure.low is None or figure.high is None:
        return number(figure.value)
    return f"{number(figure.value)} ({number(figure.low)} to {number(figure.high)})"


def _drift(client: Client, options: argparse.Namespace) -> int:
    drift = client.drift(options.model, version=options.model_version)
    if options.json:
        _print_json(drift.message)
        return 0
    console = Console()
    console.print(
        Text.assemble(
            f"{drift.model}, version {drift.version}: ",
            (drift.state.replace("_", " "), _STYLES.get(drift.state, "")),
            f". {drift.summary}",
        )
    )
    windows = drift.message.windows
    if not any(window.rows for window in windows):
        return 0
    table = Table("feature", title="Population stability index, by window", title_justify="left")
    for window in windows:
        length = timedelta(seconds=window.duration.seconds)
        table.add_column(f"{length} ({window.rows})", justify="right")
    for place, feature in enumerate(windows[0].features):
        style = "red" if feature.name in drift.drifted else ""
        indices = (window.features[place].psi for window in windows)
        table.add_row(Text(feature.name, style), *("–" if math.isnan(psi) else f"{psi:.3f}" for psi in indices))
    console.print(table)
    return 0


def _print_json(message: Any) -> None:
    # As the gateway's HTTP port writes it.
    print(MessageToJson(message, always_print_fields_with_no_presence=True))
