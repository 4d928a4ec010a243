# SPDX-License-Identifier: Apache-2.0
"""A NetworkPolicy of extensions/v1beta1 as servers before Kubernetes 1.7 checked it (semantics 10.4, 10.6)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from podfence.kube import wire
from podfence.kube.findings import Code, Finding
from podfence.kube.validation.ports import check_name, check_number
from podfence.kube.validation.selectors import check_selector

if TYPE_CHECKING:
    from podfence.kube.source import Path
    from podfence.kube.validation.findings import Findings

_PROTOCOLS = ("TCP", "UDP")
_NO_PEER = wire.Peer()
_LATER = "extensions/v1beta1 had no such field before Kubernetes 1.7"
_REMEDY = "--set legacy=v1 reads it with the meaning the API group had from 1.7 on"


def check_legacy_policy(policy: wire.NetworkPolicy, findings: Findings) -> None:
    """Check a policy in its old meaning; fields that came later are errors."""
    spec = policy.spec
    if spec is None:
        return
    if spec.pod_selector is not None:
        check_selector(spec.pod_selector, ("spec", "podSelector"), findings)
    for index, rule in enumerate(spec.ingress or ()):
        if rule is None:
            continue
        for position, port in enumerate(rule.ports or ()):
            if port is not None:
                _check_port(port, ("spec", "ingress", index, "ports", position), findings)
        for position, peer in enumerate(rule.peers or ()):
            _check_peer(peer or _NO_PEER, ("spec", "ingress", index, "from", position), findings)
    if spec.egress is not None:
        _refuse(("spec", "egress"), findings)
    if spec.policy_types is not None:
        _refuse(("spec", "policyTypes"), findings)


def _refuse(field: Path, findings: Findings) -> None:
    findings.append(Finding(code=Code.FORBIDDEN, path=field, message=_LATER, at_key=True, remedy=_REMEDY))


def _check_port(port: wire.Port, field: Path, findings: Findings) -> None:
    if port.protocol is not None and port.protocol not in _PROTOCOLS:
        findings.unsupported((*field, "protocol"), port.protocol, _PROTOCOLS)
    if isinstance(port.port, str):
        check_name(port.port, (*field, "port"), findings)
    elif port.port is not None:
        check_number(port.port, (*field, "port"), findings)
    if port.end_port is not None:
        _refuse((*field, "endPort"), findings)


def _check_peer(peer: wire.Peer, field: Path, findings: Findings) -> None:
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
