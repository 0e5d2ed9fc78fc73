"""Mirrors that a person names: which addresses will do, and which systems can use one."""

import re
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
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
    if settings.snapshot is not None:
        snapshot_time(settings.snapshot)
    for recipe in recipes:
        system = recipe.system
        if settings.snapshot is not None and not system.snapshots:
            raise BadInput(
                f"--snapshot: earlier states of {system.name} are kept nowhere that we know, "
                "expected debian or ubuntu"
            )
        usable = {"--mirror": system.other_mirrors, "--security-mirror": system.name == "debian"}
        for option, address in named.items():
            if address is not None and not usable[option]:
                raise BadInput(
                    f"{option}: {recipe.name} is built from its public mirrors alone, "
                    f"expected a system that can use another"
                )


def snapshot_time(stamp: str) -> int:
    """Seconds since 1970 of a snapshot's stamp. Raises BadInput.

    >>> snapshot_time("20261101T060000Z")
    1793512800
    """
    try:
        if not re.fullmatch(r"\d{8}T\d{6}Z", stamp):
            raise ValueError
        return int(datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp())
    except ValueError:
        raise BadInput(
            f"--snapshot: found {stamp!r}, expected a time like 20261101T060000Z"
        ) from None


def with_snapshot(settings: Settings, recipe: Recipe) -> Settings:
    """The settings with mirrors as they were at the snapshot's time, which is that of all files.

    A mirror that a person named keeps snapshots itself, each below its stamp.
    """
    stamp, system = settings.snapshot, recipe.system
    if stamp is None:
        return settings
    form = system.snapshots
    main = _named(settings.mirror, stamp) or _snapshot(system.mirror, form, stamp)
    security = _named(settings.security_mirror, stamp)
    if security is None and system.name == "debian":
        security = _snapshot(system.security_mirror, form, stamp)
    epoch = snapshot_time(stamp) if settings.epoch is None else settings.epoch
    return replace(settings, mirror=main, security_mirror=security, epoch=epoch)


def _named(mirror: str | None, stamp: str) -> str | None:
    return f"{mirror.rstrip('/')}/{stamp}" if mirror else None


def _snapshot(mirror: str, form: str, stamp: str) -> str:
    parts = urlsplit(mirror)
    domain = parts.netloc.partition(".")[2]
    return f"{parts.scheme}://snapshot.{domain}/{form.format(path=parts.path[1:], stamp=stamp)}"


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
