"""The few words of netlink that link and neighbours share, spoken through pyroute2."""

import socket
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from pyroute2 import IPRSocket
from pyroute2.netlink import NLM_F_DUMP, NLM_F_REQUEST, NLMSG_DONE, nlmsg

from pxe.addresses import MacAddress


def index_of(interface: str) -> int:
    """The interface's number now, 0 when there is none of that name."""
    try:
        return socket.if_nametoindex(interface)
    except OSError:
        return 0


def open_netlink(groups: int = 0) -> Any:  # noqa: ANN401
    """A netlink socket that works inside and outside of a running loop."""
    netlink = IPRSocket(strict_check=True)
    netlink.bind(groups)
    return netlink


def ask(netlink: Any, message: nlmsg, kind: int, flags: int = 0) -> Iterator[Any]:  # noqa: ANN401
    """The answers to one request; an error of the kernel ends them."""
    netlink.put(message, msg_type=kind, msg_flags=NLM_F_REQUEST | flags)
    while True:
        for answer in netlink.get():
            header = answer["header"]
            if header["error"] is not None or header["type"] == NLMSG_DONE:
                return
            yield answer
        if not flags & NLM_F_DUMP:
            return


def mac_of(text: str | None) -> MacAddress | None:
    with suppress(ValueError, TypeError):
        return MacAddress.parse(text or "")
    return None
