"""How good each version was, by the database of labels: figures, confusion, calibration."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from html import escape

from sqlalchemy import Connection

from gateway.feedback.labels import CONFIDENCE_BINS
from gateway.feedback.store import Task, tasks
from gateway.quality import report
from gateway.quality.classification import CalibrationBin, ClassificationQuality, ClassQuality
from gateway.quality.intervals import Figure
from gateway.quality.report import Quality, Window
from gateway.report.database import LabelsError

_SIZE = 200
# A larger matrix is no longer read; the most frequent mistakes are.
_MAX_CLASSES, _MISTAKES = 30, 20
_SHARES = ("accuracy",)


@dataclass(frozen=True)
class ModelQuality:
    """A model's qualities, sorted by version, variant and window, and the names of its versions' classes."""

    model: str
    qualities: Sequence[Quality]
    classes: Mapping[int, Sequence[str]]

    def class_name(self, version: int, index: int) -> str:
        """The class's name; its number, if no contract ever said it."""
        names = self.classes.get(version, ())
        return names[index] if index < len(names) else str(index)


def read(connection: Connection, model: str = "") -> list[ModelQuality]:
    """What the database has of `model`, or of all models. LabelsError if it has nothing of it."""
    known: dict[str, dict[int, Task]] = {}
    for (each, version), task in sorted(tasks(connection).items()):
        known.setdefault(each, {})[version] = task
    found = [
        ModelQuality(each, qualities, {version: task.labels for version, task in versions.items()})
        for each, versions in known.items()
        if model in ("", each) and (qualities := report.read(connection, each))
    ]
    if not found:
        raise LabelsError(f"the database has no predictions of {model or 'any model'}")
    return found


def figures(quality: Quality) -> dict[str, Figure]:
    """The figures by name; none without labels."""
    found = quality.figures
    named = {each.name: getattr(found, each.name) for each in fields(found)} if found else {}
    return {name: figure for name, figure in named.items() if isinstance(figure, Figure)}


def written(name: str, figure: Figure | None) -> str:
    """A figure with its interval, as people read it."""
    if figure is None:
        return "–"
    form = "{:.1%}" if name in _SHARES else "{:.3g}"
    interval = "" if figure.low is None else f" ({form.format(figure.low)} to {form.format(figure.high)})"
    return form.format(figure.value) + interval


def section(found: ModelQuality, window: Window) -> str:
    """HTML that says how good the model's versions were, in each window, and in which way in `window`."""
    names = list(dict.fromkeys(name for quality in found.qualities for name in figures(quality)))
    estimated = any(quality.estimate for quality in found.qualities)
    head = ["version", "variant", "window", "predictions", "labels", *(name.replace("_", " ") for name in names)]
    rows = [
        [
            str(quality.version),
            quality.variant.name.lower(),
            quality.window.value,
            str(quality.predictions),
            f"{quality.labelled} ({quality.coverage.value:.1%})",
            *(written(name, figures(quality).get(name)) for name in names),
            *([written("accuracy", quality.estimate.accuracy if quality.estimate else None)] if estimated else []),
        ]
        for quality in found.qualities
    ]
    head += ["estimated accuracy without labels"] if estimated else []
    details = (
        _details(found, quality, quality.figures)
        for quality in found.qualities
        if quality.window is window and isinstance(quality.figures, ClassificationQuality)
    )
    return f"""<h1>Quality of {escape(found.model)}</h1>
<p>By the labels that came back, with 95% confidence intervals. A window holds the predictions made in it. The estimate
is by calibrated confidence (CBPE), and no measurement.</p>
{_table("Figures", head, rows)}
{"".join(details)}"""


def _details(found: ModelQuality, quality: Quality, classes: ClassificationQuality) -> str:
    def name(index: int) -> str:
        return found.class_name(quality.version, index)

    rows = [
        [
            name(each.index),
            str(each.actual),
            *(written("accuracy", figure) for figure in (each.precision, each.recall)),
            written("f1", each.f1),
        ]
        for each in classes.classes
    ]
    names = [name(each.index) for each in classes.classes]
    confusion = (
        _matrix(names, classes.classes, classes.confusion)
        if len(names) <= _MAX_CLASSES
        else _mistakes({(name(a), name(p)): count for (a, p), count in classes.confusion.items() if a != p})
    )
    return f"""<h2>Version {quality.version}, {quality.variant.name.lower()}, {quality.window.value}</h2>
{confusion}
{_table("Classes", ["class", "labels", "precision", "recall", "F1"], rows)}
<p>Calibration: the share of right answers by confidence; on the line they are as often right as they are sure.</p>
{_reliability(classes.calibration)}
"""


def _matrix(names: Sequence[str], classes: Sequence[ClassQuality], confusion: Mapping[tuple[int, int], int]) -> str:
    rows = [
        [name, *(str(confusion.get((row.index, column.index), 0)) for column in classes)]
        for name, row in zip(names, classes, strict=True)
    ]
    return _table("Confusion matrix: true classes down, predicted across", ["", *names], rows, diagonal=True)


def _mistakes(confusion: Mapping[tuple[str, str], int]) -> str:
    most = sorted(confusion.items(), key=lambda item: -item[1])[:_MISTAKES]
    rows = [[actual, predicted, str(count)] for (actual, predicted), count in most]
    return _table("The most frequent mistakes", ["true class", "predicted", "how often"], rows)


def _table(caption: str, head: Sequence[str], rows: Sequence[Sequence[str]], *, diagonal: bool = False) -> str:
    def cell(text: str, row: int, column: int) -> str:
        hit = " hit" if diagonal and column == row + 1 else ""
        return f'<td class="number{hit}">{escape(text)}</td>' if column else f'<th scope="row">{escape(text)}</th>'

    body = "\n".join(
        f"<tr>{''.join(cell(text, row, column) for column, text in enumerate(texts))}</tr>"
        for row, texts in enumerate(rows)
    )
    first, *others = map(escape, head)
    titles = f'<th scope="col">{first}</th>' + "".join(f'<th scope="col" class="number">{text}</th>' for text in others)
    return f"""<div class="scroll"><table><caption>{escape(caption)}</caption>
<thead><tr>{titles}</tr></thead><tbody>
{body}
</tbody></table></div>"""


def _reliability(bins: Sequence[CalibrationBin]) -> str:
    width = _SIZE / CONFIDENCE_BINS
    bars = []
    for place, each in enumerate(bins):
        if each.n:
            share = each.right / each.n
            title = f"{each.n} labels of confidence {each.confidence:.2f}: {share:.1%} right"
            bars.append(
                f'<rect class="second" x="{place * width + 1:.1f}" y="{_SIZE * (1 - share):.1f}" '
                f'width="{width - 2:.1f}" height="{_SIZE * share:.1f}"><title>{escape(title)}</title></rect>'
            )
    return (
        f'<svg role="img" aria-label="Share of right answers by confidence" width="{_SIZE}" height="{_SIZE}">'
        f'{"".join(bars)}<line x1="0" y1="{_SIZE}" x2="{_SIZE}" y2="0"/></svg>'
    )
