"""Bodies of requests as HTTP carries them."""

import gzip
import io
import zlib

from serving.rest.errors import BadJson


def unzipped(body: bytes, max_bytes: int) -> bytes:
    """What a gzip body holds; BadJson if that is more than `max_bytes`, or nothing."""
    try:
        text = gzip.GzipFile(fileobj=io.BytesIO(body)).read(max_bytes + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise BadJson(f"the body is no gzip: {error}") from error
    if len(text) > max_bytes:
        raise BadJson(f"the body holds more than {max_bytes} bytes")
    return text
