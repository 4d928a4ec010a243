# SPDX-License-Identifier: Apache-2.0
"""Messages about flows, read by their layout: as an attribute by attribute reading of each has them."""

from __future__ import annotations

import os
import shutil
import socket
import struct
from itertools import product
from random import Random
from typing import TYPE_CHECKING

import pytest

from podfence.dataplane.conntrack import KernelConntrack
from podfence.dataplane.entries import Reader
from podfence.dataplane.flows import Ends, Flow, Sides
from podfence.netlink.messages import (
    ACK,
    ERROR,
    GENERAL,
    REQUEST,
    attribute,
    attributes,
    error_number,
    message,
    messages,
    nested,
)
from podfence.sets.addresses import V6_FIRST, parse_address
from tests.dataplane.inside import inside
from tests.dataplane.network import Network

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

LABEL = 119
BYTE, FLAG = LABEL // 8, 1 << LABEL % 8
FOUR, SIX = ("10.0.0.1", "10.0.0.2", "10.96.0.1"), ("fd00::1", "fd00::2", "fd00:96::1")
NEW, CREATE = 0x100, 0x400
TCP, UDP, SCTP = 6, 17, 132


def packed(text: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6 if ":" in text else socket.AF_INET, text)


def sides(
    protocol: int, source: str, destination: str, *, backend: str | None = None, port: int = 80, number: int = 0
) -> bytes:
    """Return both tuples of an entry; the destination is translated to a backend, if there is one."""
    result = []
    ends = ((source, destination, 40000 + number, port), (backend or destination, source, port, 40000 + number))
    for side, (one, other, first, second) in enumerate(ends, 1):
        kind = 3 if ":" in one else 1
        if protocol in (1, 58):
            base, request = (4, 8) if protocol == 1 else (7, 128)
            said = request if side == 1 else (0 if protocol == 1 else 129)
            parts = [struct.pack(">H", number), bytes((said,)), b"\0"]
            content = [attribute(place, part) for place, part in enumerate(parts, base)]
        else:
            content = [attribute(2, struct.pack(">H", first)), attribute(3, struct.pack(">H", second))]
        addresses = nested(1, [attribute(kind, packed(one)), attribute(kind + 1, packed(other))])
        result.append(nested(side, [addresses, nested(2, [attribute(1, bytes((protocol,))), *content])]))
    return b"".join(result)


def tcp_state(number: int) -> bytes:
    flags = [attribute(place, b"\x08\x08") for place in (4, 5)]
    return nested(4, [nested(1, [attribute(1, bytes((number,))), *flags])])


def _below(data: bytes, start: int, end: int, path: tuple[int, ...]) -> Iterator[bytes]:
    for kind, first, last in attributes(data, start, end):
        if kind == path[0]:
            yield from [data[first:last]] if len(path) == 1 else _below(data, first, last, path[1:])


def walked(data: bytes) -> Flow | None:
    """Return the flow of a message, each attribute of which is looked at for itself."""

    def inner(*path: int) -> bytes | None:
        values = list(_below(data, 4, len(data), path))
        return values[-1] if values else None

    def whole(number: int) -> bytes:
        places = [data[first - 4 : last + 3 & ~3] for kind, first, last in attributes(data, 4, len(data)) if kind == number]  # fmt: skip
        return places[-1] if places else b""

    found = [(inner(side, 1, kind), inner(side, 1, kind + 2)) for side in (1, 2) for kind in (1, 2)]
    ends = [(six or b"") if four is None else four for four, six in found]
    if {len(item) for item in ends} not in ({4}, {16}):
        return None
    source, destination, answers, client = (int.from_bytes(item, "big") + (V6_FIRST if len(item) == 16 else 0) for item in ends)  # fmt: skip
    texts = [inner(side, 2, kind) or b"" for side in (1, 2) for kind in (2, 3)]
    one, two, three, four = (int.from_bytes(item, "big") if {len(text) for text in texts} == {2} else 0 for item in texts)  # fmt: skip
    protocol = int.from_bytes((inner(1, 2, 1) or b"")[:1], "big")
    labels, status = inner(22) or b"", inner(3) or b""
    return Flow(
        protocol,
        Ends(source, destination, one, two),
        Ends(answers, client, three, four),
        len(labels) > BYTE and bool(labels[BYTE] & FLAG),
        len(status) > 3 and bool(status[3] & 1),
        data[:4] + whole(1) + whole(18) + whole(12),
        protocol == TCP and inner(4, 1, 1) in (b"\7", b"\10"),
    )


def read(contents: Iterable[bytes], settled: Callable[[Flow], bool] = lambda _: False) -> list[Flow | None]:
    """Return what one reader says of messages that follow one another in a buffer, None of those that it leaves out."""
    reader, buffer, found = Reader(BYTE, FLAG), b"", []
    for item in contents:
        start, buffer = len(buffer) + 16, buffer + bytes(16) + item
        found.append(next(reader.flows(buffer, [(start, start + len(item))], settled), None))
    return found


def alike(flow: Flow) -> tuple[object, ...]:
    """Return what one question is asked about."""
    return flow.source, flow.destination, flow.point, flow.protocol, flow.labelled, flow.expected


def made(random: Random) -> bytes:
    """Return a message such as the kernel writes it, with what it may leave out left out at times."""
    source, destination, service = random.choice((FOUR, SIX))
    protocol = random.choice((TCP, TCP, UDP, SCTP, 47, 58 if ":" in source else 1))
    backend = random.choice((None, None, service))
    parts = [sides(protocol, source, destination, backend=backend, port=random.choice((80, 443)), number=random.randrange(9))]  # fmt: skip
    parts += random.choice(([], [], [attribute(18, b"\0\7")]))
    parts += [attribute(3, struct.pack(">I", random.choice((0x0E, 0x188, 0x189))))]
    parts += random.choice(([], [attribute(7, struct.pack(">I", random.randrange(600)))]))
    parts += [tcp_state(random.choice((3, 3, 7, 8)))] if protocol == TCP else []
    parts += random.choice(([], [attribute(22, random.choice((bytes(16), bytes(BYTE) + bytes((FLAG,)) + bytes(15 - BYTE))))]))  # fmt: skip
    random.shuffle(tail := parts[1:])
    return GENERAL.pack(2, 0, 0) + b"".join((parts[0], *tail))


@pytest.mark.parametrize("seed", range(8))
def test_messages_read_by_their_layout_say_what_a_walk_of_each_says(seed: int) -> None:
    random = Random(seed)
    messages = [made(random) for _ in range(500)]
    wanted = [walked(item) for item in messages]
    assert read(messages) == wanted
    assert {item.protocol for item in wanted if item} == {1, TCP, UDP, SCTP, 47, 58}
    assert {item.is_over for item in wanted if item} == {item.labelled for item in wanted if item} == {True, False}


@pytest.mark.parametrize("seed", range(8))
def test_broken_messages_are_read_as_a_walk_of_each_reads_them(seed: int) -> None:
    random = Random(seed)
    messages = []
    for _ in range(500):
        whole = bytearray(made(random))
        for _ in range(random.choice((0, 1, 3))):
            whole[random.randrange(len(whole))] = random.choice((0, 1, 2, 3, 4, 5, 8, 255, random.randrange(256)))
        messages.append(bytes(whole[: random.choice((len(whole), random.randrange(len(whole) + 1)))]))
    # The same again, so that most have a layout that is known by then.
    wanted = [walked(item) for item in messages] * 2
    assert read(messages * 2) == wanted
    assert None in wanted
    # Half of all questions are answered with yes, whatever the flow that they were asked about.
    assert read(messages * 2, lambda flow: hash(alike(flow)) % 2 == 0) == [
        None if flow is None or hash(alike(flow)) % 2 == 0 else flow for flow in wanted
    ]


def test_the_order_of_both_sides_does_not_matter() -> None:
    both = sides(TCP, *FOUR[:2])
    half = len(both) // 2
    usual, other = bytes(4) + both, bytes(4) + both[half:] + both[:half]
    assert read([usual, other, other]) == [walked(usual)] * 3


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    with Network(("172.18.0.1",), ()) as found:
        found.nft(
            "add table inet t; add chain inet t o { type filter hook output priority 0; };"
            f"add rule inet t o ct state untracked ct label set {LABEL}"
        )
        yield found


@pytest.fixture
def table(network: Network) -> Iterator[KernelConntrack]:
    """Return an empty table, in which flows can be made."""
    found = inside(network.pid_of("172.18.0.1"), lambda: KernelConntrack(LABEL))
    assert found._table.change(0x102, [bytes(4)]) == [0]
    yield found
    found.close()


needs_kernel = pytest.mark.skipif(
    os.geteuid() != 0 or not all(map(shutil.which, ("nft", "ip", "unshare", "nsenter"))),
    reason="needs root, nft, iproute2 and util-linux",
)


def make(table: KernelConntrack, entry: bytes, family: int, *more: bytes) -> None:
    """Put an entry into the table, as if its flow had passed."""
    parts = [entry, attribute(7, struct.pack(">I", 600)), attribute(3, struct.pack(">I", 0xE)), *more]
    request = GENERAL.pack(family, 0, 0) + b"".join(parts)
    table._table._socket.send(message(NEW, REQUEST | ACK | CREATE, 0, request))
    ((kind, _, (start, _)),) = messages(answer := table._table._socket.recv(1 << 16))
    assert (kind, error_number(answer, start)) == (ERROR, 0)


def contents_of(table: KernelConntrack) -> list[bytes]:
    return [data[start:end] for data, places in table._table.dump(0x101, bytes(4)) for start, end in places]


@needs_kernel
def test_flows_of_all_families_and_protocols_are_read_as_a_walk_of_each_reads_them(table: KernelConntrack) -> None:
    for family, (client, server, service) in ((socket.AF_INET, FOUR), (socket.AF_INET6, SIX)):
        icmp = 1 if family == socket.AF_INET else 58
        for number, protocol in product(range(40), (TCP, UDP, SCTP, icmp)):
            target, backend = (service, server) if number % 3 == 0 else (server, None)
            more = [tcp_state((1, 3, 7, 8)[number % 4])] if protocol == TCP else []
            more += [attribute(18, struct.pack(">H", number))] if number % 5 == 0 else []
            make(table, sides(protocol, client, target, backend=backend, number=number), family, *more)
    some = [flow for place, flow in enumerate(table.flows(None)) if place % 3 == 0]
    assert table.label(some, present=True) == (len(some), ())

    wanted = [walked(item) for item in contents_of(table)]
    found = list(table.flows(None))
    assert len(found) == 2 * 4 * 40
    assert sorted(found) == sorted(flow for flow in wanted if flow is not None)
    assert sum(flow.labelled for flow in found) == len(some)
    assert sum(flow.is_over for flow in found) == 2 * 20
    assert sum(flow.original.destination != flow.destination for flow in found) == 2 * 4 * 14
    for text in (*FOUR, *SIX):
        end = {parse_address(text)}
        for side in (Sides(opened=end), Sides(answering=end), Sides.both(end)):
            wanted_of_it = sorted(filter(side.has, found))
            assert sorted(table.flows(side)) == sorted(table.flows(side, quick=True)) == wanted_of_it


@needs_kernel
def test_settled_flows_are_left_out_and_asked_of_once(table: KernelConntrack) -> None:
    for number, port in product(range(20), (80, 81)):
        make(table, sides(TCP, *FOUR[:2], number=number, port=port), socket.AF_INET)
    asked: list[Flow] = []

    def settled(flow: Flow) -> bool:
        asked.append(flow)
        return flow.reply.source_port == 80

    assert [flow.reply.source_port for flow in table.flows(None, settled)] == [81] * 20
    assert sorted(flow.reply.source_port for flow in asked) == [80, 81]
