"""The settings of feedback and of what is made of it."""

from typing import Annotated

from pydantic import Field, SecretStr, field_validator

from gateway.settings.guards import Section

_SQLITE, _POSTGRESQL = "sqlite:///", ("postgresql://", "postgres://")


class FeedbackSettings(Section):
    """Labels that callers bring back, and the quality of each version by them. Needs `receipt_key`, lest a restart make
    all ids unknown.
    """

    database_url: SecretStr | None = None
    """Where labels are kept: `sqlite:///var/feedback.db`, for one replica, or `postgresql://user:password@host/database`.
    Default: nowhere; FeedbackService and QualityService are off."""
    max_labels: Annotated[int, Field(ge=1, le=2000)] = 1000
    """Labels in one message."""
    max_waiting_labels: Annotated[int, Field(ge=1)] = 20_000
    """Labels that may wait to be written; beyond them callers get RESOURCE_EXHAUSTED, and streams are held up."""
    quality_interval: Annotated[float, Field(gt=0)] = 15.0
    """Seconds between two looks at the labels, for the metrics."""
    retention_days: Annotated[float, Field(gt=0)] | None = None
    """Days after a prediction for which its label is kept, no fewer than `receipt_days`; the figures stay as they are.
    Default: for ever."""

    @field_validator("database_url")
    @classmethod
    def _of_a_known_kind(cls, value: SecretStr | None) -> SecretStr | None:
        url = value.get_secret_value() if value else _SQLITE + "x"
        if url.startswith(_POSTGRESQL) or (url.startswith(_SQLITE) and url != _SQLITE and ":memory:" not in url):
            return value
        raise ValueError("expected sqlite:///<file> or postgresql://<user>@<host>/<database>")
