"""What keeps traces from being made."""


class TracingError(Exception):
    """The environment asks for traces in a way that there is not."""
