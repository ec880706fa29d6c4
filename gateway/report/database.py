"""The database of labels, for somebody who only reads it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import ValidationError
from sqlalchemy import Connection, inspect

from gateway.feedback import tables
from gateway.feedback.database import DatabaseUnavailableError, connect, reading
from gateway.settings.feedback import FeedbackSettings
from serving.validation import problems


class LabelsError(Exception):
    """Labels that cannot be read."""


@contextmanager
def labels(url: str) -> Iterator[Connection]:
    """The database of labels at one moment. LabelsError if it cannot be read or is none."""
    try:
        FeedbackSettings.model_validate({"database_url": url})
    except ValidationError as error:
        raise LabelsError(problems(error)) from error
    engine = connect(url)
    try:
        # SQLite would make the file.
        if engine.dialect.name == "sqlite" and not Path(engine.url.database or "").is_file():
            raise LabelsError(f"there is no file {engine.url.database}")
        with reading(engine) as connection:
            if not inspect(connection).has_table(tables.task.name):
                raise LabelsError("the database has no labels; the gateway makes its tables")
            yield connection
    except DatabaseUnavailableError as error:
        raise LabelsError(f"the database of labels is away: {error}") from error
    finally:
        engine.dispose()
