import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
WITHOUT_TENSORFLOW = """
import sys
from trainer.__main__ import main
try:
    status = main(sys.argv[1:])
except SystemExit as exit:
    status = exit.code
assert not {"tensorflow", "keras", "mlflow", "sklearn"} & set(sys.modules)
sys.exit(status)
"""


def run(*arguments):
    """Runs the trainer, and checks that it loaded nothing heavy."""
    command = [sys.executable, "-c", WITHOUT_TENSORFLOW, *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_help_is_quick():
    """--help explains the settings without loading TensorFlow."""
    result = run("train", "--help")
    assert result.returncode == 0, result.stderr
    assert "Passes over the training examples" in result.stdout


def test_the_commands_are_explained():
    """Each command has a line, and help of its own."""
    result = run("--help")
    assert result.returncode == 0, result.stderr
    for command in ("train", "promote", "rollback", "list", "compare", "reproduce", "sync"):
        assert f"\n    {command}" in result.stdout
    assert "VERSION" in run("promote", "--help").stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "--fit.epochs", "0"], "recipe: fit.epochs: "),
        (["train", "--nosuch", "1"], "unrecognized arguments: --nosuch"),
        (["train", "--recipe", "/no/such/file"], "/no/such/file cannot be read"),
        (["train", "--model_base_path", "/dev/null"], "cannot publish to /dev/null/digits: Not a directory"),
        ([], "the following arguments are required: COMMAND"),
        (["compare", "1"], "the following arguments are required: B"),
        (["deploy"], "argument COMMAND: invalid choice: 'deploy'"),
    ],
)
def test_a_mistake_is_one_line_and_a_status(arguments, message):
    """What is wrong is said in one line, at once, and the status is 1."""
    result = run(*arguments)
    assert result.returncode == 1
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert result.stdout == ""
