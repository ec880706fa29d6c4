"""KServe's SDK; it leaves batching to an agent beside it."""

import kserve
import numpy as np
from kserve import InferOutput, InferRequest, InferResponse
from saved_model import PORT, load


class Digits(kserve.Model):
    """The model."""

    def __init__(self):
        super().__init__("digits")
        self.model = load()
        self.ready = True

    def predict(self, payload: InferRequest, headers=None, response_headers=None) -> InferResponse:
        """A request."""
        probabilities = self.model(payload.inputs[0].as_numpy())
        output = InferOutput("probabilities", list(probabilities.shape), "FP32")
        output.set_data_from_numpy(np.asarray(probabilities), binary_data=True)
        return InferResponse(payload.id, self.name, [output])


if __name__ == "__main__":
    kserve.ModelServer(
        grpc_port=PORT, http_port=PORT + 1, workers=1, enable_docs_url=False, access_log_format=None
    ).start([Digits()])
