"""What the pipelines promise: their logic is here, and tried by tests; they trust nobody more than they must."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
TESTS = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("*.py") if path != Path(__file__))
# What neither `.ci/run` nor `make test` can do, and why.
ELSEWHERE = {
    "docker compose": "needs Docker",
    "make images": "needs Docker; minutes",
}
# Of the shell itself.
SHELL = {"test", "printf"}


def load(path: Path) -> dict[str, Any]:
    """A pipeline's content; GitHub's key `on` is true to YAML."""
    return yaml.safe_load(path.read_text())


def jobs(path: Path) -> dict[str, dict[str, Any]]:
    """A workflow's jobs by name."""
    return load(path)["jobs"]


def steps(path: Path) -> Iterator[dict[str, Any]]:
    """The steps of all jobs of a workflow."""
    for job in jobs(path).values():
        yield from job.get("steps", [])


def commands() -> Iterator[str]:
    """Every command that GitHub or GitLab runs."""
    for path in WORKFLOWS:
        for step in steps(path):
            yield from step.get("run", "").splitlines()
    for job in load(ROOT / ".gitlab-ci.yml").values():
        if isinstance(job, dict):
            for line in [*job.get("before_script", []), *job.get("script", [])]:
                yield from line.splitlines()


def made_by(target: str) -> set[str]:
    """A make target with all that it depends on."""
    makefile = (ROOT / "Makefile").read_text()
    found = re.search(rf"^{target}:([^#\n]*)", makefile, re.MULTILINE)
    assert found, f"there is no target {target}"
    return {target}.union(*(made_by(each) for each in found[1].split() if each.isidentifier() or "-check" in each))


def in_ci_run() -> set[str]:
    """The make targets that `.ci/run` makes."""
    asked = re.findall(r"^make ([a-z-]+)$", (ROOT / ".ci/run").read_text(), re.MULTILINE)
    return set().union(*map(made_by, asked))


@pytest.mark.parametrize("command", sorted({line.strip() for line in commands() if line.strip()}))
def test_what_a_pipeline_runs_is_here_and_tried(command: str) -> None:
    """Every command is a make target, a script or a program of this repository that CI or a test runs too."""
    program, *arguments = shlex.split(command)
    if program in SHELL:
        return
    if program == "make":
        (target,) = arguments
        assert made_by(target)
        # Every other target sets .venv up.
        assert target in {*in_ci_run(), "setup"} or f'"make", "{target}"' in TESTS or f"make {target}" in ELSEWHERE
    elif program.endswith("/python"):
        module, verb = arguments[1:3]
        assert arguments[0] == "-m"
        assert (ROOT / module / "__main__.py").is_file()
        assert f'case "{verb}"' in (ROOT / module / "__main__.py").read_text()
        assert f"from {module}" in TESTS
    elif program == "docker":
        assert f"docker {arguments[0]}" in ELSEWHERE
    else:
        assert (ROOT / program).stat().st_mode & 0o111
        assert program == ".ci/run" or program in TESTS or program in ELSEWHERE


def test_exceptions_are_used() -> None:
    """Nothing is excused that no pipeline runs."""
    run = "\n".join(commands())
    assert all(exception in run for exception in ELSEWHERE)


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_workflows_trust_little(path: Path) -> None:
    """No rights by default, the same pinned action everywhere, an end to every job, one run at a time."""
    workflow = load(path)
    assert workflow["permissions"] == {}
    for name, job in jobs(path).items():
        assert "timeout-minutes" in job or "uses" in job, name
        assert "concurrency" in workflow or "concurrency" in job or "pull_request" not in str(workflow[True]), name
        # What is written to is an id token, or said why.
        for right, access in job.get("permissions", {}).items():
            assert access == "read" or right in {"id-token", "packages", "security-events", "pull-requests"}
        assert "id-token" not in job.get("permissions", {}) or "environment" in job or "uses" in job
    for step in steps(path):
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False


def test_actions_are_pinned_once() -> None:
    """Each action by commit with its version beside it, and the same in every workflow."""
    pins: dict[str, set[str]] = {}
    for path in WORKFLOWS:
        for line in re.findall(r"uses: (.*)", path.read_text()):
            if not line.startswith("./"):
                found = re.fullmatch(r"([\w.-]+/[\w.-]+)(?:/\w+)?@([0-9a-f]{40} # v[0-9]+\.[0-9]+\.[0-9]+)", line)
                assert found, line
                pins.setdefault(found[1], set()).add(found[2])
    assert pins
    assert all(len(versions) == 1 for versions in pins.values())


def test_one_gate() -> None:
    """The job that protects main waits for every other job of CI, and asks each for success."""
    found = jobs(ROOT / ".github/workflows/ci.yml")
    gate = found.pop("required")
    assert set(gate["needs"]) == set(found)
    (step,) = gate["steps"]
    assert set(re.findall(r"needs\.(\w+)\.result", step["env"]["RESULTS"])) == set(found)
    assert step["run"].count("success") == len(found)


def test_clouds_of_every_pipeline() -> None:
    """GitHub and GitLab deploy by the same programs."""
    text = (ROOT / ".gitlab-ci.yml").read_text()
    github = {command for path in WORKFLOWS for command in re.findall(r"-m deploy (\w+)", path.read_text())}
    assert github == set(re.findall(r"-m deploy (\w+)", text))
    for script in (".ci/contract", ".ci/loadtest", "terraform/run.sh drift", "make lock-check", "make images"):
        assert script in text
