"""LitServe."""

import litserve
import numpy as np
from saved_model import PORT, load


class Digits(litserve.LitAPI):
    """The model."""

    def setup(self, device):
        """Once, in the worker."""
        self.model = load()

    def decode_request(self, request):
        """One request."""
        return np.asarray(request["image"], np.float32)

    def batch(self, inputs):
        """Requests together."""
        return np.stack(inputs)

    def predict(self, x):
        """A batch."""
        return self.model(x)

    def unbatch(self, output):
        """A batch's answers."""
        return list(output)

    def encode_response(self, output):
        """One answer."""
        return {"probabilities": output.tolist()}


if __name__ == "__main__":
    server = litserve.LitServer(Digits(max_batch_size=64, batch_timeout=0.002), accelerator="cpu")
    server.run(host="127.0.0.1", port=PORT, num_api_servers=1, generate_client_file=False, log_level="warning")
