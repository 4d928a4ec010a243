# SPDX-License-Identifier: Apache-2.0
"""Every object, written for the real nft and read back from it, is the same object."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from podfence.nft import listing
from podfence.nft.chain import Chain, Hook
from podfence.nft.element import ACCEPT, DROP, RETURN, Element, Verdict, goto, jump
from podfence.nft.errors import InvalidError
from podfence.nft.rule import Rule
from podfence.nft.sets import DYNAMIC, INTERVAL, TIMEOUT, Elements, Map, Set
from podfence.nft.table import Table
from podfence.nft.transaction import Transaction

if TYPE_CHECKING:
    from podfence.nft.process import NftRunner

TABLE = Table("t")
LONG = "ü" * 63 + "!"


@pytest.mark.parametrize(
    "table",
    [
        Table("t"),
        Table("t", "ip"),
        Table("t", "ip6", "x"),
        Table("podfence", "inet", "podfence schema=1"),
        Table("t", comment=LONG),
    ],
)
def test_a_table_comes_back(table: Table, real: NftRunner) -> None:
    real.run(Transaction(table).add(table))

    assert real.list_table(table) == table


def test_the_kernel_passes_over_a_table_while_it_is_dormant(real: NftRunner) -> None:
    for dormant in (False, True, False):
        real.run(Transaction(TABLE).add(replace(TABLE, comment="x", dormant=dormant)))

        assert (b"flags dormant" in real._nft("list", "table", "inet", "t")) == dormant
        assert real.list_table(TABLE).comment == "x"


@pytest.mark.parametrize(
    "chain",
    [
        Chain("c"),
        Chain("c", comment="type filter hook output; # handle 7"),
        Chain("c", Hook("filter", "forward", -5)),
        Chain("c", Hook("filter", "input", 0, "drop"), "b {"),
        Chain("c", Hook("nat", "postrouting", 100)),
        Chain("c", Hook("route", "output", -150)),
        Chain("ok_a/2fb-c.d", comment=LONG),
    ],
)
def test_a_chain_comes_back(chain: Chain, real: NftRunner) -> None:
    real.run(Transaction(TABLE).add(TABLE, chain, Rule("c", "accept") if chain.name == "c" else Chain("d")))

    assert chain in real.list_chains(TABLE)


@pytest.mark.parametrize(
    "container",
    [
        Set("s", ("ipv4_addr",)),
        Set("s", ("ipv6_addr",), INTERVAL, comment="x y"),
        Set("s", ("ipv4_addr",), TIMEOUT),
        Set("s", ("ipv4_addr",), INTERVAL | TIMEOUT, 90),
        Set("s", ("inet_proto", "inet_service"), comment=LONG),
        Set("s", ("ipv4_addr", "inet_service"), INTERVAL),
        Set("s", ("mark",)),
        Set("s", ("ifname", "ether_addr", "ipv6_addr")),
        Set("s", ("ifname",), DYNAMIC),
        Map("s", ("ifname",)),
        Map("s", ("ipv4_addr",)),
        Map("s", ("ipv4_addr",), flags=INTERVAL, comment="x"),
        Map("s", ("inet_proto", "inet_service")),
        Map("s", ("ipv4_addr",), ("inet_service",), TIMEOUT, 60),
        Map("s", ("ipv4_addr", "inet_service"), ("ipv4_addr", "inet_service")),
    ],
)
def test_a_set_or_map_comes_back(container: Set | Map, real: NftRunner) -> None:
    real.run(Transaction(TABLE).add(TABLE, container))

    assert real.contents(TABLE).sets == (container,)


def test_a_single_flag_is_read_with_and_without_its_list() -> None:
    item = {"family": "inet", "name": "s", "table": "t", "type": "ipv4_addr", "handle": 1}

    assert listing.container({**item, "flags": "interval"}) == listing.container({**item, "flags": ["interval"]})
    assert listing.container({**item, "flags": "interval"}) == Set("s", ("ipv4_addr",), INTERVAL)


RULES = [
    "accept",
    "counter accept",
    "ct state established,related accept",
    "ct label 119 goto d",
    "ct state untracked ct label set 119",
    "ip saddr 10.0.0.1 jump d",
    "ip saddr vmap @m",
    "ip saddr != @s counter drop",
    "meta l4proto . th dport vmap @pt",
    "meta l4proto tcp reject with tcp reset",
    'limit rate 1/minute burst 9 packets log prefix "a;b # handle 9" group 5',
    "tcp dport { 22, 80 } return",
    "ip saddr vmap { 10.0.0.1 : drop, 10.0.0.2 : drop, 10.0.0.3 : drop, 10.0.0.4 : drop, 10.0.0.5 : drop, 10.0.0.6 : goto d }",
]


@pytest.mark.parametrize("comment", [None, "why # handle 3", LONG])
@pytest.mark.parametrize("text", RULES)
def test_a_rule_comes_back(text: str, comment: str | None, real: NftRunner) -> None:
    named = (Chain("d"), Map("m", ("ipv4_addr",)), Set("s", ("ipv4_addr",)), Map("pt", ("inet_proto", "inet_service")))
    rule = Rule("c", text, comment)
    real.run(Transaction(TABLE).add(TABLE, Chain("c", comment="first"), *named, Rule("c", "drop"), rule))

    _, read = real.contents(TABLE).rules["c"]

    assert read.handle is not None
    assert replace(read, handle=None) == rule


ELEMENTS: list[tuple[Set | Map, Element]] = [
    (Set("s", ("ipv4_addr",)), Element(("10.0.0.1",))),
    (Set("s", ("ipv4_addr",)), Element(("10.0.0.1",), comment="drop : goto x")),
    (Set("s", ("ipv4_addr",), TIMEOUT), Element(("10.0.0.1",), timeout=3600, comment=LONG)),
    (Set("s", ("ipv6_addr",)), Element(("fd00::1",))),
    (Set("s", ("inet_proto",)), Element(("6",))),
    (Set("s", ("inet_proto",)), Element(("253",))),
    (Set("s", ("inet_service",), INTERVAL), Element(("80",), ("90",))),
    (Set("s", ("inet_service",), INTERVAL), Element(("0",), ("65535",))),
    (Set("s", ("mark",)), Element(("4294967295",))),
    (Set("s", ("ether_addr",)), Element(("0a:58:00:00:00:01",))),
    (Set("s", ("ifname",)), Element(('"cali0123456789a"',))),
    (Set("s", ("ifname",)), Element(('"drop"',))),
    (Set("s", ("ifname",)), Element(('"a.b-c_d@e#{}!"',))),
    (Set("s", ("ifname", "ether_addr", "ipv4_addr")), Element(('"veth1"', "0a:58:00:00:00:01", "10.0.0.1"))),
    (Map("s", ("ifname",)), Element(('"eth0"',), value=goto("c"))),
    (Set("s", ("ipv4_addr",), INTERVAL), Element(("10.0.0.0",), ("10.255.255.255",))),
    (Set("s", ("ipv4_addr",), INTERVAL), Element(("10.0.0.1",), ("10.0.0.9",), comment="r")),
    (Set("s", ("ipv4_addr",), INTERVAL), Element(("255.255.255.255",))),
    (Set("s", ("ipv4_addr",), INTERVAL), Element.block("0.0.0.0/0")),
    (Set("s", ("ipv6_addr",), INTERVAL), Element.block("::/0")),
    (Set("s", ("ipv6_addr",), INTERVAL), Element(("fe80::1",), ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",))),
    (Set("s", ("ipv4_addr", "inet_service"), INTERVAL), Element(("10.0.0.0", "80"), ("10.0.0.255", "90"))),
    (Set("s", ("ipv4_addr", "inet_service"), INTERVAL), Element(("10.0.0.1", "80"), ("10.0.0.1", "90"))),
    (Map("s", ("ipv4_addr",)), Element(("10.0.0.1",), value=goto("c"))),
    (Map("s", ("ipv4_addr",)), Element(("10.0.0.1",), value=jump("ok_a/2fb-c.d"), comment="k")),
    (Map("s", ("ipv4_addr",)), Element(("10.0.0.1",), value=ACCEPT)),
    (Map("s", ("ipv4_addr",)), Element(("10.0.0.1",), value=RETURN)),
    (Map("s", ("ipv4_addr",)), Element(("10.0.0.1",), value=Verdict("continue"))),
    (Map("s", ("ipv4_addr",), flags=INTERVAL), Element.block("10.0.0.0/9", DROP, "r")),
    (Map("s", ("ipv6_addr",), flags=INTERVAL), Element.block("::/0", goto("c"))),
    (Map("s", ("ipv4_addr",), flags=TIMEOUT), Element(("10.0.0.1",), value=DROP, timeout=7200, comment="k")),
    (Map("s", ("inet_proto", "inet_service")), Element(("6", "80"), value=goto("c"))),
    (Map("s", ("ipv4_addr",), ("inet_service",)), Element(("10.0.0.1",), value=("80",))),
    (Map("s", ("ipv4_addr",), ("ipv4_addr", "inet_service")), Element(("10.0.0.1",), value=("10.0.0.2", "80"))),
]


@pytest.mark.parametrize(
    ("container", "element"), ELEMENTS, ids=lambda value: str(value) if isinstance(value, Element) else value.types[0]
)
def test_an_element_comes_back(container: Set | Map, element: Element, real: NftRunner) -> None:
    chains = (Chain("c"), Chain("ok_a/2fb-c.d"))
    real.run(Transaction(TABLE).add(TABLE, *chains, container, Elements(container, (element,))))

    assert real.list_elements(TABLE, container) == (element,)


@pytest.mark.parametrize(
    ("types", "given", "stored"),
    [
        (("inet_proto",), "tcp", "6"),
        (("inet_proto",), "ipv6-icmp", "58"),
        (("ipv6_addr",), "FD00:0::0:1", "fd00::1"),
        (("mark",), "0x10", "16"),
        (("inet_service",), "0080", "80"),
    ],
)
def test_a_key_is_stored_in_the_one_text_of_its_type(types: tuple[str, ...], given: str, stored: str) -> None:
    (element,) = Elements(Set("s", types), (Element((given,)),)).items

    assert element.key == (stored,)


def test_the_whole_table_comes_back_in_one_reading(real: NftRunner) -> None:
    table = Table("t", comment="podfence schema=1")
    chains = (Chain("forward", Hook("filter", "forward", -5), "base"), Chain("c", comment="one"), Chain("empty"))
    peers, known = Map("peers", ("ipv4_addr",), comment="p"), Set("known", ("ipv6_addr",), INTERVAL)
    rules = (Rule("forward", "ip saddr vmap @peers", "look"), Rule("forward", "counter drop"), Rule("c", "accept"))
    entries = (Element(("10.0.0.9",), value=DROP), Element(("10.0.0.10",), value=goto("c"), comment="x"))
    real.run(
        Transaction(table).add(
            table,
            *chains,
            peers,
            known,
            *rules,
            Elements(peers, entries),
            Elements(known, (Element.block("fd00::/8"),)),
        )
    )

    read = real.contents(table)

    assert (read.table, read.chains, read.sets) == (table, chains, (known, peers))
    assert {chain: [replace(rule, handle=None) for rule in found] for chain, found in read.rules.items()} == {
        "forward": list(rules[:2]),
        "c": [rules[2]],
        "empty": [],
    }
    assert read.elements == {"peers": entries, "known": (Element.block("fd00::/8"),)}


def test_counters_are_read_with_their_rules(real: NftRunner) -> None:
    real.run(
        Transaction(TABLE).add(
            TABLE, Chain("c"), Rule("c", "accept"), Rule("c", "counter packets 3 bytes 180 accept", "why")
        )
    )

    (counter,) = real.counters(TABLE)

    assert (counter.chain, counter.comment, counter.packets, counter.bytes) == ("c", "why", 3, 180)
    assert [rule.text for rule in real.contents(TABLE).rules["c"] if rule.handle == counter.handle] == [
        "counter accept"
    ]


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: Table("t", "arp"), "not a family"),  # type: ignore[arg-type]
        (lambda: Hook("nat", "forward", 0), "cannot be at hook"),
        (lambda: Hook("nat", "output", -200), "above -200"),
        (lambda: Hook("filter", "input", 1 << 31), "32 bits"),
        (lambda: Hook("filter", "input", 0, "reject"), "not a policy"),  # type: ignore[arg-type]
        (lambda: Rule("c", " "), "not empty"),
        (lambda: Rule("c", "accept\nadd table x"), "one line"),
        (lambda: Rule("c", "accept; add table x"), "quotation marks"),
        (lambda: Rule("c", 'log prefix "x'), "in pairs"),
        (lambda: Rule("c", "tcp dport { 1"), "braces"),
        (lambda: Rule("c", 'accept comment "x"'), "apart from its text"),
        (lambda: Verdict("goto"), "name a chain"),
        (lambda: Verdict("drop", "c"), "name a chain"),
        (lambda: Verdict("reject"), "not a verdict"),  # type: ignore[arg-type]
        (lambda: goto("fwd"), "nft's language"),
        (lambda: Set("s", ()), "no type"),
        *(
            (lambda name=name: Elements(Set("s", ("ifname",)), (Element((name,)),)), "not of type ifname")
            for name in ("", "veth*", "a" * 16, "a b", "a/b", "a:b", 'a"b', "a\\b", "\u00e4", '""')
        ),
        (lambda: Elements(Set("s", ("ether_addr",)), (Element(("0a:58:00:00:00",)),)), "not of type ether_addr"),
        (lambda: Set("s", ("iface_index",)), "unknown one: iface_index"),
        (lambda: Map("s", ("ipv4_addr",), ("x",)), "unknown one: x"),
        (lambda: Set("s", ("mark",), frozenset({"constant"})), "unknown flags"),  # type: ignore[arg-type]
        (lambda: Set("s", ("mark",), timeout=3), "has the flag"),
        (lambda: Element(("1",), timeout=0), "at least a second"),
        (lambda: Element.block("10.0.0.1/8"), "host bits"),
        (lambda: Elements(Set("s", ("ipv4_addr",)), (Element(("fd00::1",)),)), "not of type ipv4_addr"),
        (lambda: Elements(Set("s", ("ipv4_addr",)), (Element(("10.0.0.0/8",)),)), "not of type ipv4_addr"),
        (lambda: Elements(Set("s", ("inet_service",)), (Element(("65536",)),)), "not of type inet_service"),
        (lambda: Elements(Set("s", ("inet_service",)), (Element(("80 }",)),)), "not of type inet_service"),
        (lambda: Elements(Set("s", ("mark", "mark")), (Element(("1",)),)), "takes mark . mark"),
        (lambda: Elements(Set("s", ("mark",)), (Element(("1",), ("2",)),)), "holds no intervals"),
        (lambda: Elements(Set("s", ("mark",), INTERVAL), (Element(("2",), ("1",)),)), "ends before it begins"),
        (lambda: Elements(Set("s", ("mark",)), (Element(("1",), value=DROP),)), "have no values"),
        (lambda: Elements(Map("s", ("mark",)), (Element(("1",), value=("2",)),)), "holds values of verdict"),
        (lambda: Elements(Map("s", ("mark",), ("mark",)), (Element(("1",), value=DROP),)), "holds values of mark"),
        (lambda: Elements(Set("s", ("mark",)), (Element(("1",), timeout=5),)), "has no timeouts"),
    ],
)
def test_what_nft_could_not_take_is_refused_when_it_is_made(make: object, reason: str) -> None:
    assert callable(make)

    with pytest.raises(InvalidError, match=reason):
        make()
