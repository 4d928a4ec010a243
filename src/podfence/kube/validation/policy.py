# SPDX-License-Identifier: Apache-2.0
"""A NetworkPolicy: of networking.k8s.io/v1 (semantics 9.1 to 9.5, 9.10), and in its old meaning.

In its old meaning, one of extensions/v1beta1 is checked as servers before Kubernetes 1.7 did (semantics 10.4, 10.6).
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from podfence.kube import wire
from podfence.kube.findings import Code, Finding
from podfence.kube.validation.cidr import check_block
from podfence.kube.validation.ports import check_name, check_number, check_policy_port
from podfence.kube.validation.selectors import check_selector

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from podfence.kube.origin import Path
    from podfence.kube.validation.findings import Findings

_TYPES = ("Ingress", "Egress")
_OLD_PROTOCOLS = ("TCP", "UDP")
_LATER = "extensions/v1beta1 had no such field before Kubernetes 1.7"
_REMEDY = "--set legacy=v1 reads it with the meaning the API group had from 1.7 on"


def check_policy(policy: wire.NetworkPolicy, findings: Findings, *, lax: bool) -> None:
    """Check the spec of a policy; `lax` turns CIDR spellings that are refused today into warnings."""
    spec = policy.spec
    if spec is None:
        return
    if spec.pod_selector is not None:
        check_selector(spec.pod_selector, ("spec", "podSelector"), findings)
    check_peer = partial(_check_peer, lax=lax)
    if spec.ingress:
        _check_rules(spec.ingress, ("spec", "ingress", "from"), findings, check_policy_port, check_peer)
    if spec.egress:
        _check_rules(spec.egress, ("spec", "egress", "to"), findings, check_policy_port, check_peer)
    if spec.policy_types:
        _check_types(spec.policy_types, findings)


def _check_rules(
    rules: Sequence[wire.IngressRule | wire.EgressRule | None],
    fields: tuple[str, str, str],
    findings: Findings,
    check_port: Callable[[wire.Port, Path, Findings], None],
    check_peer: Callable[[wire.Peer, Path, Findings], None],
) -> None:
    """Check the rules of a direction; `fields` are the names that lead to them, and that of the peers of each."""
    *field, peers = fields
    for index, rule in enumerate(rules):
        if rule is None:
            continue
        for position, port in enumerate(rule.ports or ()):
            check_port(port or wire.Port(), (*field, index, "ports", position), findings)
        for position, peer in enumerate(rule.peers or ()):
            check_peer(peer or wire.Peer(), (*field, index, peers, position), findings)


def _check_peer(peer: wire.Peer, field: Path, findings: Findings, *, lax: bool) -> None:
    pods, namespaces, block = peer.pod_selector, peer.namespace_selector, peer.ip_block
    if pods is not None:
        check_selector(pods, (*field, "podSelector"), findings)
    if namespaces is not None:
        check_selector(namespaces, (*field, "namespaceSelector"), findings)
    if block is not None:
        _check_ip_block(block, (*field, "ipBlock"), findings, lax=lax)
        if pods is not None or namespaces is not None:
            findings.forbidden(
                field,
                "may not specify both ipBlock and another peer",
                remedy="start ipBlock with a dash of its own: items of the list are alternatives",
            )
    elif pods is None and namespaces is None:
        findings.required(
            field,
            "must specify a peer",
            remedy=f"leave {field[-2]} out to allow every peer; podSelector: {{}} allows the pods of the namespace",
        )


def _check_ip_block(block: wire.IPBlock, field: Path, findings: Findings, *, lax: bool) -> None:
    if not block.cidr:
        findings.required((*field, "cidr"))
        return
    outer = check_block(block.cidr, (*field, "cidr"), findings, lax=lax)
    if outer is None or not block.excepts:
        return
    for index, text in enumerate(block.excepts):
        place = (*field, "except", index)
        inner = check_block(text or "", place, findings, lax=lax)
        if inner is not None and not outer.holds_strictly(inner):
            findings.invalid(place, text or "", "must be a strict subset of `cidr`", needs=((*field, "cidr"),))


def _check_types(types: wire.Strings, findings: Findings) -> None:
    texts = [text or "" for text in types]
    if len(texts) > len(_TYPES):
        findings.invalid(("spec", "policyTypes"), texts, "may not specify more than two policyTypes")
        return
    for index, text in enumerate(texts):
        findings.check_word(("spec", "policyTypes"), index, text, _TYPES)


def check_legacy_policy(policy: wire.NetworkPolicy, findings: Findings) -> None:
    """Check a policy in its old meaning; fields that came later are errors."""
    spec = policy.spec
    if spec is None:
        return
    if spec.pod_selector is not None:
        check_selector(spec.pod_selector, ("spec", "podSelector"), findings)
    _check_rules(spec.ingress or (), ("spec", "ingress", "from"), findings, _check_old_port, _check_old_peer)
    if spec.egress is not None:
        _refuse(("spec", "egress"), findings)
    if spec.policy_types is not None:
        _refuse(("spec", "policyTypes"), findings)


def _refuse(field: Path, findings: Findings) -> None:
    findings.append(Finding(code=Code.FORBIDDEN, path=field, message=_LATER, at_key=True, remedy=_REMEDY))


def _check_old_port(port: wire.Port, field: Path, findings: Findings) -> None:
    findings.check_word(field, "protocol", port.protocol, _OLD_PROTOCOLS)
    if isinstance(port.port, str):
        check_name(port.port, (*field, "port"), findings)
    elif port.port is not None:
        check_number(port.port, (*field, "port"), findings)
    if port.end_port is not None:
        _refuse((*field, "endPort"), findings)


def _check_old_peer(peer: wire.Peer, field: Path, findings: Findings) -> None:
    pods, namespaces = peer.pod_selector, peer.namespace_selector
    if peer.ip_block is not None:
        _refuse((*field, "ipBlock"), findings)
    if pods is not None:
        check_selector(pods, (*field, "podSelector"), findings)
    if namespaces is not None:
        if pods is not None:
            findings.forbidden(field, "may not specify more than 1 from type")
        else:
            check_selector(namespaces, (*field, "namespaceSelector"), findings)
    elif pods is None and peer.ip_block is None:
        findings.required(field, "must specify a from type")
