"""What an installation is served, without its secrets: kept, and compared with what it would be."""

import difflib
import logging
import re
from collections.abc import Iterator
from datetime import datetime

from provision.errors import AnswerError
from provision.inventory import views
from provision.inventory.model import Host, Inventory
from provision.lifecycle import HostState
from provision.plan import UNKNOWN_SERVER, answer_of, name_server, plan_host
from provision.store import Store, StoreError, served
from provision.store.hosts import HostRecord
from provision.store.served import Served
from pxe.errors import RenderError

log = logging.getLogger(__name__)

MASK = "***"
HASH = re.compile(r"\$(?:[0-9][a-z]?|y|gy|7)\$[^\s\"':]+")
"""A password's hash, as crypt(5) writes it."""
CONFIDENTIAL = re.compile(
    r"(?i)((?:rootpw|pass(?:wd|word|phrase)?|secret|token|credential|private.?key)\w*\b[\"']?)"
    r"(\s*[:=\s]\s*)(?=\S).*"
)
"""In an operator's own template nobody tells what is secret: what follows such a word may be."""


def present(inventory: Inventory, host: Host, at: datetime) -> Served:
    """What an installation of the host would be served, as people may see it.

    The same whichever of several servers it comes from. Raises AnswerError, RenderError.
    """
    settings = views.settings(inventory, UNKNOWN_SERVER)
    plan = plan_host(inventory, host, HostRecord(host.name, HostState.ARMED), settings)
    answer = answer_of(inventory, host, settings) or ""
    if not views.answered_by_us(host.role):
        answer = mask(answer)
    return Served(host.name, at, name_server(plan.script), name_server(answer))


def remember(store: Store, inventory: Inventory, host: str, at: datetime) -> None:
    """Keep what a host is being served; that this fails keeps nobody from anything."""
    known = inventory.hosts.get(host)
    if known is None:
        return
    try:
        now = present(inventory, known, at)
        with store.database.writing(durable=False) as connection:
            served.keep(connection, now)
    except (StoreError, AnswerError, RenderError) as error:
        log.warning("what was served is not kept host=%s: %s", host, error)


def mask(text: str) -> str:
    """A text of somebody else's without what looks secret in it."""
    return CONFIDENTIAL.sub(rf"\1\2{MASK}", HASH.sub(MASK, text))


def difference(before: Served, now: Served) -> Iterator[str]:
    """A unified diff from what was served to what would be, script and answer apart."""
    when = before.at.isoformat(timespec="seconds")
    for name in ("script", "answer"):
        was, would = getattr(before, name).splitlines(), getattr(now, name).splitlines()
        yield from difflib.unified_diff(
            was, would, f"{name} of {now.host}, served", f"{name} of {now.host}, next", when,
            lineterm="",
        )  # fmt: skip
