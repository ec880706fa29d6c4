"""The settings of drift monitoring."""

from typing import Annotated

from pydantic import Field

from gateway.settings.guards import Section


class DriftSettings(Section):
    """Drift of inputs, predictions and confidence, by version, from the reference in the model's contract."""

    enabled: bool = True
    """Whether predictions are counted; without effect on versions whose contract has no reference."""
    windows: Annotated[tuple[Annotated[int, Field(ge=60, le=7 * 86_400)], ...], Field(min_length=1, max_length=5)] = (
        300,
        3600,
        86_400,
    )
    """Seconds that the sliding windows cover, which metrics and GetDrift show."""
    look_rows: Annotated[int, Field(ge=100)] = 250
    """Predictions after which a version is judged; also after 4, 16 and 64 times as many."""
    alpha: Annotated[float, Field(gt=0, lt=0.5)] = 0.01
    """The chance that a version whose traffic never changes ever raises an alarm."""
    min_psi: Annotated[float, Field(ge=0)] = 0.1
    """The population stability index below which a difference is too small for an alarm, however certain."""
    max_rows: Annotated[int, Field(ge=1)] = 256
    """Predictions of a version that are counted in a second; further ones are left out."""
    ignored: tuple[str, ...] = ()
    """Features of the input that are not watched, such as `image_pixels` where callers send any size."""
