# SPDX-License-Identifier: Apache-2.0
"""How one direction of a connection is decided on every port, and by what: the evidence comes with the decision."""

from __future__ import annotations

from functools import reduce
from operator import and_
from typing import TYPE_CHECKING, NamedTuple

from msgspec import Struct

from podfence.policy.grants import CompiledPolicy, Grant, place_of
from podfence.policy.tiers import PASSED, Action, Step, TierRuling
from podfence.policy.verdict import Direction, Tier
from podfence.sets import AddressSet, PortSet
from podfence.sets.ports import PROTOCOLS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from podfence.sets.addresses import Family


class Admission(NamedTuple):
    """A grant whose peer is the other end, surely or as far as is known, and the ports that it is about.

    `item` is the item of the rule's peers that it stands for, numbered from 0. The peer is `matched` if it surely is
    the other end. The ports are `is_unread` if the rule names them on a pod whose ports nobody has read.
    """

    policy: CompiledPolicy
    grant: Grant
    item: int
    ports: PortSet
    matched: bool
    is_unread: bool = False

    @property
    def surely(self) -> bool:
        """Whether it surely admits its ports."""
        return self.matched and not self.is_unread


class Standing(NamedTuple):
    """What one tier has to say of one direction of a connection.

    `sure` are its policies that select the pod, `maybe` those of which it is not known whether they do, and
    `admissions` the grants of both that match the other end: those of NetworkPolicies in order of policy name and rule,
    and others in the order in which they are asked.
    """

    tier: Tier
    sure: tuple[CompiledPolicy, ...] = ()
    maybe: tuple[CompiledPolicy, ...] = ()
    admissions: tuple[Admission, ...] = ()

    @property
    def policies(self) -> tuple[CompiledPolicy, ...]:
        """The policies that select the pod or may do so, in the order of `admissions`."""
        if not self.maybe:
            return self.sure
        found = (*self.sure, *self.maybe)
        return found if self.tier is Tier.NETWORK_POLICY else tuple(sorted(found, key=place_of))

    @property
    def steps(self) -> list[Step]:
        """The grants as the steps of a tier of which the first match decides."""
        return [
            Step(item.grant.action, item.ports, item.surely and item.policy not in self.maybe)
            for item in self.admissions
        ]


_NO_POLICIES = Standing(Tier.NETWORK_POLICY)


class Ruling(Struct, frozen=True):
    """What one direction of a connection allows: the ports in `low` surely, those in `high` perhaps.

    `exemption` is the rule of the semantics that surely exempts it from policies, if one does. `tiers` are those that
    have policies, in the order in which they are asked.
    """

    low: PortSet
    high: PortSet
    exemption: str | None = None
    tiers: tuple[Standing, ...] = ()

    @property
    def isolation(self) -> Standing:
        """What NetworkPolicies have to say."""
        for item in self.tiers:
            if item.tier is Tier.NETWORK_POLICY:
                return item
        return _NO_POLICIES

    @property
    def policies(self) -> tuple[CompiledPolicy, ...]:
        """The NetworkPolicies that isolate the pod or may do so."""
        return self.isolation.policies

    def decisive(self, point: int) -> tuple[Tier, Admission] | None:
        """Return the rule of a cluster-wide policy that decides a port firmly, None if NetworkPolicies or none do.

        Rules that may match are left out: what is decided firmly is decided so without them too.
        """
        for tier in self.tiers:
            if tier.tier is Tier.NETWORK_POLICY:
                if tier.sure:
                    return None
                continue
            sure = (item for item in tier.admissions if item.surely and item.policy in tier.sure)
            first = next((item for item in sure if point in item.ports), None)
            if first is not None and first.grant.action is not Action.PASS:
                return tier.tier, first
        return None

    def matched(self, policy: CompiledPolicy, rule: int) -> dict[int, bool]:
        """Return the items of a rule's peers that are the other end: surely, or as far as is known."""
        admissions = self.isolation.admissions
        return {item.item: item.matched for item in admissions if item.policy is policy and item.grant.rule == rule}

    def admitting(self, point: int, *, surely: bool) -> Admission | None:
        """Return the first that admits a port (a point as in `podfence.sets.ports`), which a node's kernel counts.

        One that may admit it will do unless it is to be `surely`.
        """
        # Where none surely isolates the pod, each that may is alone.
        tier = self.isolation
        alone = tier.maybe[:1] if not tier.sure else ()
        found = (
            item
            for item in tier.admissions
            if point in item.ports and (item.surely or not surely) and (not alone or item.policy is alone[0])
        )
        return next(found, None)


UNJUDGED = Ruling(PortSet.ALL, PortSet.ALL)
"""The ruling of a direction whose subject is no pod (semantics 1.3)."""


def isolation(tier: Standing, icmp: tuple[str, ...]) -> tuple[TierRuling, TierRuling]:
    """Return what NetworkPolicies rule, if what is open is taken as denying, and as allowing.

    They rule nothing if none isolates the pod, and all of it otherwise (semantics 2.1, 11.4). `icmp` is how an isolated
    pod has ICMP in both cases: ``denied``, ``allowed``, or as rules say (7.12).
    """
    if not (tier.sure or tier.maybe):
        return PASSED, PASSED
    denying, allowing = icmp
    if denying == allowing and not tier.maybe and all(item.surely for item in tier.admissions):
        # Nothing is open, which is so nearly everywhere.
        ruling = TierRuling(_united({item.ports for item in tier.admissions}, denying), PortSet.ALL)
        return ruling, ruling
    by_policy: dict[CompiledPolicy, set[PortSet]] = {policy: set() for policy in tier.policies}
    for item in tier.admissions:
        if item.surely:
            by_policy[item.policy].add(item.ports)
    anything = _united({item.ports for item in tier.admissions}, allowing)
    if not tier.sure:
        # Each may be the only one that selects the pod, and it may be that none does.
        always = reduce(and_, (_united(ports, denying) for ports in by_policy.values()))
        return TierRuling(PortSet.EMPTY, PortSet.ALL - always), TierRuling(anything, PortSet.EMPTY)
    surely = _united({ports for policy in tier.sure for ports in by_policy[policy]}, denying)
    return TierRuling(surely, PortSet.ALL), TierRuling(anything, PortSet.ALL)


def _united(admitted: Iterable[PortSet], icmp: str) -> PortSet:
    """Return the ports that rules admit together (semantics 1.6)."""
    allowed = PortSet.union(admitted)
    if icmp == "denied":
        allowed -= PortSet.OTHER
    elif icmp == "allowed":
        allowed |= PortSet.OTHER
    return allowed


def behind(tier: Standing, direction: Direction, family: Family) -> PortSet:
    """Return the ports on which an isolated pod may reach what is not known, at whatever port that turns out to be.

    There may be nothing, or a pod that admits nobody. Nothing is reached by a pod whose rules admit no port at all, or
    only addresses of the other family.
    """
    whole = AddressSet.of_family(family)
    written = (grant for policy in tier.policies for grant in policy.grants[direction])
    grants = [grant for grant in written if not isinstance(grant.peer, AddressSet) or grant.peer & whole]
    protocols = {protocol for grant in grants for protocol, *_ in grant.ports.ranges()}
    protocols.update(protocol for grant in grants for _, protocol in grant.names)
    known = [PortSet.whole(protocol) for protocol in PROTOCOLS if protocol in protocols]
    return PortSet.union([*known, *(grant.ports for grant in grants)])
