"""The settings of capturing requests."""

from typing import Annotated, Literal

from pydantic import Field

from gateway.settings.guards import Section


class CaptureSettings(Section):
    """A sample of what models are asked and answer, as TFRecord files of PredictionLog: each is a warm-up file of
    TensorFlow Serving's, and what `python -m gateway replay` sends again.
    """

    path: str = ""
    """Where the files go, each model's in a directory of its own: a directory, or a URL as gs://… or s3://…, for which
    gcsfs or s3fs must be installed. Default: nothing is captured."""
    sampling_rate: Annotated[float, Field(gt=0, le=1)] = 0.01
    """Share of the requests that are captured."""
    max_rate: Annotated[float, Field(gt=0)] = 10.0
    """Requests of a model that are captured in a second, at most."""
    max_record_bytes: Annotated[int, Field(ge=1)] = 1 << 20
    """Size of the inputs and outputs of a request; larger ones are not captured."""
    inputs: Literal["full", "features", "none"] = "full"
    """What is kept of inputs: all, after preprocessing; the features that drift is measured on; nothing. Warm-up and
    replay need all."""
    redact: Annotated[str, Field(pattern=r"^([\w.]+:\w+)?$")] = ""
    """module:function that is given each PredictionLog before it is written, and returns it, changed or not, or None
    for it not to be written. If it raises, the request is not written."""
    max_file_seconds: Annotated[float, Field(gt=0)] = 60.0
    """Seconds after which a file is complete; it also is after 1000 requests, as many as a warm-up file may have, or
    16 MB."""
    max_total_bytes: Annotated[int, Field(ge=1)] = 1 << 30
    """Size of a model's files together; beyond it the oldest are removed."""
