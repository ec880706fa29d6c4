"""JSON by RapidJSON, as in TensorFlow Serving: the same texts are read, refused and written."""

import re
from typing import Any

import numpy as np
import rapidjson
from numpy.typing import NDArray

from serving.rest.errors import BadJson

_NAMES = {dict: "Object", list: "Array", str: "String", int: "Number", float: "Number", type(None): "Null"}
_PARSE_ERROR = re.compile(r"Parse error at offset (\d+): (.*)", re.DOTALL)
FLOAT_MAX = float(np.finfo(np.float32).max)


def parse(body: bytes, *, exact: bool = False) -> Any:
    """The value of a JSON text, NaN and Infinity included; BadJson.

    RapidJSON's own doubles are quick to read and sometimes off in the last bit, in TFS too; `exact` ones are not.
    """
    mode = rapidjson.NM_NAN if exact else rapidjson.NM_NAN | rapidjson.NM_NATIVE
    try:
        return rapidjson.loads(body, number_mode=mode)
    except UnicodeDecodeError as error:
        raise BadJson(f"JSON Parse error: Invalid encoding in string. at offset: {error.start}") from error
    # ValueError is JSONDecodeError too; RecursionError is for what is nested too deep.
    except (ValueError, RecursionError) as error:
        found = _PARSE_ERROR.fullmatch(str(error))
        text = f"{found[2]} at offset: {found[1]}" if found else str(error)
        raise BadJson(f"JSON Parse error: {text}") from error


def quoted(value: Any) -> str:
    """A value as TFS quotes it in errors."""
    if type(value) is float:
        return decimals(np.array([value], np.float32 if abs(value) <= FLOAT_MAX else np.float64))[0]
    try:
        return str(rapidjson.dumps(value, indent=4, ensure_ascii=False, number_mode=rapidjson.NM_NAN))
    except RecursionError:
        return "(nested too deep)"


def string(text: str) -> str:
    """A JSON string."""
    return str(rapidjson.dumps(text, ensure_ascii=False))


def type_name(value: Any) -> str:
    """What TFS calls the type of a value."""
    return str(value) if type(value) is bool else _NAMES[type(value)]


def decimals(values: NDArray[Any]) -> list[str]:
    """The elements of a one-dimensional float32 or float64 array, as TFS prints them.

    Six digits where these are the number, else all that its type may need (9 or 17), and never without a `.0` or an
    exponent: a number without either would be read as an integer.
    """
    numbers = values.tolist()
    texts = ("%g " * len(numbers) % tuple(numbers)).split()
    with np.errstate(over="ignore"):
        differ = np.array(texts, np.float64).astype(values.dtype) != values
    precision = 9 if values.dtype == np.float32 else 17
    for index in np.flatnonzero(differ):
        texts[index] = f"{numbers[index]:.{precision}g}"
    return [text if "." in text or "e" in text else _whole(text) for text in texts]


def _whole(text: str) -> str:
    return _NOT_FINITE.get(text) or f"{text}.0"


_NOT_FINITE = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}
