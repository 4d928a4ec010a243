# SPDX-License-Identifier: Apache-2.0
"""Tables that drop what pods send and get until an agent judges it: loaded when a node boots, before its kubelet.

They are no part of the table that an agent programs, so that neither has to know what is in the other. All of their
rules ask sets whose elements the kernel takes out by its own clock, so they let everything pass after a while,
whether an agent comes or not.
"""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network
from typing import TYPE_CHECKING, Final

import msgspec

from podfence.nft.errors import NftError, NotFoundError
from podfence.nft.table import Table
from podfence.nft.transaction import Transaction

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from podfence.nft.runner import Runner

Network = IPv4Network | IPv6Network

_COMMENT: Final = "podfence hold"
TABLE: Final = Table("podfence_hold", "inet", _COMMENT)
FRAMES: Final = Table("podfence_hold", "bridge", _COMMENT)

TIMEOUT: Final = 300.0
"""Seconds that pods are held at most, unless told otherwise."""

LINKS: Final = ("cni0", "veth*")
"""Names of interfaces that pods are behind, unless told otherwise; those that end with "*" are beginnings."""

_PRIORITY: Final = -10
"""Before the table of an agent, which is at -5: what is held does not come to it."""


class Held(msgspec.Struct, frozen=True):
    """What is held, and for how many seconds at most: ranges of addresses, and names of interfaces as in `LINKS`."""

    networks: tuple[Network, ...]
    links: tuple[str, ...] = LINKS
    timeout: float = TIMEOUT


def packets(held: Held) -> str:
    """Return what nft has to load, so that no packet is routed from or to pods, and none comes from them to the node.

    What passes is what the node itself begins, such as probes, and the answers to that. Loading it twice begins the
    time anew.
    """
    sources = [f"{word} saddr @held{family} goto held" for family, word in _families(held)]
    destinations = [f"{word} daddr @held{family} goto held" for family, word in _families(held)]
    links = [f"{_named('iifname', name)} goto held" for name in held.links]
    return _table(
        TABLE,
        held,
        _chain("forward", *links, *(line.replace("iifname", "oifname") for line in links), *sources, *destinations),
        _chain(
            "input",
            'iifname "lo" accept',
            "ct state established,related ct direction reply accept",
            "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } ip6 hoplimit 255 accept",
            *links,
            *sources,
        ),
    )


def frames(held: Held) -> str:
    """Return what nft has to load, so that no frame passes between pods that are ports of one bridge.

    Such frames need not come to the rules of `packets`. A kernel without rules for bridges refuses it.
    """
    ports = [
        f"{_named('iifname', one)} {_named('oifname', other)} goto held" for one in held.links for other in held.links
    ]
    addresses = [
        f"{word} {end} @held{family} goto held" for family, word in _families(held) for end in ("saddr", "daddr")
    ]
    if any(family == 4 for family, _ in _families(held)):
        addresses += [f"arp {end} ip @held4 goto held" for end in ("saddr", "daddr")]
    return _table(FRAMES, held, _chain("forward", *ports, *addresses))


def release(runner: Runner) -> bool:
    """Delete the tables, if they are there and ours; return whether that was so. Raises NftError."""
    # Where frames are held, their packets are too: nothing passes by the first of two deletions alone.
    return sum(_delete(runner, table) for table in (FRAMES, TABLE)) > 0


def _delete(runner: Runner, table: Table) -> bool:
    try:
        found = runner.list_table(table)
    except NotFoundError:
        return False
    except NftError:
        if table is FRAMES:
            # The kernel has no tables of frames.
            return False
        raise
    if found.comment != _COMMENT:
        return False
    runner.run(Transaction(table).delete(table))
    return True


def _families(held: Held) -> Sequence[tuple[int, str]]:
    present = {network.version for network in held.networks}
    return [(family, word) for family, word in ((4, "ip"), (6, "ip6")) if family in present]


def _named(word: str, name: str) -> str:
    """Return what matches an interface for as long as links are held; only those like Ethernet are."""
    return f'{word} "{name}" {word.replace("name", "type")} @held_links'


def _table(table: Table, held: Held, *chains: str) -> str:
    sets = [
        _set(f"held{family}", ("ipv4_addr", "ipv6_addr")[family == 6], "interval, timeout", held, elements)
        for family, _ in _families(held)
        if (elements := [str(network) for network in held.networks if network.version == family])
    ]
    sets.append(_set("held_links", "iface_type", "timeout", held, ["ether"]))
    lines = [
        f'add table {table.address} {{ comment "{_COMMENT}"; }}',
        f"delete table {table.address}",
        f"table {table.address} {{",
        f'\tcomment "{_COMMENT}"',
        *sets,
        "\tchain held {\n\t\tcounter drop\n\t}",
        *chains,
        "}",
    ]
    return "\n".join(lines) + "\n"


def _set(name: str, kind: str, flags: str, held: Held, elements: Iterable[str]) -> str:
    timeout = f"timeout {max(1, round(held.timeout * 1000))}ms"
    content = ", ".join(f"{element} {timeout}" for element in elements)
    return f"\tset {name} {{\n\t\ttype {kind}\n\t\tflags {flags}\n\t\telements = {{ {content} }}\n\t}}"


def _chain(name: str, *rules: str) -> str:
    hook = f"type filter hook {name} priority {_PRIORITY}; policy accept;"
    return "\n".join(("\tchain " + name + " {", *(f"\t\t{line}" for line in (hook, *rules)), "\t}"))
