# SPDX-License-Identifier: Apache-2.0
"""The types of keys and values, each as a number with one canonical text."""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from podfence.nft.errors import InvalidError

if TYPE_CHECKING:
    from collections.abc import Callable

PROTOCOLS: Final = {
    "icmp": 1,
    "igmp": 2,
    "tcp": 6,
    "udp": 17,
    "dccp": 33,
    "gre": 47,
    "esp": 50,
    "ah": 51,
    "icmpv6": 58,
    "ipv6-icmp": 58,
    "sctp": 132,
    "udplite": 136,
}
"""The names of protocols; they are written as numbers, because nft looks names up in a file that may be absent."""


_ETHER: Final = re.compile(r"[0-9a-fA-F]{2}(?::[0-9a-fA-F]{2}){5}", re.ASCII)
_NAME: Final = re.compile(r"[!#-)+-.0-9;-\[\]-~]{1,15}")


@dataclass(frozen=True, slots=True)
class Datatype:
    """A type of `bits` bits: how its texts are read (ValueError or OSError if they are none) and written."""

    name: str
    bits: int
    read: Callable[[str], int]
    write: Callable[[int], str]

    def number(self, text: str) -> int:
        """Return the value of `text`; raise InvalidError if it is not one of this type."""
        try:
            value = self.read(text)
        except (ValueError, OSError):
            value = -1
        if not 0 <= value < 1 << self.bits:
            raise InvalidError(f"{text!r} is not of type {self.name}")
        return value

    def canonical(self, text: str) -> str:
        """Return the one text of the value that `text` means; raise InvalidError if it means none."""
        return self.write(self.number(text))


def _decimal(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise ValueError(text)
    return int(text)


def _protocol(text: str) -> int:
    return PROTOCOLS[text] if text in PROTOCOLS else _decimal(text)


def _mark(text: str) -> int:
    return int(text, 16) if text.startswith("0x") else _decimal(text)


def _ether(text: str) -> int:
    if not _ETHER.fullmatch(text):
        raise ValueError(text)
    return int(text.replace(":", ""), 16)


def _ifname(text: str) -> int:
    """Return a name as the kernel stores it: 16 bytes that end with zeros."""
    name = text[1:-1] if text.startswith('"') and text.endswith('"') and len(text) > 1 else text
    # nft would take a star for any ending, and has no way to write a quotation mark.
    if not _NAME.fullmatch(name):
        raise ValueError(text)
    return int.from_bytes(name.encode().ljust(16, b"\0"), "big")


def _ifname_text(number: int) -> str:
    return f'"{number.to_bytes(16, "big").rstrip(bytes(1)).decode("ascii")}"'


DATATYPES: Final = {
    kind.name: kind
    for kind in (
        Datatype(
            "ipv4_addr",
            32,
            lambda text: int.from_bytes(socket.inet_pton(socket.AF_INET, text), "big"),
            lambda number: socket.inet_ntop(socket.AF_INET, number.to_bytes(4, "big")),
        ),
        Datatype(
            "ipv6_addr",
            128,
            lambda text: int.from_bytes(socket.inet_pton(socket.AF_INET6, text), "big"),
            lambda number: socket.inet_ntop(socket.AF_INET6, number.to_bytes(16, "big")),
        ),
        Datatype("ether_addr", 48, _ether, lambda number: number.to_bytes(6, "big").hex(":")),
        Datatype("ifname", 128, _ifname, _ifname_text),
        Datatype("inet_proto", 8, _protocol, str),
        Datatype("inet_service", 16, _decimal, str),
        Datatype("mark", 32, _mark, str),
    )
}


@lru_cache(maxsize=64)
def datatypes(names: tuple[str, ...]) -> tuple[Datatype, ...]:
    """Return the types of those names; raise InvalidError if there is none or one is unknown."""
    unknown = [name for name in names if name not in DATATYPES]
    if unknown or not names:
        raise InvalidError(f"no type, or an unknown one: {', '.join(unknown)}; there are {', '.join(DATATYPES)}")
    return tuple(DATATYPES[name] for name in names)
