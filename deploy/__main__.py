"""`python -m deploy images|release|smoke|train|model`: what the deployment pipelines do, and a person can."""

import argparse
import os
import sys
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from deploy import images, models, rollout
from deploy.commands import DeployError, run
from deploy.release import STEPS, Judge, Plan, RolledBack, release
from deploy.root import Root
from deploy.smoke import smoke
from deploy.training import Refused, train

FAILED, NOT_IN_USE = 1, 3
OUT = Path("var/deploy")


def main(arguments: Sequence[str]) -> int:
    """Runs one command: 0 if it is done, 3 if what was new did worse and is out of use, 1 if it failed."""
    options = _parser().parse_args(arguments)
    try:
        _run(options)
    except (Refused, RolledBack) as error:
        print(f"deploy: not in use: {error}", file=sys.stderr)
        return NOT_IN_USE
    except (DeployError, OSError) as error:
        print(f"deploy: {error}", file=sys.stderr)
        return FAILED
    return 0


def _run(options: argparse.Namespace) -> None:
    match options.command:
        case "images":
            _images(options)
        case "release":
            plan, judge = Plan(options.steps, options.minutes * 60), Judge(partial(_smoke, options.model))
            release(Root(options.root), images.load(options.images), plan, judge)
        case "smoke":
            outputs = Root(options.root).outputs()
            if options.version:
                rollout.wait(_endpoint(outputs), options.model, options.version)
            _smoke(options.model, outputs)
        case "train":
            train(options.recipe, Root(options.root).outputs()["model_store"], OUT)
        case "model":
            _model(options)


def _images(options: argparse.Namespace) -> None:
    registry = options.registry
    if options.root:
        outputs = Root(options.root).outputs()
        registry = outputs["registry"]
        run(["bash", "-o", "pipefail", "-c", outputs["commands"]["docker_login"]])
    if options.source:
        found = images.copy(images.load(options.source), registry)
    else:
        found = images.build(registry, options.tag)
    images.save(found, options.out)
    print("\n".join(found.values()))


def _model(options: argparse.Namespace) -> None:
    outputs = Root(options.root).outputs()
    endpoint, store = _endpoint(outputs), outputs["model_store"]
    version = options.version or models.newest(options.source, options.model)
    # Asked beforehand: where there was no roll-out yet, the newest version answers as soon as it is there.
    stable = rollout.default_version(endpoint, options.model)
    copied = models.copy(options.source, store, options.model, version)
    print(f"{options.model} version {version} is {'now' if copied else 'already'} in {store}", flush=True)
    rollout.wait(endpoint, options.model, version)
    if stable not in {0, version}:
        rollout.promote(endpoint, options.model, version, stable)


def _smoke(model: str, outputs: Mapping[str, Any]) -> None:
    smoke(_endpoint(outputs), outputs["model_store"], model, out=OUT / time.strftime("%Y%m%d-%H%M%S"))


def _endpoint(outputs: Mapping[str, Any]) -> str:
    if "endpoint" not in outputs:
        raise DeployError("there is no service yet: docs/runbooks/deployment.md says how it is first made")
    return str(outputs["endpoint"])


def _shares(text: str) -> list[int]:
    try:
        return [int(each) for each in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}; expected numbers with commas between, as 0,10,100") from None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m deploy", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    made = commands.add_parser("images", help="build the images, or copy them, and write their references by digest")
    where = made.add_mutually_exclusive_group(required=True)
    where.add_argument("--registry", help="what their names begin with")
    where.add_argument("--root", help="the live root whose registry they go to, as gcp/staging")
    made.add_argument("--source", type=Path, metavar="FILE", help="copy those that an earlier run wrote; else build")
    made.add_argument("--tag", default=os.environ.get("GITHUB_SHA", "local"), help="of what is built (%(default)s)")
    made.add_argument("--out", type=Path, default=OUT / "images.json", metavar="FILE", help="(%(default)s)")
    made = commands.add_parser("release", help="bring images into use step by step; status 3 if they were taken back")
    made.add_argument("root", help="as gcp/production")
    made.add_argument("--images", type=Path, default=OUT / "images.json", metavar="FILE", help="(%(default)s)")
    made.add_argument("--steps", type=_shares, default=STEPS, metavar="PERCENT,…", help="(default: 0,10,50,100)")
    made.add_argument("--minutes", type=float, default=10.0, help="that a step is watched for (%(default)s)")
    made.add_argument("--model", default="digits", help="what is called (%(default)s)")
    made = commands.add_parser("smoke", help="a short load against what runs, held to loadtest/deployed.yaml")
    made.add_argument("root", help="as gcp/staging")
    made.add_argument("--model", default="digits", help="what is called (%(default)s)")
    made.add_argument("--version", type=int, help="wait for this one first")
    made = commands.add_parser("train", help="train a recipe, publish what passes its gate; status 3 if it is refused")
    made.add_argument("root", help="as gcp/staging")
    made.add_argument("--recipe", default="digits", help="a file in trainer/recipes, without .yaml (%(default)s)")
    made = commands.add_parser(
        "model", help="copy a model version to a root's store and roll it out; status 3 if it was taken back"
    )
    made.add_argument("root", help="as gcp/production")
    made.add_argument("--from", dest="source", required=True, metavar="URL", help="the model store that has it")
    made.add_argument("--model", default="digits", help="its name (%(default)s)")
    made.add_argument("--version", type=int, help="(default: the newest)")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
