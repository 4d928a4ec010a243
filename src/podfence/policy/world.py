# SPDX-License-Identifier: Apache-2.0
"""What there may be in a cluster besides the objects that were read (semantics 13).

Of a kind that is *closed* there is nothing but what was read, with the fields it has. Of a kind that is *open* more
may be there, and a field that the system fills may have any valid value.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from podfence.cluster.addresses import known_addresses
from podfence.cluster.nodes import node_addresses
from podfence.cluster.services import unread_pods
from podfence.policy.options import KINDS
from podfence.sets import AddressSet, spans
from podfence.sets.addresses import family_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from podfence.cluster.members import Member
    from podfence.cluster.state import ClusterState
    from podfence.kube.objects import NetworkPolicy
    from podfence.kube.omissions import Gap
    from podfence.policy.options import Options
    from podfence.sets.addresses import Family

BORN_WITH: Final = frozenset({"default", "kube-public", "kube-node-lease"})
"""Namespaces that every cluster has, with no label but their name."""

ASSUMED_FAMILIES: Final[dict[str, tuple[str, tuple[Family, ...]]]] = {
    "ipv4": ("an IPv4 address", (4,)),
    "ipv6": ("an IPv6 address", (6,)),
    "dual": ("an IPv4 and an IPv6 address", (4, 6)),
}
"""What the option `pod-families` means, in words and as families."""

UnsetKind = Literal["Pod", "Node", "AnyNode"]
"""The kinds of ends of which no address may be known; of the last it is not known which node it is."""

_SERVICE_RANGES: Final = ("10.96.0.0/12", "10.43.0.0/16", "172.30.0.0/16", "172.20.0.0/16", "10.152.183.0/24")
_POD_RANGES: Final = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "::/0")
_EVERYWHERE: Final = ("0.0.0.0/0", "::/0")
_NO_HOST: Final = ("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3", "::/127", "fe80::/10", "ff00::/8")
"""What no pod and no node has: addresses that are not unicast, or loopback or link-local ones."""


def _union(texts: Iterable[str]) -> AddressSet:
    return AddressSet(spans.normalize(pair for text in texts for pair in AddressSet.cidr(text).spans))


class World:
    """What may be added to a state; closed in all kinds unless they are named.

    `unread` are the places where a policy may lie that nobody has read (semantics 13.9).
    """

    def __init__(
        self, state: ClusterState, options: Options, opened: Iterable[str] = (), unread: tuple[Gap, ...] = ()
    ) -> None:
        """Take these kinds as open, except for those that the option `world` closes."""
        self._state = state
        self._options = options
        self._open = frozenset(opened) - frozenset(closed_kinds(options.world))
        self._unread = unread
        self._asked = AddressSet.EMPTY
        self._recorded: dict[int, Member] | None = None
        self._unset: dict[tuple[tuple[str, ...], Family, bool], AddressSet] = {}
        self._holding: dict[tuple[AddressSet, UnsetKind, Family], bool | None] = {}

    def as_read(self) -> World:
        """Return the same world without policies that nobody has read."""
        return self._with(self._state, ()) if self._unread else self

    def of(self, state: ClusterState) -> World:
        """Return the same world around another state."""
        return self._with(state, self._unread)

    def naming(self, asked: AddressSet) -> World:
        """Return the same world for a question that names addresses: what is not known has none of these (13.2)."""
        result = self._with(self._state, self._unread)
        result._asked = self._asked | asked  # noqa: SLF001  another of this class
        return result

    def _with(self, state: ClusterState, unread: tuple[Gap, ...]) -> World:
        result = World(state, self._options, self._open, unread)
        result._asked = self._asked
        return result

    def is_open(self, kind: str) -> bool:
        """Return whether there may be more of a kind than what was read."""
        return kind in self._open

    def __bool__(self) -> bool:
        """Return whether anything may be there besides what was read."""
        return bool(self._open or self._unread)

    def has_unknown_labels(self, namespace: str) -> bool:
        """Return whether a namespace may have labels that were not read (semantics 13.3)."""
        if "Namespace" not in self._open or namespace in BORN_WITH:
            return False
        return namespace not in self._state.namespaces or namespace in self._state.implied

    def unread(self, namespace: str) -> tuple[Gap, ...]:
        """Return where policies of a namespace may lie that nobody has read (semantics 13.9)."""
        return tuple(gap for gap in self._unread if gap.touches((namespace,))) if self._unread else ()

    def unset_addresses(self, kind: UnsetKind, family: Family) -> AddressSet:
        """Return the addresses that a pod or a node of which none is known may have (semantics 13.6).

        If it may be any of the nodes, it may have the addresses of those that are known.
        """
        if not self._is_unset(kind):
            return AddressSet.of_family(family)
        if kind == "Pod":
            return self._free(self._pod_ranges(family), family, single=False)
        found = self._free(_EVERYWHERE if self._options.pod_cidrs == "any" else _POD_RANGES, family, single=True)
        if kind == "Node":
            return found
        known = {number for several in node_addresses(self._state).values() for number in several}
        there = spans.normalize((number, number) for number in known if family_of(number) == family)
        return found | AddressSet(there)

    def _is_unset(self, kind: UnsetKind) -> bool:
        return self.is_open("Pod" if kind == "Pod" else "Node")

    def holds_unset(self, block: AddressSet, kind: UnsetKind, family: Family) -> bool | None:
        """Return whether a block holds the address of a pod or node of which none is known; None where that is open.

        A block that is all that the address may be surely does. For a part of it nothing is known, but in a closed
        world, where an end without an address has none, it does not (semantics 8.6, 13.6).
        """
        key = (block, kind, family)
        if key in self._holding:
            return self._holding[key]
        everything = self.unset_addresses(kind, family)
        inside = block & everything
        found: bool | None = bool(inside)
        if inside and inside != everything:
            found = None if self._is_unset(kind) else False
        if self:
            # A world that changes is taken anew, and a closed one stays while policies come and go.
            self._holding[key] = found
        return found

    def _free(self, ranges: tuple[str, ...], family: Family, *, single: bool) -> AddressSet:
        """Return the addresses of ranges that are nobody's; with the `single` ones that policies name one by one."""
        found = self._unset.get((ranges, family, single))
        if found is None:
            whole = AddressSet.of_family(family)
            taken = known_addresses(self._state) | self._asked | (AddressSet.EMPTY if single else _single(self._state))
            found = self._unset[ranges, family, single] = (_union(ranges) & whole) - _union(_NO_HOST) - taken
        return found

    def _pod_ranges(self, family: Family) -> tuple[str, ...]:
        asked = self._options.pod_cidrs
        if asked == "any":
            return _EVERYWHERE
        if asked != "auto":
            return tuple(asked.split(","))
        told = tuple(text for node in self._state.nodes.values() for text in node.pod_cidrs)
        # Nodes tell the ranges of both families, or of one: then nothing is known of the other.
        return told if _union(told) & AddressSet.of_family(family) else _POD_RANGES

    def unread_pod(self, address: int) -> Member | None:
        """Return the pod that only an endpoint tells of, and that has an address (semantics 13.7)."""
        if "Pod" not in self._open:
            return None
        if self._recorded is None:
            self._recorded = unread_pods(self._state)
        return self._recorded.get(address)

    def service_addresses(self) -> AddressSet:
        """Return the addresses that a Service may have which was not read (semantics 13.8)."""
        if "Service" not in self._open:
            return AddressSet.EMPTY
        asked = self._options.service_cidrs
        return _union(_SERVICE_RANGES if asked == "auto" else asked.split(","))

    def assumes(self) -> Iterator[str]:
        """Yield what a firm answer takes for granted of what was not read, one sentence each (semantics 13.2)."""
        yield "there are no NetworkPolicies except those that were read"
        if "Pod" in self._open:
            yield "no webhook and no controller adds labels to the objects that were read"
            yield "if no pod of a Service was read, its pods do not use hostNetwork"
            families, ranges = ASSUMED_FAMILIES[self._options.pod_families]
            several = [text for family in ranges for text in self._pod_ranges(family) if (":" in text) == (family == 6)]
            where = ", ".join(dict.fromkeys(several)) or "no known range"
            yield (
                f"a pod whose address is not known has {families} (option pod-families) in {where}, "
                "and no /32 or /128 block names it"
            )
        if "Service" in self._open:
            yield f"Services that were not read have addresses in {', '.join(self.service_addresses().cidrs())}"
        if self._open:
            yield "an address in a question belongs to nothing, unless an object that was read or a Service has it"
            yield "a port of a node is a NodePort or a hostPort only if an object that was read says so"


def closed_kinds(setting: str) -> tuple[str, ...]:
    """Return the kinds that a value of the option `world` closes."""
    if setting == "closed":
        return KINDS
    return tuple(setting.removeprefix("closed:").split(",")) if setting.startswith("closed:") else ()


def _single(state: ClusterState) -> AddressSet:
    """Return the addresses that blocks name one by one: those of nodes and other machines, and of no unknown pod."""
    return _union({text for table in state.policies.values() for policy in table.values() for text in singles(policy)})


def singles(policy: NetworkPolicy) -> Iterator[str]:
    """Yield the blocks of a policy that name one address, which no pod has whose address is not known (13.6)."""
    for block in (peer.ip_block for peer in policy.peers() if peer.ip_block is not None):
        yield from (text for text in (block.cidr, *block.excepts) if text.endswith(("/32", "/128")))
