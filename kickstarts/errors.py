"""What can go wrong in this package, named for what a person must do about it."""


class KickstartError(Exception):
    """Base of every error that this package raises on purpose; a hint is a note (`add_note`)."""


class BadValue(KickstartError):
    """A value may not stand in an answer: it is not what its field takes."""

    def __init__(self, field: str, expected: str) -> None:
        """Does not quote the value: it may be a secret, and it may be hostile."""
        self.field = field
        super().__init__(f"{field}: expected {expected}")


class UnknownSystem(KickstartError):
    """No answer is known for this operating system."""


class UnknownRole(KickstartError):
    """No role makes a host of this kind."""
