"""Configuration files in protobuf's text format, as TensorFlow Serving's flags name them."""

from pathlib import Path
from typing import TypeVar

from google.protobuf import text_format
from google.protobuf.message import Message

AnyMessage = TypeVar("AnyMessage", bound=Message)


class ConfigFileError(Exception):
    """A configuration file that cannot be read; one line that names it, and where in it."""


def read_text_proto(path: Path, message: AnyMessage) -> AnyMessage:
    """Fills `message` from a file in protobuf's text format; ConfigFileError."""
    try:
        return text_format.Parse(path.read_text(), message)
    except OSError as error:
        raise ConfigFileError(f"{path}: {error.strerror}") from error
    except (UnicodeDecodeError, text_format.ParseError) as error:
        raise ConfigFileError(f"{path}:{' '.join(str(error).split())}") from error
