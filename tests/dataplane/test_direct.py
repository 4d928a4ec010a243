# SPDX-License-Identifier: Apache-2.0
"""What is sent to the kernel without nft is what nft would have sent: nft reads the same back from both."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from itertools import groupby
from random import Random
from typing import TYPE_CHECKING

import pytest

from podfence.api import Cluster
from podfence.dataplane.chains import Builder
from podfence.dataplane.compiler import Compiler
from podfence.dataplane.difference import cold_start, difference
from podfence.dataplane.ruleset import TABLE
from podfence.dataplane.settings import Settings
from podfence.nft.chain import Chain
from podfence.nft.element import Element, goto
from podfence.nft.errors import NotFoundError
from podfence.nft.process import NftRunner
from podfence.nft.rule import Rule
from podfence.nft.sets import INTERVAL, Elements, Map, Set
from podfence.nft.transaction import Transaction
from tests.dataplane import dense
from tests.dataplane.watched import Watched
from tests.spaces import Space

if TYPE_CHECKING:
    from collections.abc import Iterator

    from podfence.nft.sets import Flag

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not shutil.which("nft"),
    reason="the kernel is spoken to in network namespaces of the test's own, as root and with nft",
)

NUMBERED = re.compile(r"__(set|map)\d+")
SETTINGS = (Settings(log_group=7), Settings(reject=True))


@pytest.fixture
def spaces() -> Iterator[tuple[Space, Space]]:
    one, other = Space(), Space()
    yield one, other
    one.close()
    other.close()


@pytest.fixture
def direct() -> Iterator[Watched]:
    runner = Watched()
    yield runner
    runner.close()


def listed(space: Space) -> str:
    """Return the table in nft's words, and the rules in the kernel's."""
    with space.entered():
        command = ("nft", "--debug=netlink", "--stateless", "list", "table", "inet", "podfence")
        found = subprocess.run(command, capture_output=True, check=True, text=True).stdout
    # The kernel keeps what has no order in an order of chance.
    runs = groupby(NUMBERED.sub(r"__\1", found).splitlines(), lambda line: line.startswith("\telement"))
    return "\n".join(line for unordered, lines in runs for line in (sorted(lines) if unordered else lines))


def put(space: Space, runner: NftRunner, *transactions: Transaction) -> None:
    with space.entered():
        for transaction in transactions:
            runner.run(transaction)


@pytest.mark.parametrize("seed", range(12))
def test_the_kernel_gets_what_nft_would_have_given_it(seed: int, spaces: tuple[Space, Space], direct: Watched) -> None:
    random = Random(seed)
    objects = dense.cluster(random)
    cluster = Cluster.from_objects(objects, dense.options(random))
    compiler = Compiler(cluster.model, "n1", shared_from=random.choice((256, 2)))
    builder = Builder(SETTINGS[seed % 2])
    now = builder.build(compiler.program)
    nft = NftRunner()
    start = list(cold_start(now))
    put(spaces[0], direct, *start)
    put(spaces[1], nft, *start)
    assert len(direct.left) == 1, "the table and its hooks are left to nft, and nothing else"
    assert listed(spaces[0]) == listed(spaces[1])

    for event in dense.events(random, objects, 6):
        before, now = now, builder.build(compiler.program, compiler.follow(cluster.apply(event)))
        change = difference(before, now)
        put(spaces[0], direct, change)
        put(spaces[1], nft, change)
        assert listed(spaces[0]) == listed(spaces[1])
    assert len(direct.left) == 1


@pytest.mark.parametrize(
    ("kind", "flags", "items"),
    [
        (
            ("ipv4_addr",),
            INTERVAL,
            [("0.0.0.0", "9.255.255.255"), ("10.0.0.1", "10.0.0.1"), ("255.0.0.0", "255.255.255.255")],
        ),
        (("ipv6_addr",), INTERVAL, [("::", "fcff::"), ("fd00::1", "fd00::ff"), ("fd00::100", "fd00::1ff")]),
        (("ipv6_addr",), INTERVAL, [("ff00::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")]),
        (("ipv6_addr",), frozenset[str](), [(f"fd00::{n:x}", f"fd00::{n:x}") for n in range(1, 950)]),
    ],
)
def test_ranges_at_the_ends_of_the_address_space_and_long_lists_are_read_back_as_written(
    kind: tuple[str, ...],
    flags: frozenset[Flag],
    items: list[tuple[str, str]],
    spaces: tuple[Space, Space],
    direct: Watched,
) -> None:
    container = Map("m", kind, flags=flags)
    elements = Elements(container, tuple(Element((a,), (b,), goto("c")) for a, b in items))
    put(spaces[0], direct, Transaction(TABLE).add(TABLE))
    change = Transaction(TABLE).add(Chain("c"), container, elements)
    put(spaces[0], direct, change)
    put(spaces[1], NftRunner(), Transaction(TABLE).add(TABLE), change)
    assert len(direct.left) == 1
    assert listed(spaces[0]) == listed(spaces[1])
    with spaces[0].entered():
        assert set(direct.list_elements(TABLE, container)) == set(elements.items)


def test_what_the_kernel_refuses_changes_nothing_and_is_told_in_the_words_of_nft(
    spaces: tuple[Space, Space], direct: Watched
) -> None:
    here = Set("here", ("ipv4_addr",))
    put(spaces[0], direct, Transaction(TABLE).add(TABLE, here))
    before = listed(spaces[0])
    absent = Elements(Set("absent", ("ipv4_addr",)), (Element(("10.0.0.1",)),))
    change = Transaction(TABLE).add(Elements(here, (Element(("10.0.0.2",)),))).add(absent)
    with pytest.raises(NotFoundError, match="No such file or directory"):
        put(spaces[0], direct, change)
    assert listed(spaces[0]) == before

    put(spaces[0], direct, Transaction(TABLE).add(Elements(here, (Element(("10.0.0.3",)),))))
    assert "10.0.0.3" in listed(spaces[0])
    assert len(direct.left) == 2


@pytest.mark.parametrize("text", ["tcp dport 80 accept", "ct state new counter accept", "ip saddr 10.0.0.1 drop"])
def test_a_rule_of_other_words_is_left_to_nft(text: str, spaces: tuple[Space, Space], direct: Watched) -> None:
    put(spaces[0], direct, Transaction(TABLE).add(TABLE), Transaction(TABLE).add(Chain("c"), Rule("c", text)))
    assert len(direct.left) == 2
    assert text in listed(spaces[0])
