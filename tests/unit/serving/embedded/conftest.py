"""A server of fake models."""

import pytest

from tests.unit.serving.embedded.fakes import FakeLoader


@pytest.fixture
def load() -> FakeLoader:
    """The loader of fake models."""
    return FakeLoader()
