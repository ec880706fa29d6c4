"""Every call has an id that its caller, its log line and its answer share."""

import re

from gateway.call import Call
from gateway.interceptors.interceptor import Interceptor
from gateway.randomness import Randomness

HEADER = "x-request-id"
_ACCEPTABLE = re.compile(r"[!-~]{1,128}")


class RequestId(Interceptor):
    """Takes the caller's id if it can stand in a log, else makes one."""

    def __init__(self) -> None:
        self._random = Randomness(8)

    def on_start(self, call: Call) -> None:
        """Sets `call.request_id`."""
        given = call.metadata.get(HEADER)
        call.request_id = given if given and _ACCEPTABLE.fullmatch(given) else self._random.draw()
