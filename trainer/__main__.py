"""`python -m trainer`: from the command line to a published model, and which of them is in use."""

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from serving.native_stderr import native_stderr_dropped
from trainer import quiet
from trainer.errors import Refusal, TrainingError
from trainer.recipe import Parser, Recipe, parse
from trainer.store import ModelStore

_REFUSED = 3
_log = logging.getLogger(__package__)


def main(arguments: Sequence[str]) -> int:
    """Runs one command; the exit status."""
    logging.basicConfig(format="%(asctime)s %(name)s: %(message)s", datefmt="%H:%M:%S", level=logging.WARNING)
    _log.setLevel(logging.INFO)
    # An empty variable is none.
    uri = os.environ.get("MLFLOW_TRACKING_URI") or None
    try:
        if arguments and arguments[0] == "train":
            recipe, base, resume, verdict = parse(arguments[1:])
            store = ModelStore(base, recipe.name)
            store.check()
            _train(recipe, store, uri, resume=resume, verdict=verdict)
        else:
            _run(_parser().parse_args(arguments), uri)
    except Refusal as refusal:
        _log.error("%s", refusal)
        return _REFUSED
    except TrainingError as error:
        _log.error("%s", error)
        return 1
    except KeyboardInterrupt:
        _log.error("interrupted, nothing is published")
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python -m trainer",
        allow_abbrev=False,
        description="Trains models, publishes those that pass the gate, and says which version is the champion. MLflow "
        "is at MLFLOW_TRACKING_URI, or a local store under var/mlflow.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    # Its arguments are the recipe's: `parse` has them.
    commands.add_parser("train", help="train a recipe and publish the model if it passes the gate", add_help=False)
    for command, what in (
        ("promote", "make a version the champion"),
        ("rollback", "make the champion before this one the champion again"),
        ("list", "list the registered versions"),
        ("compare", "show two versions' figures on the same held-out examples, and whether they differ by chance"),
    ):
        made = commands.add_parser(command, help=what, description=f"{what[0].upper()}{what[1:]}.")
        made.add_argument("--name", help="the model (default: the only one that is registered; `list` lists all)")
        if command == "promote":
            made.add_argument(
                "version",
                nargs="?",
                default="challenger",
                metavar="VERSION",
                help="a version's number in the registry, or an alias (default: %(default)s)",
            )
        elif command == "compare":
            for place in "AB":
                made.add_argument(place, help="a version's number in the registry, or an alias")
    what = "train again what a run trained, publish nothing, and show how the figures differ"
    made = commands.add_parser("reproduce", help=what, description=f"{what.capitalize()}.")
    made.add_argument("run_id", metavar="RUN_ID", help="of the run in MLflow; a model's contract names it")
    what = "upload the runs that MLflow was not there for; may be cut short and done again"
    commands.add_parser("sync", help=what, description=f"{what.capitalize()}.")
    return parser


def _train(recipe: Recipe, store: ModelStore, uri: str | None, *, resume: bool, verdict: Path | None) -> None:
    _log.info("loading TensorFlow")
    quiet.configure(os.environ)
    with native_stderr_dropped():
        # PLC0415: TensorFlow takes ten seconds to import; --help and a mistake in the recipe do not wait for it.
        from trainer.training import train  # noqa: PLC0415

    try:
        published, figures, found = train(recipe, store, uri, resume=resume)
    except Refusal as refusal:
        _write(verdict, refusal.verdict)
        raise
    name, figure = next(iter(figures.items()))
    print(f"{published.location} {name} {figure:.4f}")
    _write(verdict, found.model_dump_json(indent=2))


def _write(path: Path | None, verdict: str) -> None:
    try:
        if path:
            path.write_text(verdict + "\n", "utf-8")
    except OSError as error:
        raise TrainingError(f"cannot write the verdict to {path}: {error.strerror or error}") from error


def _run(options: argparse.Namespace, uri: str | None) -> None:
    quiet.configure(os.environ)
    # PLC0415: MLflow takes seconds to import, too.
    from trainer import commands  # noqa: PLC0415

    match options.command:
        case "promote":
            print(commands.promote(uri, options.name, options.version))
        case "rollback":
            print(commands.rollback(uri, options.name))
        case "list":
            print(commands.listing(uri, options.name))
        case "compare":
            print(commands.compare(uri, options.name, options.A, options.B))
        case "reproduce":
            print(commands.reproduce(uri, options.run_id))
        case _:
            uploaded = commands.sync(uri)
            print("\n".join(uploaded) or "nothing waits to be uploaded")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
