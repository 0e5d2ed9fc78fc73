"""What can go wrong in this package, named for what a person must do about it."""


class PxeError(Exception):
    """Base of every error that this package raises on purpose."""


class DecodeError(PxeError):
    """Bytes that arrived on a socket are not what the protocol says; drop them."""


class MissingProgram(PxeError):
    """A boot program, kernel or tool is not installed; the message names its package."""


class ServerConflict(PxeError):
    """Another server already answers on this segment."""


class InterfaceUnusable(PxeError):
    """The serving interface does not exist, is down, or lacks its address."""


class RenderError(PxeError):
    """A value cannot be written into a boot script without changing its meaning."""
