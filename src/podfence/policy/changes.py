# SPDX-License-Identifier: Apache-2.0
"""Changes that would admit a connection, as data: what is added where, what else that opens, the policy after it."""

from __future__ import annotations

from itertools import chain, count
from typing import TYPE_CHECKING, Any, Literal

from msgspec.structs import replace

from podfence.documents import Value
from podfence.kube.objects import IPBlock, NetworkPolicy, Peer, PolicyPort, Protocol, Requirement, Rule, Selector

if TYPE_CHECKING:
    from collections.abc import Container, Mapping


Labels = dict[str, str]
Way = Literal["ingress", "egress"]


class PeerItem(Value, frozen=True, kw_only=True):
    """One item of `from` or `to`: selectors by labels, None being without one, or a block of addresses."""

    namespace_labels: Labels | None = None
    pod_labels: Labels | None = None
    cidr: str = ""

    def __str__(self) -> str:
        """Return ``podSelector app=web``, or ``ipBlock 203.0.113.9/32``."""
        if self.cidr:
            return f"ipBlock {self.cidr}"
        pods = f"podSelector {labels_text(self.pod_labels)}" if self.pod_labels is not None else ""
        if self.namespace_labels is None:
            return pods
        spaces = f"namespaceSelector {labels_text(self.namespace_labels)}"
        return f"{spaces} with {pods}" if pods else spaces


class PortItem(Value, frozen=True, kw_only=True):
    """One item of `ports`: a range, of one port at least, or a whole protocol."""

    protocol: Protocol
    port: int | None = None
    end_port: int | None = None

    def __str__(self) -> str:
        """Return ``TCP 80``, ``UDP 5000-6000`` or ``all TCP``."""
        if self.port is None:
            return f"all {self.protocol}"
        return f"{self.protocol} {self.port}" + (f"-{self.end_port}" if self.end_port is not None else "")


class RuleItem(Value, frozen=True, kw_only=True):
    """A rule: no peers mean every peer, no ports every port (semantics 3.2)."""

    peers: tuple[PeerItem, ...] = ()
    ports: tuple[PortItem, ...] = ()


class PolicyChange(Value, frozen=True, kw_only=True):
    """A change of a policy, or a new one."""

    namespace: str
    policy: str


class AddPeer(PolicyChange, frozen=True, kw_only=True, tag=True):
    """Add an item to `from` or `to` of a rule, numbered from 0."""

    direction: Way
    rule: int
    peer: PeerItem


class AddPort(PolicyChange, frozen=True, kw_only=True, tag=True):
    """Add items to `ports` of a rule, numbered from 0."""

    direction: Way
    rule: int
    ports: tuple[PortItem, ...]


class AddRule(PolicyChange, frozen=True, kw_only=True, tag=True):
    """Add a rule to a policy."""

    direction: Way
    rule: RuleItem


class NewPolicy(PolicyChange, frozen=True, kw_only=True, tag=True):
    """Add a policy with one rule, for the pods with the labels."""

    pod_labels: Labels
    direction: Way
    rule: RuleItem


class SetPolicyTypes(PolicyChange, frozen=True, kw_only=True, tag=True):
    """Write `policyTypes`, which decide in which directions a policy isolates (semantics 2.3)."""

    policy_types: tuple[Literal["Ingress", "Egress"], ...]


class LabelTemplate(Value, frozen=True, kw_only=True, tag=True):
    """Add labels to the template of a workload, named as an end."""

    object: str
    labels: Labels


Change = AddPeer | AddPort | AddRule | NewPolicy | SetPolicyTypes | LabelTemplate


class Opened(Value, frozen=True, kw_only=True):
    """What a change admits besides: connections of one direction, named as ends are; `ports` in words."""

    source: str
    destination: str
    ports: str

    def __str__(self) -> str:
        """Return ``shop/web -> shop/db TCP 80``."""
        return f"{self.source} -> {self.destination} {self.ports}"


class Remedy(Value, frozen=True, kw_only=True):
    """A change that was tried in memory: it admits what was asked, and besides only what `also` says.

    `text` says it in words. `also` is empty for a change that opens nothing else.
    """

    change: Change
    text: str
    also: tuple[Opened, ...] = ()


def applied(change: Change, policies: Mapping[str, NetworkPolicy]) -> NetworkPolicy | None:
    """Return the policy that a change makes of one of its namespace's `policies`, or the new one; None for labels."""
    if isinstance(change, LabelTemplate):
        return None
    if isinstance(change, NewPolicy):
        written: tuple[Rule, ...] = (_rule(change.rule),)
        is_ingress = change.direction == "ingress"
        return NetworkPolicy(
            namespace=change.namespace,
            name=change.policy,
            pod_selector=selector_of(change.pod_labels),
            ingress=written if is_ingress else (),
            egress=() if is_ingress else written,
            policy_types=("Ingress",) if is_ingress else ("Egress",),
        )
    policy = policies[change.policy]
    if isinstance(change, SetPolicyTypes):
        return replace(policy, policy_types=change.policy_types, left_out_types=False)
    rules = policy.ingress if change.direction == "ingress" else policy.egress
    match change:
        case AddRule(rule=rule):
            rules = (*rules, _rule(rule))
        case AddPeer(rule=index, peer=peer):
            new = replace(rules[index], peers=(*rules[index].peers, _peer(peer)))
            rules = (*rules[:index], new, *rules[index + 1 :])
        case AddPort(rule=index, ports=ports):
            new = replace(rules[index], ports=(*rules[index].ports, *map(_port, ports)))
            rules = (*rules[:index], new, *rules[index + 1 :])
    return replace(policy, **{change.direction: rules})


def free_name(base: str, known: Container[str]) -> str:
    """Return a name for a new policy that none of its namespace has: `base`, or ``base-2`` and so on."""
    return next(name for name in chain((base,), (f"{base}-{number}" for number in count(2))) if name not in known)


def manifest(policy: NetworkPolicy) -> dict[str, Any]:
    """Return a policy as it is written in a manifest."""
    spec: dict[str, Any] = {"podSelector": _written(policy.pod_selector), "policyTypes": list(policy.policy_types)}
    for name, end, rules in (("ingress", "from", policy.ingress), ("egress", "to", policy.egress)):
        if rules:
            spec[name] = [_written_rule(rule, end) for rule in rules]
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": policy.name, "namespace": policy.namespace},
        "spec": spec,
    }


def selector_of(labels: Labels) -> Selector:
    """Return the selector that asks for labels."""
    return Selector(tuple(Requirement(key, "In", (value,)) for key, value in sorted(labels.items())))


def labels_text(labels: Labels) -> str:
    """Return ``app=web,tier=front``, or ``{}`` for no labels."""
    return ",".join(f"{key}={value}" for key, value in sorted(labels.items())) or "{}"


def _rule(item: RuleItem) -> Rule:
    return Rule(tuple(map(_peer, item.peers)), tuple(map(_port, item.ports)))


def _peer(item: PeerItem) -> Peer:
    if item.cidr:
        return Peer(ip_block=IPBlock(item.cidr))
    return Peer(
        None if item.pod_labels is None else selector_of(item.pod_labels),
        None if item.namespace_labels is None else selector_of(item.namespace_labels),
    )


def _port(item: PortItem) -> PolicyPort:
    return PolicyPort(item.protocol, item.port, item.end_port)


def _written(selector: Selector) -> dict[str, Any]:
    """Return a selector as it is written: labels where they say it all."""
    if all(item.operator == "In" and len(item.values) == 1 for item in selector.requirements):
        labels = {item.key: item.values[0] for item in selector.requirements}
        if len(labels) == len(selector.requirements):
            return {"matchLabels": labels} if labels else {}
    return {
        "matchExpressions": [
            {"key": item.key, "operator": item.operator, **({"values": list(item.values)} if item.values else {})}
            for item in selector.requirements
        ]
    }


def _written_rule(rule: Rule, end: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if rule.peers:
        found[end] = [_written_peer(peer) for peer in rule.peers]
    if rule.ports:
        found["ports"] = [_written_port(port) for port in rule.ports]
    return found


def _written_peer(peer: Peer) -> dict[str, Any]:
    if peer.ip_block is not None:
        excepts = {"except": list(peer.ip_block.excepts)} if peer.ip_block.excepts else {}
        return {"ipBlock": {"cidr": peer.ip_block.cidr, **excepts}}
    found = {}
    if peer.namespace_selector is not None:
        found["namespaceSelector"] = _written(peer.namespace_selector)
    if peer.pod_selector is not None:
        found["podSelector"] = _written(peer.pod_selector)
    return found


def _written_port(port: PolicyPort) -> dict[str, Any]:
    found: dict[str, Any] = {"protocol": port.protocol}
    if port.port is not None:
        found["port"] = port.port
    if port.end_port is not None:
        found["endPort"] = port.end_port
    return found
