"""Programs that this package calls and a machine may lack."""

import shutil

from rpmspecs.errors import ToolMissing


def require_tool(name: str, package: str) -> str:
    """The path of a program. Raises ToolMissing, which names its package."""
    if found := shutil.which(name):
        return found
    raise ToolMissing(f"{name} is not installed; it is in the package {package}")
