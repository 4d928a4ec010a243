# SPDX-License-Identifier: Apache-2.0
"""A NetworkPolicy of networking.k8s.io/v1 (semantics 9.1 to 9.5, 9.10)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from podfence.kube import wire
from podfence.kube.validation.cidr import check_block
from podfence.kube.validation.ports import check_policy_port
from podfence.kube.validation.selectors import check_selector

if TYPE_CHECKING:
    from collections.abc import Sequence

    from podfence.kube.source import Path
    from podfence.kube.validation.findings import Findings

_TYPES = ("Ingress", "Egress")
_NO_PEER = wire.Peer()


def check_policy(policy: wire.NetworkPolicy, findings: Findings, *, lax: bool) -> None:
    """Check the spec of a policy; `lax` turns CIDR spellings that are refused today into warnings."""
    spec = policy.spec
    if spec is None:
        return
    if spec.pod_selector is not None:
        check_selector(spec.pod_selector, ("spec", "podSelector"), findings)
    if spec.ingress:
        _check_rules(spec.ingress, ("spec", "ingress"), "from", findings, lax=lax)
    if spec.egress:
        _check_rules(spec.egress, ("spec", "egress"), "to", findings, lax=lax)
    if spec.policy_types:
        _check_types(spec.policy_types, findings)


def _check_rules(
    rules: Sequence[wire.IngressRule | wire.EgressRule | None],
    field: Path,
    direction: str,
    findings: Findings,
    *,
    lax: bool,
) -> None:
    for index, rule in enumerate(rules):
        if rule is None:
            continue
        if rule.ports:
            for position, port in enumerate(rule.ports):
                check_policy_port(port, (*field, index, "ports", position), findings)
        if rule.peers:
            for position, peer in enumerate(rule.peers):
                _check_peer(peer or _NO_PEER, (*field, index, direction, position), findings, lax=lax)


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
        if text not in _TYPES:
            findings.unsupported(("spec", "policyTypes", index), text, _TYPES)
