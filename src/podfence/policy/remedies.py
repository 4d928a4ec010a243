# SPDX-License-Identifier: Apache-2.0
"""What would admit a denied connection: changes that were tried in memory, the narrowest first."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, Literal, cast

from msgspec.structs import replace

from podfence.cluster.controllers import ADDED, UNKNOWN
from podfence.cluster.members import display_name
from podfence.cluster.state import NAME_LABEL
from podfence.kube.objects import NetworkPolicy
from podfence.policy.changes import (
    AddPeer,
    AddPort,
    AddRule,
    LabelTemplate,
    NewPolicy,
    PeerItem,
    PortItem,
    Remedy,
    RuleItem,
    SetPolicyTypes,
    applied,
    free_name,
    labels_text,
)
from podfence.policy.ends import AddressEnd, End, NodeEnd, PodEnd
from podfence.policy.grants import rules_of
from podfence.policy.legacy import is_old
from podfence.policy.opening import (
    Asked,
    TooLargeError,
    is_for_workload_only,
    isolates_others,
    opened_by_labels,
    opened_by_policy,
    with_policy,
)
from podfence.policy.references import is_by_default, policy_ref
from podfence.policy.verdict import Direction
from podfence.policy.wording import shortened
from podfence.sets import PortSet
from podfence.sets.addresses import AddressSet, format_address
from podfence.sets.ports import PROTOCOLS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from podfence.cluster.members import Member
    from podfence.kube.objects import Labels, Protocol
    from podfence.policy.changes import Change, Opened
    from podfence.policy.engine import Engine
    from podfence.policy.grants import CompiledPolicy

_PASSING: Final = frozenset({
    "app.kubernetes.io/managed-by", "app.kubernetes.io/version", "chart", "date", "generation", "helm.sh/chart",
    "heritage", "revision", "version",
})  # fmt: skip
"""Keys of labels that change with a release, or that everything has which some tool has made."""

_PASSING_ENDS: Final = ("-hash", "/hash", "-revision", "/revision", "-uid", "/version", "checksum")
_HASH: Final = re.compile(r"(?=.*\d)(?=.*[a-f])[0-9a-f]{8,}|(?=.*\d)[bcdfghjklmnpqrstvwxz2456789]{9,10}")

_FEW: Final = 3
_MOST_PORTS: Final = 8


def remedies(
    engine: Engine,
    direction: Direction,
    subject: PodEnd,
    peer: End,
    ports: PortSet,
    policies: tuple[CompiledPolicy, ...],
) -> tuple[Remedy, ...]:
    """Return changes each of which admits the ports of a denied connection in its direction.

    Each was applied in memory and judged. First comes one that opens nothing else, if there is one, after the change
    of `policyTypes` where that they were left out is the cause (semantics 2.3).
    """
    asked = Asked(direction, subject, peer, ports)
    proposer = _Proposer(engine, asked, policies)
    causes = list(proposer.judged(proposer.types()))
    found = list(proposer.judged(proposer.narrow()))
    clean = [remedy for remedy in found if not remedy.also]
    chosen = clean[:1] or sorted(found, key=lambda remedy: len(remedy.also))[:1]
    # The address of a node may change, and that of many others is too long a list.
    is_vague = not chosen or (isinstance(peer, NodeEnd) and direction is Direction.INGRESS)
    wide = list(proposer.judged(proposer.without_peers()))[:1] if is_vague else []
    return (*causes, *chosen, *(item for item in wide if item not in chosen))


class _Proposer:
    """Finds changes, and judges them."""

    def __init__(self, engine: Engine, asked: Asked, policies: tuple[CompiledPolicy, ...]) -> None:
        self._engine = engine
        self._asked = asked
        self._way: Literal["ingress", "egress"] = "ingress" if asked.direction is Direction.INGRESS else "egress"
        self._space = asked.subject.member.namespace
        self._policies = [policy for policy in policies if _is_current(policy)]
        self._ports = _ports(asked.ports)
        self._peers = tuple(self._peer_items())

    # Changes

    def types(self) -> Iterator[Change]:
        """Yield `policyTypes` for policies that isolate only because theirs were left out (semantics 2.3)."""
        for policy in self._policies:
            if is_by_default(policy, self._asked.direction):
                yield SetPolicyTypes(namespace=self._space, policy=policy.key.name, policy_types=("Egress",))

    def narrow(self) -> Iterator[Change]:
        """Yield changes from the smallest on; a policy that is for more pods than the workload's is left as it is."""
        own = [policy for policy in self._policies if is_for_workload_only(self._engine, policy, self._asked)]
        yield from self._labels()
        if not self._ports and self._asked.ports != PortSet.ALL and not self._is_portless:
            return
        for policy in own:
            for index, rule in enumerate(rules_of(policy.source, self._asked.direction)):
                if rule.peers:
                    yield from (
                        AddPeer(
                            namespace=self._space, policy=policy.key.name, direction=self._way, rule=index, peer=item
                        )
                        for item in self._peers
                    )
                if rule.ports and self._ports:
                    yield AddPort(
                        namespace=self._space,
                        policy=policy.key.name,
                        direction=self._way,
                        rule=index,
                        ports=self._ports,
                    )
        for item in self._peers:
            added = RuleItem(peers=(item,), ports=self._ports)
            for policy in own:
                yield AddRule(namespace=self._space, policy=policy.key.name, direction=self._way, rule=added)
            yield from self._new(added)

    def without_peers(self) -> Iterator[Change]:
        """Yield a rule for whoever it may be."""
        if self._ports or self._is_portless:
            yield from self._new(RuleItem(ports=self._ports))

    def _new(self, rule: RuleItem) -> Iterator[Change]:
        labels = stable_labels(self._asked.subject.member)
        if not labels:
            return
        known = self._engine.state.policies.get(self._space, {})
        name = free_name(f"{_short_name(self._asked.subject)}-{self._way}", known)
        yield NewPolicy(namespace=self._space, policy=name, pod_labels=labels, direction=self._way, rule=rule)

    def _labels(self) -> Iterator[Change]:
        """Yield labels for the template of a peer that has none, where a rule asks for some."""
        peer = self._asked.peer
        if not isinstance(peer, PodEnd) or stable_labels(peer.member):
            return
        for policy in self._policies:
            for rule in rules_of(policy.source, self._asked.direction):
                for item in rule.peers:
                    terms = item.pod_selector.requirements if item.pod_selector is not None else ()
                    wanted = {term.key: term.values[0] for term in terms if term.operator == "In"}
                    if wanted and wanted.keys().isdisjoint(peer.member.labels):
                        name = display_name(peer.member.owner)
                        yield LabelTemplate(object=name, labels=wanted)

    def _peer_items(self) -> Iterator[PeerItem]:
        peer = self._asked.peer
        if isinstance(peer, PodEnd):
            space = peer.member.namespace
            where = None if space == self._space else {NAME_LABEL: space}
            yield PeerItem(namespace_labels=where, pod_labels=stable_labels(peer.member))
        elif isinstance(peer, AddressEnd) and _is_range(peer):
            if _is_block(peer.name):
                yield PeerItem(cidr=peer.name)
        elif peer.address is not None:
            bits = 32 if peer.address in AddressSet.V4 else 128
            yield PeerItem(cidr=f"{format_address(peer.address)}/{bits}")

    @property
    def _is_portless(self) -> bool:
        return self._asked.ports <= PortSet.OTHER or self._asked.ports == PortSet.ALL

    # Judging

    def judged(self, changes: Iterator[Change]) -> Iterator[Remedy]:
        """Yield the changes that admit what was asked, with what else they open."""
        seen: set[str] = set()
        for change in changes:
            also = self._also(change)
            if also is None:
                continue
            text = self._text(change) + _also_text(also)
            if text not in seen:
                seen.add(text)
                yield Remedy(change=change, text=text, also=also)

    def _also(self, change: Change) -> tuple[Opened, ...] | None:
        """Return what a change opens besides, None if it does not do what it is for or does harm."""
        try:
            if isinstance(change, LabelTemplate):
                return self._also_of_labels(change.labels)
            return self._also_of_policy(change)
        except TooLargeError:
            return None

    def _also_of_policy(self, change: Change) -> tuple[Opened, ...] | None:
        policy = applied(change, self._engine.state.policies.get(self._space, {}))
        if policy is None:
            return None
        after = with_policy(self._engine, policy)
        if not self._asked.is_admitted(after):
            return None
        if isinstance(change, NewPolicy) and isolates_others(self._engine, after, policy, self._asked):
            return None
        return opened_by_policy(self._engine, after, policy, self._asked)

    def _also_of_labels(self, labels: Labels) -> tuple[Opened, ...] | None:
        peer = self._asked.peer
        if not isinstance(peer, PodEnd):
            return None
        changed = replace(peer, member=replace(peer.member, labels={**peer.member.labels, **labels}))
        if not self._asked.is_admitted(self._engine, peer=changed):
            return None
        return opened_by_labels(self._engine, peer.member, labels, self._asked)

    # Words

    def _text(self, change: Change) -> str:
        word = "from" if self._way == "ingress" else "to"
        match change:
            case LabelTemplate(object=name, labels=labels):
                return f"label the template of {name} with {labels_text(labels)}"
            case SetPolicyTypes(policy_types=types):
                return (
                    f"write `policyTypes: [{', '.join(types)}]` into {self._place(change.policy)}, where it is left out"
                )
            case AddPeer(rule=index, peer=peer):
                return f"add to `{word}` of rule {index + 1} of {self._place(change.policy)}: {peer}"
            case AddPort(rule=index, ports=ports):
                written = ", ".join(map(str, ports))
                return f"add to the ports of rule {index + 1} of {self._place(change.policy)}: {written}"
            case AddRule(rule=rule):
                return f"add to {self._place(change.policy)} an {self._way} rule {_rule_text(rule, word)}"
            case NewPolicy(pod_labels=labels, rule=rule):
                which = f"a NetworkPolicy for {labels_text(labels)}"
                return f"add to namespace {self._space} {which} with an {self._way} rule {_rule_text(rule, word)}"

    def _place(self, name: str) -> str:
        return next(str(policy_ref(policy)) for policy in self._policies if policy.key.name == name)


def stable_labels(member: Member) -> Labels:
    """Return the labels of a pod that its workload's next pods will have, and no others are likely to."""
    return {
        key: value
        for key, value in sorted(member.labels.items())
        if value != UNKNOWN
        and key not in ADDED
        and key not in _PASSING
        and not key.endswith(_PASSING_ENDS)
        and not _HASH.fullmatch(value)
        and not (value == member.key.name and member.workload is not None and member.pod is not None)
    }


def _is_current(policy: CompiledPolicy) -> bool:
    return isinstance(policy.source, NetworkPolicy) and not is_old(policy.source)


def _ports(ports: PortSet) -> tuple[PortItem, ...]:
    """Return the items of `ports` that mean a set of ports; none for every port, and for what no rule can list."""
    found = []
    for protocol, first, last in ports.ranges() if ports != PortSet.ALL else ():
        if protocol not in PROTOCOLS or first is None or last is None:
            return ()
        known = cast("Protocol", protocol)
        if PortSet.whole(protocol) == PortSet.of(protocol, first, last):
            found.append(PortItem(protocol=known))
        else:
            found.append(PortItem(protocol=known, port=first, end_port=None if first == last else last))
    return tuple(found) if len(found) <= _MOST_PORTS else ()


def _is_range(end: AddressEnd) -> bool:
    return bool(end.name) and end.name != format_address(end.address)


def _is_block(text: str) -> bool:
    """Return whether a text is one block of addresses, in its shortest form."""
    try:
        return AddressSet.cidr(text).cidrs() == (text,)
    except ValueError:
        return False


def _short_name(end: PodEnd) -> str:
    name = "".join(sign if sign.isalnum() or sign in "-." else "-" for sign in end.member.owner.name.lower())
    return name.strip("-.")[:200] or "pods"


def _rule_text(rule: RuleItem, word: str) -> str:
    ports = f"for {', '.join(map(str, rule.ports))}" if rule.ports else "without ports"
    return f"{ports} {word} {', '.join(map(str, rule.peers))}" if rule.peers else f"{ports} and without `{word}`"


def _also_text(also: tuple[Opened, ...]) -> str:
    return f"; that also opens {shortened([*map(str, also)], most=_FEW, shown=_FEW)}" if also else ""
