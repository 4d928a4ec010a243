# SPDX-License-Identifier: Apache-2.0
"""Elements of sets and maps, and the verdicts that maps hold."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Final, Literal, get_args

from podfence.nft.errors import InvalidError
from podfence.nft.names import check_comment, check_name, comment_text

VerdictKind = Literal["accept", "drop", "continue", "return", "jump", "goto"]
Key = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What happens to a packet; `chain` is where `jump` and `goto` lead."""

    kind: VerdictKind
    chain: str | None = None

    def __post_init__(self) -> None:
        if self.kind not in get_args(VerdictKind):
            raise InvalidError(f"{self.kind!r} is not a verdict: {', '.join(get_args(VerdictKind))}")
        if (self.kind in {"jump", "goto"}) != (self.chain is not None):
            raise InvalidError(f"jump and goto name a chain, and no other verdict does: {self.kind} {self.chain}")
        if self.chain is not None:
            check_name(self.chain, "chain")

    def __str__(self) -> str:
        return self.kind if self.chain is None else f"{self.kind} {self.chain}"


ACCEPT: Final = Verdict("accept")
DROP: Final = Verdict("drop")
RETURN: Final = Verdict("return")


def goto(chain: str) -> Verdict:
    """Return the verdict that continues in `chain` and does not come back."""
    return Verdict("goto", chain)


def jump(chain: str) -> Verdict:
    """Return the verdict that continues in `chain` and comes back."""
    return Verdict("jump", chain)


@dataclass(frozen=True, slots=True)
class Element:
    """One element: a key of one text per concatenated type, or the interval from `key` to `end`, both included.

    `end` has a part for each part of `key`; equal parts are no interval. `value` is a verdict or the parts
    of a datum, in maps only; `timeout` is in seconds. The types are checked by the set or map that it is put in.
    """

    key: Key
    end: Key | None = None
    value: Verdict | Key | None = None
    comment: str | None = None
    timeout: int | None = None

    def __post_init__(self) -> None:
        check_comment(self.comment)
        if self.timeout is not None and self.timeout < 1:
            raise InvalidError(f"a timeout is at least a second: {self.timeout}")

    @classmethod
    def block(cls, cidr: str, value: Verdict | Key | None = None, comment: str | None = None) -> Element:
        """Return the element of the addresses of an IPv4 or IPv6 block; raise InvalidError if `cidr` is none."""
        try:
            network = ipaddress.ip_network(cidr)
        except ValueError as error:
            raise InvalidError(str(error)) from error
        first, last = str(network.network_address), str(network.broadcast_address)
        return cls((first,), None if first == last else (last,), value, comment)

    @property
    def key_text(self) -> str:
        """Return the key as nft reads it, as in `10.0.0.0-10.0.0.9 . 80`."""
        if self.end is None:
            return " . ".join(self.key)
        pairs = zip(self.key, self.end, strict=True)
        return " . ".join(first if first == last else f"{first}-{last}" for first, last in pairs)

    def __str__(self) -> str:
        timeout = "" if self.timeout is None else f" timeout {self.timeout}s"
        datum = " . ".join(self.value) if isinstance(self.value, tuple) else self.value
        value = "" if datum is None else f" : {datum}"
        return f"{self.key_text}{timeout}{comment_text(self.comment)}{value}"
