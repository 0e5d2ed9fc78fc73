"""What can go wrong in a rehearsal, named for what a person must do about it."""

from provision.errors import ProvisionError


class SimulationError(ProvisionError):
    """Base of every error that the rehearsal raises on purpose."""


class MissingTool(SimulationError):
    """A program or firmware is not installed; the note is the command that installs it."""


class NoWorld(SimulationError):
    """This machine does not let us make a private network."""


class ServerNotReady(SimulationError):
    """The boot server under rehearsal runs and does not serve; its log says why."""
