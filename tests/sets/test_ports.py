# SPDX-License-Identifier: Apache-2.0
"""Sets of ports: algebra against plain sets, canonical texts, and nothing outside of 1 to 65535."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podfence.sets import PortSet
from podfence.sets.ports import OTHER_POINT, PROTOCOLS, point

EDGES = (0, 1, 2, 80, 81, 82, 65534, 65535, 65536)
Item = tuple[str, int, int]
ITEMS = st.lists(st.tuples(st.sampled_from((*PROTOCOLS, "other")), *[st.sampled_from(EDGES)] * 2), max_size=4)
ASKED = [(protocol, number) for protocol in PROTOCOLS for number in range(1, 65536) if number < 90 or number > 65530]


def build(items: list[Item]) -> PortSet:
    result = PortSet.EMPTY
    for protocol, first, last in items:
        result |= PortSet.OTHER if protocol == "other" else PortSet.of(protocol, first, last)
    return result


def plain(items: list[Item]) -> set[int]:
    found = {
        point(protocol, number)
        for protocol, number in ASKED
        if any(item[0] == protocol and item[1] <= number <= item[2] for item in items)
    }
    return found | {OTHER_POINT for item in items if item[0] == "other"}


def asked_of(ports: PortSet) -> set[int]:
    points = [*itertools.starmap(point, ASKED), OTHER_POINT]
    return {number for number in points if number in ports}


@given(one=ITEMS, other=ITEMS)
def test_algebra_is_that_of_sets_of_ports(one: list[Item], other: list[Item]) -> None:
    left, right = build(one), build(other)

    assert asked_of(left) == plain(one)
    assert asked_of(left | right) == plain(one) | plain(other)
    assert asked_of(left & right) == plain(one) & plain(other)
    assert asked_of(left - right) == plain(one) - plain(other)
    assert (left <= right) == (plain(one) <= plain(other))
    assert bool(left) == bool(plain(one))


@given(one=ITEMS, other=ITEMS)
def test_equal_sets_are_equal_and_hash_alike_however_built(one: list[Item], other: list[Item]) -> None:
    left, right = build(one), build(other)

    assert (left == right) == (plain(one) == plain(other))
    assert build(list(reversed(one))) == left
    assert hash((left - right) | (left & right)) == hash(left)
    assert (left - right) | (left & right) == left


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_ports_never_leave_their_protocol(protocol: str) -> None:
    beyond = PortSet.of(protocol, -5, 70000)

    assert beyond == PortSet.whole(protocol)
    assert PortSet.of(protocol, 0, 0) == PortSet.of(protocol, 65536, 70000) == PortSet.EMPTY
    assert not any(beyond & PortSet.whole(other) for other in PROTOCOLS if other != protocol)


def test_all_is_every_port_of_every_protocol_and_the_others() -> None:
    whole = PortSet.OTHER
    for protocol in PROTOCOLS:
        whole |= PortSet.whole(protocol)

    assert whole == PortSet.ALL
    assert len(whole.spans) == 4
    assert whole != PortSet.ALL - PortSet.OTHER
    assert whole != "all ports"


@pytest.mark.parametrize(
    ("items", "text", "ranges"),
    [
        ([], "no port", ()),
        ([("TCP", 80, 80)], "TCP 80", (("TCP", 80, 80),)),
        ([("TCP", 80, 81), ("TCP", 443, 443)], "TCP 80-81,443", (("TCP", 80, 81), ("TCP", 443, 443))),
        ([("UDP", 53, 53), ("TCP", 80, 80)], "TCP 80; UDP 53", (("TCP", 80, 80), ("UDP", 53, 53))),
        ([("SCTP", 1, 65535)], "all SCTP", (("SCTP", 1, 65535),)),
        ([("other", 0, 0)], "other protocols", (("other", None, None),)),
        ([("TCP", 65535, 65535), ("UDP", 1, 1)], "TCP 65535; UDP 1", (("TCP", 65535, 65535), ("UDP", 1, 1))),
        ([(name, 1, 65535) for name in (*PROTOCOLS, "other")], "all ports", (
            ("TCP", 1, 65535), ("UDP", 1, 65535), ("SCTP", 1, 65535), ("other", None, None))),
    ],
)  # fmt: skip
def test_texts_and_ranges(items: list[Item], text: str, ranges: tuple[object, ...]) -> None:
    assert str(build(items)) == text
    assert build(items).ranges() == ranges
    assert repr(build(items)) == f"PortSet({text})"


def test_unknown_protocols_are_no_protocols() -> None:
    with pytest.raises(ValueError, match="not in tuple"):
        PortSet.of("ICMP", 1, 2)
