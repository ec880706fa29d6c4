"""gateway.settings_page and docs/configuration.md"""

from pathlib import Path

from pydantic import BaseModel

from gateway import settings_page
from gateway.settings import Settings

PAGE = Path(__file__).parents[3] / "docs/configuration.md"


def test_page_is_current() -> None:
    """The page in the repository is the one that the settings make."""
    assert PAGE.read_text() == settings_page.page(), "python -m gateway settings > docs/configuration.md"


def test_every_setting_is_explained() -> None:
    """Each setting, and each of a section's, has a meaning on the page."""

    def check(model: type[BaseModel]) -> int:
        assert model.__doc__
        count = 0
        for name, field in model.model_fields.items():
            inner = settings_page._model(field.annotation)
            if inner is None or field.annotation is not inner:
                assert field.description, name
                assert settings_page._text(field.description) in PAGE.read_text()
                count += 1
            if inner is not None:
                count += check(inner)
        return count

    assert check(Settings) > 60
