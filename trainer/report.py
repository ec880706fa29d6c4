"""The report of a training run: one page that stands alone, and its pictures, beside the export."""

import base64
import html
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix

from serving.contract import Contract
from serving.preprocessing import Step
from trainer import evaluate, pictures
from trainer.calibration import reliability
from trainer.data import Dataset
from trainer.gate import Verdict
from trainer.listing import Table
from trainer.pictures import Picture
from trainer.robustness import Slice

DIRECTORY = Path("assets.extra", "report")
"""Inside a version; servers do not look there."""
_PAGE = Path(__file__).with_suffix(".html")


def pictures_of(
    outputs: NDArray[Any], heldout: Dataset, steps: Sequence[Step], epochs: Sequence[tuple[int, Mapping[str, float]]]
) -> list[Picture]:
    """What `outputs`, (n, classes) or (n, 1), for the held-out examples look like, and the figures of the epochs.

    `steps` are those of preprocessing, for what the worst mistakes look like; a table's rows look like nothing.
    """
    made = [pictures.learning_curves(epochs)] if epochs else []
    truth, labels = heldout.targets, heldout.labels
    if not labels:
        values = outputs[:, 0]
        return [*made, pictures.predicted_values(values, truth), pictures.residuals(values, truth)]
    predicted = outputs.argmax(axis=1)
    counts = confusion_matrix(truth, predicted, labels=np.arange(len(labels)))
    made += [pictures.confusion_matrix(counts, labels), pictures.reliability(reliability(outputs, truth))]
    wrong = np.flatnonzero(predicted != truth)
    worst = wrong[np.argsort(-outputs[wrong].max(axis=1), kind="stable")][: pictures.WORST].tolist()
    if steps and not heldout.columns and worst:
        images = (heldout.pixels(place, steps[0]) for place in worst)
        names = [pictures.short(label) for label in labels]
        captions = [f"{names[truth[n]]} → {names[predicted[n]]} ({outputs[n].max():.0%})" for n in worst]
        made.append(pictures.mistakes(images, captions))
    return made


def tables(contract: Contract, costs: Mapping[str, float], slices: Mapping[str, Slice]) -> list[Table]:
    """All figures of a run: on the held-out data, by class, on corrupted images, of the export, and its lineage."""
    figures, labels = contract.evaluation, contract.postprocessing.labels
    overall = ((name, _number(value)) for name, value in evaluate.overall(figures, labels).items())
    made = [Table("Figures on the held-out examples", ("", "value"), tuple(overall))]
    if labels:
        measures = evaluate.MEASURES
        rows = ((label, *(_number(figures[f"{measure}_{label}"]) for measure in measures)) for label in labels)
        made.append(Table("By class", ("class", *measures), tuple(rows)))
    if slices:
        header = ("images", "all classes", *labels)
        found = ((name, *map(_number, (each.accuracy, *each.by_class))) for name, each in slices.items())
        made.append(Table("Accuracy on held-out images, corrupted before preprocessing", header, tuple(found)))
    made.append(
        Table("Cost of the export, in this process", ("", "value"), tuple((n, _number(v)) for n, v in costs.items()))
    )
    return [*made, Table("Lineage", ("", "value"), tuple(contract.lineage.items()))]


def verdict(found: Verdict) -> list[Table]:
    """What the gate said: its checks, the champion on the same examples, the drift of the training data."""
    warned = (("warning", warning, "") for warning in found.warnings)
    checks = ((check.name, check.reason, "passed" if check.passed else "refused") for check in found.checks)
    made = [Table("Gate", ("check", "found", "verdict"), (*checks, *warned))] if found.checks or found.warnings else []
    if champion := found.champion:
        made.append(side_by_side(f"Beside the champion, version {champion.version}", champion.figures, found.figures))
        drift = ((name, _number(each.psi), _number(each.jensen_shannon)) for name, each in champion.drift.items())
        header = ("feature", "PSI", "Jensen–Shannon distance")
        made.append(Table("Drift of the training data from the champion's reference", header, tuple(drift)))
    return made


def side_by_side(
    caption: str,
    first: Mapping[str, float],
    second: Mapping[str, float],
    names: tuple[str, str] = ("champion", "candidate"),
) -> Table:
    """The figures that both have, and how much higher those of the second are."""
    common = [(name, first[name], second[name]) for name in first if name in second]
    rows = ((name, _number(one), _number(other), f"{other - one:+.4f}") for name, one, other in common)
    return Table(caption, ("", *names, "difference"), tuple(rows))


def write(directory: Path, contract: Contract, shown: Iterable[Picture], listed: Iterable[Table]) -> None:
    """Puts report.html, which needs no other file, and the pictures as PNG files into the new `directory`."""
    directory.mkdir(parents=True)
    shown = list(shown)
    for picture in shown:
        (directory / f"{picture.name}.png").write_bytes(picture.png)
    source = contract.lineage.get("data_source", "")
    page = Template(_PAGE.read_text("utf-8")).substitute(
        title=html.escape(f"{contract.name}: report"),
        summary=html.escape(f"{contract.postprocessing.task.capitalize()}, {source}"),
        pictures="\n".join(map(_figure, shown)),
        tables="\n".join(map(_table, listed)),
    )
    (directory / "report.html").write_text(page, "utf-8")


def _figure(picture: Picture) -> str:
    caption, data = html.escape(picture.caption), base64.b64encode(picture.png).decode()
    source = f"data:image/png;base64,{data}"
    return f'<figure><img src="{source}" alt="{caption}"><figcaption>{caption}</figcaption></figure>'


def _table(table: Table) -> str:
    head = "".join(f'<th scope="col">{html.escape(cell)}</th>' for cell in table.header)
    body = "\n".join(
        f'<tr><th scope="row">{html.escape(name)}</th>'
        + "".join(f"<td>{html.escape(cell)}</td>" for cell in cells)
        + "</tr>"
        for name, *cells in table.rows
    )
    return (
        f"<section><table><caption>{html.escape(table.caption)}</caption>\n"
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></section>"
    )


def _number(value: float | None) -> str:
    """Whole numbers in full, others with four digits after the point; a dash where there is none."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if value == round(value) and abs(value) > 1 else f"{value:.4f}"
