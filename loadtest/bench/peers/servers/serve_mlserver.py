"""MLServer, with adaptive batching."""

import asyncio

from mlserver import MLModel, MLServer, ModelSettings, Settings
from mlserver.codecs import NumpyCodec
from mlserver.settings import ModelParameters
from mlserver.types import InferenceRequest, InferenceResponse
from saved_model import PORT, load


class Digits(MLModel):
    """The model."""

    async def load(self) -> bool:
        """Once."""
        self.model = load()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """A batch."""
        images = NumpyCodec.decode_input(payload.inputs[0])
        outputs = [NumpyCodec.encode_output("probabilities", self.model(images))]
        return InferenceResponse(model_name=self.name, outputs=outputs)


async def main(port: int) -> None:
    """Serves."""
    settings = Settings(
        host="127.0.0.1", grpc_port=port, http_port=port + 1, metrics_port=port + 2, parallel_workers=0, debug=False
    )
    model = ModelSettings(
        name="digits", implementation=Digits, parameters=ModelParameters(), max_batch_size=64, max_batch_time=0.002
    )
    await MLServer(settings).start([model])


if __name__ == "__main__":
    asyncio.run(main(PORT))
