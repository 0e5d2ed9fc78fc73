"""Why an image cannot be read."""

from imagebuild.errors import BadInput


class Unreadable(BadInput):
    """The file is no image that we can read, or one on which nobody should rely; says why."""
