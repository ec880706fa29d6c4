"""What can go wrong in preprocessing."""


class InputError(ValueError):
    """The caller's input is not what the pipeline takes. `reason` is one word for machines, the text is for people."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class StepError(ValueError):
    """A pipeline that cannot be built: an unknown step, or parameters that it does not take."""


class StepFailedError(Exception):
    """A step of one's own failed on an input; what it raised is the cause, and nothing for the caller."""
