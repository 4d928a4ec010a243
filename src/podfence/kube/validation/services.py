# SPDX-License-Identifier: Apache-2.0
"""Services: type, ports, cluster addresses, selector.

Which addresses and node ports a cluster hands out is its own matter, so ranges are not checked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from podfence.kube import wire_cluster as wire
from podfence.kube.findings import Code, Finding
from podfence.kube.validation.names import dns_label
from podfence.kube.validation.ports import check_name, check_number
from podfence.kube.validation.selectors import check_labels
from podfence.sets.addresses import parse_address

if TYPE_CHECKING:
    from podfence.kube.origin import Path
    from podfence.kube.validation.findings import Findings

_PROTOCOLS = ("SCTP", "TCP", "UDP")
_TYPES = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")


def check_service(service: wire.Service, findings: Findings) -> None:
    """Check the spec of a Service."""
    spec = service.spec or wire.ServiceSpec()
    headless = spec.cluster_ip == "None"
    if not spec.ports and not headless and spec.type != "ExternalName":
        findings.required(("spec", "ports"))
    names: set[str] = set()
    pairs: set[tuple[str, int]] = set()
    several = len(spec.ports or ()) > 1
    for index, item in enumerate(spec.ports or ()):
        port = item or wire.ServicePort()
        _check_port(port, ("spec", "ports", index), names, findings, several=several)
        pair = (port.protocol or "TCP", port.port or 0)
        if pair in pairs:
            findings.append(_duplicate_port(("spec", "ports", index), *pair))
        pairs.add(pair)
    if spec.selector:
        check_labels(spec.selector, ("spec", "selector"), findings)
    findings.check_word(("spec",), "type", spec.type, _TYPES)
    _check_addresses(spec, findings)


def _duplicate_port(field: Path, protocol: str, number: int) -> Finding:
    # The API server prints its internal form of the port here.
    shown = f'"Protocol":"{protocol}","AppProtocol":null,"Port":{number},"TargetPort":0,"NodePort":0'
    return Finding(code=Code.DUPLICATE, path=field, message=f'Duplicate value: {{"Name":"",{shown}}}')


def _check_port(port: wire.ServicePort, field: Path, names: set[str], findings: Findings, *, several: bool) -> None:
    if not port.name:
        if several:
            findings.required((*field, "name"))
    else:
        findings.invalid((*field, "name"), port.name, *dns_label(port.name))
        if port.name in names:
            findings.duplicate((*field, "name"), port.name)
        names.add(port.name)
    number = port.port or 0
    check_number(number, (*field, "port"), findings)
    findings.check_word(field, "protocol", port.protocol, _PROTOCOLS)
    target = port.target_port
    if not target:
        # An absent, empty or zero targetPort is the port itself.
        check_number(number, (*field, "targetPort"), findings, place=(*field, "port"))
    elif isinstance(target, str):
        check_name(target, (*field, "targetPort"), findings)
    else:
        check_number(target, (*field, "targetPort"), findings)


def _check_addresses(spec: wire.ServiceSpec, findings: Findings) -> None:
    for index, text in enumerate(spec.cluster_ips or [spec.cluster_ip]):
        if not text or text == "None":
            continue
        try:
            parse_address(text)
        except ValueError:
            field: Path = ("spec", "clusterIPs", index)
            findings.invalid(
                field,
                text,
                "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
                place=field if spec.cluster_ips else ("spec", "clusterIP"),
            )
