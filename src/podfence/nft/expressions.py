# SPDX-License-Identifier: Apache-2.0
"""The text of a rule as the expressions that nf_tables runs, for the part of nft's language that is often used.

What nft makes of the same text is the measure: a test reads both back. A text with anything else in it is
left to nft.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

from podfence.netlink.messages import attribute, nested
from podfence.nft.netlink import (
    BIG_ENDIAN,
    CREATE,
    HOST_ENDIAN,
    Command,
    Message,
    number32,
    text,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from podfence.nft.element import Verdict

VERDICT_DATA: Final = 0xFFFFFF00
"""The type of data of a map of verdicts."""

ANONYMOUS_CONSTANT, INTERVAL, MAP = 0x3, 0x4, 0x8
"""Flags of sets."""

_CODES: Final = {"accept": 1, "drop": 0, "continue": -1, "return": -5, "jump": -3, "goto": -4}
_FAMILIES: Final = {"ip": 2, "ip6": 10}
_PLACES: Final = {"ip saddr": (12, 4), "ip daddr": (16, 4), "ip6 saddr": (8, 16), "ip6 daddr": (24, 16)}
_PROTOCOLS: Final = {"tcp": 6, "udp": 17, "sctp": 132}
_PORT_TYPE, _PROTOCOL_TYPE = 13, 12
_REGISTER: Final = 1
_VERDICT_REGISTER: Final = 0
_META_FAMILY, _META_PROTOCOL = 15, 16
_NETWORK_HEADER, _TRANSPORT_HEADER = 1, 2
_INVERTED: Final = 1
_INTERVAL_END: Final = 1
_OPEN_END: Final = b"\x01\x04\x01\x00\x00\x00"
_SECONDS: Final = {"second": 1, "minute": 60, "hour": 3600}
_ADMIN_PROHIBITED: Final = 3


class Span(NamedTuple):
    """An element of a set: from `first` to `last`, both included."""

    first: int
    last: int
    verdict: tuple[str, str | None] | None = None


class Encoded(NamedTuple):
    """A rule's expressions, and the messages that make the sets without names that it looks things up in."""

    expressions: tuple[bytes, ...]
    sets: tuple[Message, ...]


class Unspoken(Exception):  # noqa: N818  (not an error: somebody else speaks it)
    """A text or an object that is left to nft."""


def elements(spans: Sequence[Span], size: int, *, interval: bool, anonymous: bool = False) -> bytes:
    """Return the elements of a set as its attribute; `size` is that of a key in bytes.

    Spans of a set of intervals are disjoint, in order, and all that is in the set. Where one follows on another
    its start is the other's end in a set without a name; in one with a name the kernel wants both.
    """
    found: list[bytes] = []
    if interval and spans and spans[0].first:
        found.append(_element(0, size, None, _INTERVAL_END))
    for place, span in enumerate(spans):
        after = span.last + 1
        open_end = interval and after >> size * 8
        found.append(_element(span.first, size, span.verdict, 0, _OPEN_END if open_end else b""))
        adjacent = anonymous and place + 1 < len(spans) and spans[place + 1].first == after
        if interval and not open_end and not adjacent:
            found.append(_element(after, size, None, _INTERVAL_END))
    return nested(3, found)


def _element(key: int, size: int, verdict: tuple[str, str | None] | None, flags: int, user: bytes = b"") -> bytes:
    parts = [number32(3, flags)] if flags else []
    parts.append(nested(1, [attribute(1, key.to_bytes(size, "big"))]))
    if verdict is not None:
        parts.append(_verdict(*verdict))
    if user:
        parts.append(attribute(6, user))
    return nested(1, parts)


def verdict_of(value: Verdict) -> tuple[str, str | None]:
    """Return a verdict as spans have it."""
    return value.kind, value.chain


def described(flags: int, kind: int, size: int, number: int, order: int, count: int = 0) -> list[bytes]:
    """Return what a new set, or map of verdicts, is like, as attributes: its flags and its number in the transaction.

    `kind` is the type of its keys, `size` how many bytes one has and `order` in which order; `count` is how many
    elements there will be, if that is to be told. nft keeps the last attribute with the set.
    """
    parts = [number32(3, flags), number32(4, kind), number32(5, size)]
    notes = b"\x00\x04" + order.to_bytes(4, "little")
    if flags & MAP:
        parts += [number32(6, VERDICT_DATA), number32(7, 0)]
        notes += b"\x01\x04\x00\x00\x00\x00"
    parts.append(number32(10, number))
    if count:
        parts.append(nested(9, [number32(1, count)]))
    return [*parts, attribute(13, notes)]


def encode(rule: str, table: str, first_id: int) -> Encoded:
    """Return a rule as expressions; sets without names get numbers from `first_id` on.

    Raises Unspoken if there is something in it that is left to nft.
    """
    return _Encoder(table, first_id).encode(rule)


class _Encoder:
    def __init__(self, table: str, first_id: int) -> None:
        self._table = table
        self._next_id = first_id
        self._found: list[bytes] = []
        self._sets: list[Message] = []

    def encode(self, rule: str) -> Encoded:
        rest = rule
        while rest:
            for pattern, method in _WORDS:
                if match := pattern.match(rest):
                    method(self, *match.groups())
                    rest = rest[match.end() :]
                    break
            else:
                raise Unspoken(rule)
        return Encoded(tuple(self._found), tuple(self._sets))

    def _add(self, name: str, *parts: bytes) -> None:
        self._found.append(nested(1, [text(1, name), nested(2, parts)]))

    def address(self, family: str, end: str, vmap: str | None, name: str) -> None:
        self._meta(_META_FAMILY)
        self._equals(_FAMILIES[family])
        offset, length = _PLACES[f"{family} {end}"]
        self._load(_NETWORK_HEADER, offset, length)
        self._look_up(name, into_verdict=vmap is not None)

    def network_field(self, offset: str, bits: str, value: str) -> None:
        first, length = int(offset), int(bits)
        if first % 8 or length % 8:
            raise Unspoken(offset, bits)
        self._load(_NETWORK_HEADER, first // 8, length // 8)
        self._equals(int(value, 16), length // 8)

    def protocol(self, number: str) -> None:
        self._meta(_META_PROTOCOL)
        self._equals(int(number))

    def other_protocols(self, numbers: str) -> None:
        self._meta(_META_PROTOCOL)
        spans = [Span(int(number), int(number)) for number in numbers.split(", ")]
        found = self._anonymous("__set%d", _PROTOCOL_TYPE, 1, spans)
        self._look_up("__set%d", found, flags=_INVERTED)

    def port_map(self, protocol: str, content: str) -> None:
        self.protocol(str(_PROTOCOLS[protocol]))
        self._load(_TRANSPORT_HEADER, 2, 2)
        spans = []
        for item in content.split(", "):
            ports, _, verdict = item.partition(" : ")
            first, _, last = ports.partition("-")
            kind, _, chain = verdict.partition(" ")
            spans.append(Span(int(first), int(last or first), (kind, chain)))
        found = self._anonymous("__map%d", _PORT_TYPE, 2, spans)
        self._look_up("__map%d", found, into_verdict=True)

    def counter(self) -> None:
        self._add("counter")

    def verdict(self, kind: str, chain: str | None = None) -> None:
        self._add("immediate", number32(1, _VERDICT_REGISTER), _verdict(kind, chain))

    def limit(self, rate: str, unit: str, burst: str) -> None:
        numbers = [attribute(n, value.to_bytes(8, "big")) for n, value in ((1, int(rate)), (2, _SECONDS[unit]))]
        self._add("limit", *numbers, number32(3, int(burst)), number32(4, 0), number32(5, 0))

    def log(self, prefix: str, group: str) -> None:
        self._add("log", text(2, prefix), attribute(1, int(group).to_bytes(2, "big")))

    def reset(self) -> None:
        self._add("reject", number32(1, 1), attribute(2, bytes(1)))

    def prohibit(self) -> None:
        self._add("reject", number32(1, 2), attribute(2, bytes((_ADMIN_PROHIBITED,))))

    def _meta(self, key: int) -> None:
        self._add("meta", number32(2, key), number32(1, _REGISTER))

    def _equals(self, value: int, size: int = 1) -> None:
        self._add("cmp", number32(1, _REGISTER), number32(2, 0), nested(3, [attribute(1, value.to_bytes(size, "big"))]))

    def _load(self, header: int, offset: int, length: int) -> None:
        self._add("payload", *(number32(n, v) for n, v in enumerate((_REGISTER, header, offset, length), 1)))

    def _look_up(self, name: str, number: int | None = None, *, into_verdict: bool = False, flags: int = 0) -> None:
        parts = [number32(2, _REGISTER)]
        if into_verdict:
            parts.append(number32(3, _VERDICT_REGISTER))
        parts.append(text(1, name))
        if number is not None:
            parts.append(number32(4, number))
        if flags:
            parts.append(number32(5, flags))
        self._add("lookup", *parts)

    def _anonymous(self, name: str, kind: int, size: int, spans: list[Span]) -> int:
        """Add a set without a name; return its number in this transaction."""
        found = self._next_id
        self._next_id += 1
        interval = any(span.first != span.last for span in spans)
        is_map = spans[0].verdict is not None
        flags = ANONYMOUS_CONSTANT | (INTERVAL if interval else 0) | (MAP if is_map else 0)
        whole = elements(spans, size, interval=interval, anonymous=True)
        order = BIG_ENDIAN if size > 1 else HOST_ENDIAN
        head = [text(1, self._table), text(2, name)]
        parts = [*head, *described(flags, kind, size, found, order, 0 if interval else len(spans))]
        self._sets.append((Command.NEW_SET, CREATE, b"".join(parts)))
        self._sets.append((Command.NEW_ELEMENT, CREATE, b"".join([*head, number32(4, found), whole])))
        return found


@lru_cache(maxsize=1024)
def _verdict(kind: str, chain: str | None) -> bytes:
    """Return a verdict as data; the elements of a map have few different ones."""
    parts = [number32(1, _CODES[kind])]
    if chain is not None:
        parts.append(text(2, chain))
    return nested(2, [nested(2, parts)])


_PORTS: Final = r"\d+(?:-\d+)? : (?:goto|jump) [^\s,]+"
_WORDS: Final[tuple[tuple[re.Pattern[str], Callable[..., None]], ...]] = tuple(
    (re.compile(pattern + r"(?: |$)"), method)
    for pattern, method in (
        (r"(ip|ip6) (saddr|daddr) (vmap )?@(\S+)", _Encoder.address),
        (r"@nh,(\d+),(\d+) 0x([0-9a-f]+)", _Encoder.network_field),
        (r"meta l4proto (\d+)", _Encoder.protocol),
        (r"meta l4proto != \{ (\d+(?:, \d+)*) \}", _Encoder.other_protocols),
        (rf"(tcp|udp|sctp) dport vmap \{{ ({_PORTS}(?:, {_PORTS})*) \}}", _Encoder.port_map),
        (r"counter", _Encoder.counter),
        (r"(accept|drop)", _Encoder.verdict),
        (r"(goto|jump) (\S+)", _Encoder.verdict),
        (r"limit rate (\d+)/(second|minute|hour) burst (\d+) packets", _Encoder.limit),
        (r'log prefix "([^"]*)" group (\d+)', _Encoder.log),
        (r"reject with tcp reset", _Encoder.reset),
        (r"reject with icmpx type admin-prohibited", _Encoder.prohibit),
    )
)
