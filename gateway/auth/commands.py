"""`python -m gateway keys create|list|rotate|revoke`."""

import argparse
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pydantic import ValidationError

from gateway.auth.keys import KeysFile, KeysFileError, create
from gateway.settings.guards import AuthSettings


def run(arguments: list[str]) -> int:
    """Runs one key command and returns the exit status."""
    options = _parser().parse_args(arguments)
    try:
        options.command(options)
    except (KeysFileError, OSError) as error:
        print(f"keys: {error}", file=sys.stderr)
        return 1
    except ValidationError as error:
        for problem in error.errors():
            print(f"keys: {problem['loc'][0]}: {problem['msg']}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m gateway keys", description="API keys; only their hashes are kept.")
    parser.add_argument(
        "--file", type=Path, default=AuthSettings().keys_file, help="the keys file (default: %(default)s)"
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    making = commands.add_parser("create", help="make a key and print it: it is shown this once")
    making.add_argument("--client", required=True, help="whose it is, for logs and metrics")
    making.add_argument(
        "--scope",
        action="append",
        help="predict:MODEL, feedback:MODEL, * for every model, or admin; may be repeated (default: predict:*)",
    )
    making.add_argument("--days", type=_positive, help="how long it is valid (default: until revoked)")
    making.set_defaults(command=_create)
    commands.add_parser("list", help="show the keys in the file").set_defaults(command=_list)
    rotating = commands.add_parser("rotate", help="make a key like another, which expires, and print it")
    rotating.add_argument("id", metavar="ID", help="as `list` shows it")
    rotating.add_argument("--days", type=_positive, help="how long the new key is valid (default: until revoked)")
    rotating.add_argument(
        "--overlap-days", type=_positive, default=7.0, help="how long the old key stays valid (default: %(default)s)"
    )
    rotating.set_defaults(command=_rotate)
    revoking = commands.add_parser("revoke", help="take keys out of the file")
    revoking.add_argument("ids", nargs="+", metavar="ID", help="as `list` shows it")
    revoking.set_defaults(command=_revoke)
    return parser


def _positive(text: str) -> float:
    days = float(text)
    if not 0 < days < 36500:  # noqa: PLR2004  # a century
        raise argparse.ArgumentTypeError("expected a number of days above 0")
    return days


def _create(options: argparse.Namespace) -> None:
    file = KeysFile.load(options.file) if options.file.exists() else KeysFile()
    text, key = create(options.client, frozenset(options.scope or ["predict:*"]), _in_days(options.days))
    file.keys.append(key)
    file.save(options.file)
    print(text)


def _in_days(days: float | None) -> datetime | None:
    return datetime.now(UTC) + timedelta(days=days) if days else None


def _rotate(options: argparse.Namespace) -> None:
    file = KeysFile.load(options.file)
    old = next((key for key in file.keys if key.id == options.id), None)
    if old is None:
        raise KeysFileError(f"no key {options.id} in {options.file}")
    overlap = datetime.now(UTC) + timedelta(days=options.overlap_days)
    # A key that ends before that must not live longer for it.
    retired = old.model_copy(update={"expires": min(overlap, old.expires or overlap)})
    text, key = create(old.client, old.scopes, _in_days(options.days))
    file.keys = [*(retired if kept is old else kept for kept in file.keys), key]
    file.save(options.file)
    print(text)


def _list(options: argparse.Namespace) -> None:
    for key in KeysFile.load(options.file).keys:
        expires = f"{key.expires:%Y-%m-%d}" if key.expires else "never"
        scopes = " ".join(sorted(key.scopes)) + ("  (expired)" if key.expired else "")
        print(f"{key.id}  {key.client:20}  created {key.created:%Y-%m-%d}  expires {expires:10}  {scopes}")


def _revoke(options: argparse.Namespace) -> None:
    file = KeysFile.load(options.file)
    missing = set(options.ids) - {key.id for key in file.keys}
    if missing:
        raise KeysFileError(f"no key {', '.join(sorted(missing))} in {options.file}")
    file.keys = [key for key in file.keys if key.id not in options.ids]
    file.save(options.file)
