"""The command `tensorgate`."""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tensorgate import monitoring_commands, rows
from tensorgate.channel import DEFAULT_TIMEOUT
from tensorgate.client import Client
from tensorgate.errors import TensorgateError
from tensorgate.requests import Instance
from tensorgate.results import Model, Prediction
from tensorgate.target_arguments import add_arguments, metadata_of

STDIN = "-"
# Of a model's many figures, those that fit in a cell; --json has them all.
HEADLINES = ("accuracy", "macro_f1", "log_loss", "rmse", "mae", "r2")


@dataclass(frozen=True)
class Answer:
    """What came of one file, or of one line of it."""

    file: str
    milliseconds: float
    prediction: Prediction | None = None
    error: str = ""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; 0 if all went well, 1 if any call failed, 2 for a command line that makes no sense."""
    options = _parser().parse_args(arguments)
    try:
        with Client(
            options.address,
            key=options.key,
            tls=options.ca_file or options.tls,
            timeout=options.timeout,
            metadata=metadata_of(options),
        ) as client:
            status: int = options.command(client, options)
            return status
    except (TensorgateError, OSError, ValueError) as error:
        print(f"tensorgate: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    shared = argparse.ArgumentParser(add_help=False)
    add_arguments(shared)
    shared.add_argument(
        "--timeout", type=float, default=DEFAULT_TIMEOUT, metavar="SECONDS", help="for each call (default: %(default)s)"
    )
    shared.add_argument("--json", action="store_true", help="print JSON for machines")
    parser = argparse.ArgumentParser(prog="tensorgate", description="Asks a tensorgate gateway for predictions.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    asking = argparse.ArgumentParser(add_help=False)
    asking.add_argument("--model", default="", help="its name (default: the gateway's only one)")
    asking.add_argument("--model-version", type=int, default=0, metavar="N", help="(default: the gateway's choice)")
    asking.add_argument("--top-k", type=int, default=3, metavar="K", help="classes to show (default: %(default)s)")
    predict = commands.add_parser("predict", parents=[shared, asking], help="predict on images, or rows of a table")
    predict.add_argument(
        "files",
        nargs="+",
        metavar="FILE",
        help="an image, - for one from standard input; or rows, as .csv with a header or .jsonl with an object a line",
    )
    predict.set_defaults(command=_predict)
    stream = commands.add_parser(
        "stream",
        parents=[shared, asking],
        help="predict on the images that standard input names, one a line; prints a line of JSON for each",
    )
    stream.add_argument("--as-they-come", action="store_true", help="do not keep the order")
    stream.set_defaults(command=_stream)
    feedback = commands.add_parser(
        "feedback",
        parents=[shared],
        help="say what predictions should have been; without ID and TRUTH, standard input has them, a pair a line",
    )
    feedback.add_argument("id", nargs="?", metavar="ID", help="the prediction's id")
    feedback.add_argument("truth", nargs="?", metavar="TRUTH", help="the class's name")
    kind = feedback.add_mutually_exclusive_group()
    kind.add_argument(
        "--class-index", dest="kind", action="store_const", const=int, default=str, help="TRUTH is a class's place"
    )
    kind.add_argument("--value", dest="kind", action="store_const", const=float, help="TRUTH is a number")
    feedback.set_defaults(command=_feedback)
    monitoring_commands.add(commands, shared)
    models = commands.add_parser("models", parents=[shared], help="list the models that the key may call")
    models.set_defaults(command=_models)
    return parser


def _predict(client: Client, options: argparse.Namespace) -> int:
    # Tells at once if the address, the key or the model is wrong, and spares the first prediction the connecting.
    model = client.get_model(options.model)
    answers = [
        answer
        for file in options.files
        for answer in (
            _ask_rows(client, file, model, options)
            if file.endswith(rows.SUFFIXES)
            else [_ask(client, file, model.name, options)]
        )
    ]
    if options.json:
        print(json.dumps([_as_json(answer) for answer in answers], indent=2))
    else:
        _print_table(answers, model)
    return 1 if any(answer.error for answer in answers) else 0


def _stream(client: Client, options: argparse.Namespace) -> int:
    failed = False

    def report(answer: Answer) -> None:
        nonlocal failed
        failed |= bool(answer.error)
        print(json.dumps(_as_json(answer)), flush=True)

    images = _readable(map(str.rstrip, sys.stdin), report)
    for answer in _streamed(client, images, options, in_order=not options.as_they_come):
        report(answer)
    return 1 if failed else 0


def _streamed(
    client: Client, named: Iterable[tuple[str, Instance]], options: argparse.Namespace, *, in_order: bool
) -> Iterator[Answer]:
    """The answers to instances, each with the name of what it came from."""
    under_way: dict[int, tuple[str, float]] = {}

    def instances() -> Iterator[Instance]:
        for sequence, (name, instance) in enumerate(named):
            under_way[sequence] = (name, time.perf_counter())
            yield instance

    for prediction in client.stream(
        instances(), model=options.model, version=options.model_version, top_k=options.top_k, in_order=in_order
    ):
        name, started = under_way.pop(prediction.sequence)
        milliseconds = (time.perf_counter() - started) * 1e3
        error = str(prediction.error) if prediction.error else ""
        yield Answer(name, milliseconds, None if error else prediction, error)


def _ask_rows(client: Client, file: str, model: Model, options: argparse.Namespace) -> Iterator[Answer]:
    named = ((f"{file}:{line}", values) for line, values in rows.read(file, model.columns))
    try:
        yield from _streamed(client, named, options, in_order=True)
    except (OSError, ValueError) as error:
        yield Answer(file, 0, error=str(error))


def _readable(files: Iterable[str], report: Callable[[Answer], None]) -> Iterator[tuple[str, bytes]]:
    """The files that can be read, with their content; the others are reported."""
    for file in files:
        try:
            yield file, Path(file).read_bytes()
        except OSError as error:
            report(Answer(file, 0, error=f"{error.strerror}"))


def _ask(client: Client, file: str, model: str, options: argparse.Namespace) -> Answer:
    try:
        image = sys.stdin.buffer.read() if file == STDIN else Path(file).read_bytes()
    except OSError as error:
        return Answer(file, 0, error=f"{error.strerror}")
    started = time.perf_counter()
    try:
        prediction = client.predict(image, model=model, version=options.model_version, top_k=options.top_k)
    except TensorgateError as error:
        return Answer(file, (time.perf_counter() - started) * 1e3, error=str(error))
    return Answer(file, (time.perf_counter() - started) * 1e3, prediction)


def _as_json(answer: Answer) -> dict[str, Any]:
    entry: dict[str, Any] = {"file": answer.file, "milliseconds": round(answer.milliseconds, 3)}
    prediction = answer.prediction
    if prediction is None:
        return entry | {"error": answer.error}
    entry |= {"model": prediction.model, "version": prediction.version, "id": prediction.id}
    if prediction.label is not None:
        top = [{"label": score.label, "score": score.score} for score in prediction.top]
        return entry | {"label": prediction.label, "confidence": prediction.confidence, "top": top}
    if prediction.value is not None:
        return entry | {"value": prediction.value}
    return entry | {
        "outputs": {
            name: {"dtype": tensor.dtype, "shape": list(tensor.shape)} for name, tensor in prediction.outputs.items()
        }
    }


def _print_table(answers: Sequence[Answer], model: Model) -> None:
    table = Table(title=f"{model.name}, version {model.default_version}", title_justify="left")
    for column, justify in (
        ("file", "left"),
        ("answer", "left"),
        ("confidence", "right"),
        ("next", "left"),
        ("ms", "right"),
    ):
        table.add_column(column, justify=justify, overflow="fold")  # type: ignore[arg-type]  # rich's own literal
    for answer in answers:
        prediction = answer.prediction
        milliseconds = f"{answer.milliseconds:.1f}"
        if prediction is None:
            table.add_row(Text(answer.file), Text(answer.error, "red"), "", "", milliseconds)
        elif prediction.label is not None:
            others = ", ".join(f"{score.label} {score.score:.1%}" for score in prediction.top[1:])
            table.add_row(
                Text(answer.file), Text(prediction.label), f"{prediction.confidence:.1%}", Text(others), milliseconds
            )
        elif prediction.value is not None:
            table.add_row(Text(answer.file), f"{prediction.value:g}", "", "", milliseconds)
        else:
            table.add_row(Text(answer.file), Text(", ".join(prediction.outputs)), "", "", milliseconds)
    Console().print(table)


def _feedback(client: Client, options: argparse.Namespace) -> int:
    if options.id is not None and options.truth is not None:
        pairs: Iterable[tuple[str, Any]] = [(options.id, _truth(options.truth, options.kind))]
    elif options.id is None:
        lines = (line.strip().split(maxsplit=1) for line in sys.stdin if line.strip())
        pairs = ((line[0], _truth(line[1] if len(line) > 1 else "", options.kind)) for line in lines)
    else:
        raise ValueError("expected ID and TRUTH, or neither")
    summary = client.feedback_batch(pairs)
    refusals = {place: str(error) for place, error in summary.refusals.items()}
    counts = {name: getattr(summary, name) for name in ("booked", "changed", "unchanged", "refused")}
    if options.json:
        print(json.dumps(counts | {"refusals": refusals}))
    else:
        print(", ".join(f"{count} {name}" for name, count in counts.items()))
        for place, error in refusals.items():
            print(f"label {place}: {error}", file=sys.stderr)
    return 1 if summary.refused else 0


def _truth(text: str, kind: Callable[[str], Any]) -> Any:
    try:
        return kind(text)
    except ValueError:
        raise ValueError(f"the label {text!r} is not a number") from None


def _models(client: Client, options: argparse.Namespace) -> int:
    models = client.list_models()
    if options.json:
        entries = [
            {"name": model.name, "default_version": model.default_version, "evaluation": model.evaluation}
            for model in models
        ]
        print(json.dumps(entries, indent=2))
        return 0
    table = Table("model", "version", "evaluation")
    for model in models:
        figures = ", ".join(f"{name} {model.evaluation[name]:.4g}" for name in HEADLINES if name in model.evaluation)
        table.add_row(Text(model.name), str(model.default_version or "none"), figures)
    Console().print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
