"""The client of tensorgate.

    from tensorgate import Client

    with Client("localhost:50051", key="tg_…") as client:
        print(client.predict(Path("seven.png")).label)

`tensorgate.v1` holds the generated stubs that it is built on.
"""

from tensorgate.aio import AsyncClient
from tensorgate.client import Client
from tensorgate.errors import TensorgateError
from tensorgate.monitoring import Drift, Figure, Quality
from tensorgate.results import FeedbackSummary, Model, Prediction, Score, Tensor

__all__ = [
    "AsyncClient",
    "Client",
    "Drift",
    "FeedbackSummary",
    "Figure",
    "Model",
    "Prediction",
    "Quality",
    "Score",
    "Tensor",
    "TensorgateError",
]
