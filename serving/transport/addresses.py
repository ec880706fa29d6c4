"""Addresses to listen on."""


class AddressTakenError(OSError):
    """The address cannot be listened on."""

    @classmethod
    def of(cls, address: str, more: str = "") -> "AddressTakenError":
        """The error for an address, with what `more` may be to blame."""
        return cls(f"cannot listen on {address}: it is taken, or no address of this machine{more}")
