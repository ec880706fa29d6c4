"""Addresses to listen on."""


class AddressTakenError(OSError):
    """The address cannot be listened on."""
