"""serving.embedded.source: what counts as a version, and what the log says when there is none."""

import logging
from pathlib import Path

import pytest

from serving.embedded.config import All, Latest, Model, Policy, Specific
from serving.embedded.source import Source, published
from tests.unit.serving.embedded.fakes import publish


def latest(base: Path) -> dict[int, Path]:
    """The highest version at a base path."""
    return Latest().choose(published(base))


def test_latest(tmp_path: Path) -> None:
    """The highest number is the latest version, not the last name."""
    publish(tmp_path, "9")
    assert latest(tmp_path) == {9: tmp_path / "9"}
    publish(tmp_path, "10")
    assert latest(tmp_path) == {10: tmp_path / "10"}


def test_leading_zeros(tmp_path: Path) -> None:
    """00000123 is version 123; of two names for it the last in the alphabet counts."""
    publish(tmp_path, "00000123")
    assert latest(tmp_path) == {123: tmp_path / "00000123"}
    publish(tmp_path, "123")
    assert latest(tmp_path) == {123: tmp_path / "123"}


@pytest.mark.parametrize("name", ["tmp-2", "2.tmp", ".2", "v2", "2a", "²", str(2**63)])
def test_other_names(tmp_path: Path, name: str) -> None:
    """A directory whose name is no 64-bit number is skipped."""
    publish(tmp_path, "1")
    publish(tmp_path, name)
    assert latest(tmp_path) == {1: tmp_path / "1"}


def test_half_written(tmp_path: Path) -> None:
    """A directory without a SavedModel in it is no version yet, nor is a file."""
    publish(tmp_path, "1")
    publish(tmp_path, "2", "variables")
    (tmp_path / "3").touch()
    assert latest(tmp_path) == {1: tmp_path / "1"}
    (tmp_path / "2/saved_model.pbtxt").touch()
    assert latest(tmp_path) == {2: tmp_path / "2"}


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (Latest(), {10}),
        (Latest(2), {9, 10}),
        (Latest(9), {1, 9, 10}),
        (All(), {1, 9, 10}),
        (Specific(frozenset({1, 9, 7})), {1, 9}),
        (Specific(frozenset()), set()),
    ],
    ids=str,
)
def test_policies(tmp_path: Path, policy: Policy, expected: set[int]) -> None:
    """A policy chooses among the versions that are there."""
    for name in ("1", "009", "9", "10"):
        publish(tmp_path, name)
    assert policy.choose(published(tmp_path)).keys() == expected


def test_missing_base_path(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A base path that cannot be read tells nothing, and is one error in the log until it is back."""
    base = tmp_path / "model"
    source = Source(Model("m", base))
    assert [source.poll(), source.poll()] == [None, None]
    publish(base, "1")
    assert source.poll() == {1: base / "1"}
    base.rename(tmp_path / "away")
    assert [source.poll(), source.poll()] == [None, None]
    assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR"]
    assert str(base) in caplog.messages[0]


def test_empty_base_path(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A base path without a version holds none; the log warns of it once a minute."""
    clock = [100.0]
    source = Source(Model("m", tmp_path), clock=lambda: clock[-1])
    for now in (100.0, 159.0, 160.0):
        clock.append(now)
        assert source.poll() == {}
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * 2
