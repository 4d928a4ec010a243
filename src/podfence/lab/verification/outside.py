# SPDX-License-Identifier: Apache-2.0
"""Addresses outside of the cluster to try: one of each kind that policies tell apart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from podfence.cluster.addresses import known_addresses
from podfence.kube.objects import NetworkPolicy
from podfence.sets.addresses import AddressSet, parse_address
from podfence.sets.spans import cut

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from podfence.policy.engine import Engine
    from podfence.sets.addresses import Family

# Of the blocks for documentation (RFC 5737, RFC 3849), so that nothing real is meant where anything will do.
_ORDINARY: Final = {4: parse_address("203.0.113.9"), 6: parse_address("2001:db8::9")}


def union(texts: Iterable[str]) -> AddressSet:
    """Return the addresses of all these blocks."""
    found = AddressSet.EMPTY
    for text in texts:
        found |= AddressSet.cidr(text)
    return found


UNROUTABLE: Final = AddressSet.LOOPBACK | union(
    ("0.0.0.0/8", "224.0.0.0/3", "::/96", "64:ff9b::/96", "fe80::/10", "ff00::/8")
)
"""Addresses no machine elsewhere can have: those of this host, of no one, and of many, and those of a link of IPv6.

Those of a link of IPv4 are routed like others, and metadata servers of clouds have one.
"""


class Outside(NamedTuple):
    """The addresses to try, and the blocks in use that have none that could be."""

    addresses: tuple[int, ...]
    without: tuple[str, ...]


def outside(engine: Engine, families: Collection[Family], reserved: AddressSet) -> Outside:
    """Return one address for each set of blocks and exceptions in use that some address is in (semantics 6.1).

    One that no policy mentions is among them. `reserved` are addresses that are not free for the world
    outside, besides those of pods, nodes and Services.
    """
    known = known_addresses(engine.state)
    taken = known | reserved | UNROUTABLE
    blocks = tuple(dict.fromkeys(_blocks(engine)))
    cuts = sorted({number for block in blocks for number in block.cuts()})
    addresses: list[int] = []
    without: list[str] = []
    for family in sorted(families):
        found: dict[frozenset[int], int] = {}
        missed: dict[frozenset[int], AddressSet] = {}
        # Inside of one cell no block begins or ends.
        for cell in (AddressSet((span,)) for span in cut(AddressSet.of_family(family).spans, cuts)):
            first = cell.spans[0][0]
            kind = frozenset(number for number, block in enumerate(blocks) if first in block)
            free = cell - taken
            if _ORDINARY[family] in free:
                found[kind] = _ORDINARY[family]
            elif free and kind not in found:
                found[kind] = _inside(free)
            elif not cell <= known:
                # The pods in a block are tried by themselves.
                missed.setdefault(kind, cell)
        addresses += sorted(found.values())
        without += [", ".join(map(str, cell.blocks())) for kind, cell in missed.items() if kind and kind not in found]
    return Outside(tuple(addresses), tuple(without))


def _blocks(engine: Engine) -> Iterator[AddressSet]:
    """Yield every block of every policy in force, and every exception as a block of its own."""
    for namespace in engine.state.namespaces:
        for policy in engine.policies(namespace):
            if isinstance(policy.source, NetworkPolicy):
                for rule in (*policy.source.ingress, *policy.source.egress):
                    for peer in rule.peers:
                        if peer.ip_block is not None:
                            yield from map(AddressSet.cidr, (peer.ip_block.cidr, *peer.ip_block.excepts))


def _inside(free: AddressSet) -> int:
    """Return an address of a set; not the first of a range that has others, which looks like the range itself."""
    first, last = free.spans[0]
    return first + 1 if last - first > 1 else first
