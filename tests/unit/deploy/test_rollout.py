"""A roll-out of a model version, by the gateway's command."""

import subprocess
from typing import Any

import pytest

from deploy import rollout
from deploy.commands import DeployError
from deploy.release import RolledBack
from gateway.rollout import commands as rollout_commands
from gateway.rollout.commands import TAKEN_BACK, TIMED_OUT


def test_verdicts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Promoted is done; taken back is told from what has no verdict and from what never began."""
    statuses = iter([rollout_commands.DONE, TAKEN_BACK, TIMED_OUT, rollout_commands.FAILED])
    commands = []

    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        return subprocess.CompletedProcess(command, next(statuses))

    monkeypatch.setattr(rollout.subprocess, "run", run)
    rollout.promote("gateway:443", "digits", 8, 7)
    assert commands[0][1:4] == ["-m", "gateway", "rollout"]
    options = rollout_commands._parser().parse_args(commands[0][4:])
    assert (options.address, options.tls, options.model) == ("gateway:443", True, "digits")
    assert (options.candidate, options.stable, options.wait) == (8, 7, True)
    with pytest.raises(RolledBack, match="digits version 8; version 7 answers"):
        rollout.promote("gateway:443", "digits", 8, 7)
    for said in ("has no verdict yet and goes on", "was not put on trial"):
        with pytest.raises(DeployError, match=said):
            rollout.promote("gateway:443", "digits", 8, 7)
