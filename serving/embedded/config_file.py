"""The file of --model_config_file: a ModelServerConfig in protobuf's text format, read at start and again and again."""

import asyncio
import logging
from pathlib import Path

from serving.embedded.catalog import Catalog
from serving.embedded.config import Model, models_of
from serving.embedded.text_proto import ConfigFileError, read_text_proto
from serving.wire import tensorflow_serving_pb2 as tfs
from serving.wire.errors import ServingError

logger = logging.getLogger(__name__)


def read_models(path: Path) -> list[Model]:
    """The models that a file names; ConfigFileError."""
    try:
        return models_of(read_text_proto(path, tfs.ModelServerConfig()))
    except ServingError as error:
        raise ConfigFileError(f"{path}: {error}") from error


class ConfigFile:
    """The file whose `models` were adopted at start.

    What changes in it is adopted; a change that cannot be is an error in the log, once, and tried again each time: a
    label may wait for its version. A reload by RPC stands until the file changes.
    """

    def __init__(self, path: Path, models: list[Model], catalog: Catalog) -> None:
        self._path = path
        self._adopted = models
        self._catalog = catalog
        self._problem = ""

    async def poll(self) -> None:
        """Reads the file and adopts what is new in it."""
        try:
            models = await asyncio.to_thread(read_models, self._path)
            if models != self._adopted:
                self._catalog.adopt(models)
                self._adopted = models
                logger.info("adopted %s", self._path)
                await self._catalog.poll()
        except (ConfigFileError, ServingError) as error:
            if str(error) != self._problem:
                logger.error("%s; the configuration stays as it was", error)  # noqa: TRY400  # the error says it all
            self._problem = str(error)
        else:
            self._problem = ""
