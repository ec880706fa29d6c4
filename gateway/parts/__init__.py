"""The parts of the gateway beside predicting, as the settings want them."""

from collections.abc import Callable

from gateway.catalog import Catalog
from gateway.metrics import Metrics
from gateway.parts.capture import CapturePart
from gateway.parts.drift import DriftPart
from gateway.parts.part import Part, Service
from gateway.parts.rollouts import RolloutPart
from gateway.receipts import Receipts
from gateway.settings import Settings

__all__ = ["Part", "Service", "parts_of"]


def parts_of(
    settings: Settings, catalog: Catalog, receipts: Receipts, metrics: Metrics, *, busy: Callable[[], bool]
) -> list[Part]:
    """The parts; while the gateway is `busy` they do nothing that can be left undone.

    CaptureError if requests cannot be captured as the settings say.
    """
    parts: list[Part] = [DriftPart(settings.drift, catalog, metrics)]
    outcomes = None
    if settings.feedback.database_url is not None:
        # Only where it is wanted: the libraries take 20 MB and half a second to import.
        from gateway.parts.feedback import FeedbackPart  # noqa: PLC0415

        feedback = FeedbackPart(settings.feedback, catalog, receipts, metrics)
        outcomes = feedback.outcomes
        parts.append(feedback)
    parts.append(RolloutPart(settings, catalog, metrics, busy, outcomes))
    if settings.capture.path:
        parts.append(CapturePart(settings, metrics))
    return parts
