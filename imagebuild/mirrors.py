"""Mirrors that a person names: which addresses will do, and which systems can use one."""

from collections.abc import Iterable
from urllib.parse import urlsplit

from imagebuild.errors import BadInput
from imagebuild.plan import Settings
from imagebuild.recipe import Recipe


def check_mirrors(settings: Settings, recipes: Iterable[Recipe]) -> None:
    """Raises BadInput for an address that cannot be a mirror, or a system that uses none."""
    named = {"--mirror": settings.mirror, "--security-mirror": settings.security_mirror}
    for option, address in named.items():
        if address is not None:
            _check_address(option, address)
    for recipe in recipes:
        system = recipe.system
        usable = {"--mirror": system.other_mirrors, "--security-mirror": system.name == "debian"}
        for option, address in named.items():
            if address is not None and not usable[option]:
                raise BadInput(
                    f"{option}: {recipe.name} is built from its public mirrors alone, "
                    f"expected a system that can use another"
                )


def public_address(text: str) -> str:
    """An address without user, password and query; empty for what is none.

    >>> public_address("https://me:secret@mirror.example.org/debian?token=x")
    'https://mirror.example.org/debian'
    """
    try:
        parts = urlsplit(text)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return ""
    if parts.scheme not in ("http", "https", "ftp") or not parts.hostname:
        return ""
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}{port}{parts.path}"


def _check_address(option: str, address: str) -> None:
    if "@" in address:
        raise BadInput(
            f"{option}: has a user name or a password, which the log and the image would tell, "
            "expected an address without"
        )
    plain = public_address(address)
    if not plain.startswith("http") or len(plain) != len(address) or not _PLAIN.issuperset(address):
        raise BadInput(
            f"{option}: found {address!r}, expected http://HOST/PATH or https://HOST/PATH"
        )


_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~:/[]%+")
"""What an address may have so that shells and sed take it as it is."""
