# SPDX-License-Identifier: Apache-2.0
"""Pods and pod templates: containers, their ports, the restart policy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from podfence.kube import wire
from podfence.kube.findings import field_text
from podfence.kube.validation.names import dns_label, port_name
from podfence.kube.validation.ports import check_number

if TYPE_CHECKING:
    from podfence.kube.source import Path
    from podfence.kube.validation.findings import Findings

_PROTOCOLS = ("SCTP", "TCP", "UDP")
_RESTARTS = ("Always", "OnFailure", "Never")
_NO_SPEC = wire.PodSpec()
_NO_CONTAINER = wire.Container()
_NO_PORT = wire.ContainerPort()


def check_pod_spec(spec: wire.PodSpec | None, field: Path, findings: Findings) -> None:
    """Check the spec of a pod or of a pod template."""
    spec = spec or _NO_SPEC
    if not spec.containers:
        findings.required((*field, "containers"))
    names: set[str] = set()
    for key, containers in (("containers", spec.containers), ("initContainers", spec.init_containers)):
        if containers:
            for index, container in enumerate(containers):
                _check_container(container or _NO_CONTAINER, (*field, key, index), names, findings)
    if spec.restart_policy is not None and spec.restart_policy not in _RESTARTS:
        findings.unsupported((*field, "restartPolicy"), spec.restart_policy, _RESTARTS)


def _check_container(container: wire.Container, field: Path, names: set[str], findings: Findings) -> None:
    name, image = container.name, container.image
    if not name:
        findings.required((*field, "name"))
    elif messages := dns_label(name):
        for message in messages:
            findings.invalid((*field, "name"), name, message)
    elif name in names:
        findings.duplicate((*field, "name"), name)
    else:
        names.add(name)
    if not image:
        findings.required((*field, "image"))
    elif image[0].isspace() or image[-1].isspace():
        findings.invalid((*field, "image"), image, "must not have leading or trailing whitespace")
    if container.ports:
        _check_ports(container.ports, (*field, "ports"), findings)


def _check_ports(ports: list[wire.ContainerPort | None], field: Path, findings: Findings) -> None:
    names: set[str] = set()
    seen: dict[tuple[object, ...], int] = {}
    for index, item in enumerate(ports):
        port = item or _NO_PORT
        if port.name:
            if messages := port_name(port.name):
                for message in messages:
                    findings.invalid((*field, index, "name"), port.name, message)
            elif port.name in names:
                findings.duplicate((*field, index, "name"), port.name)
            else:
                names.add(port.name)
        if not port.container_port:
            findings.required((*field, index, "containerPort"))
        else:
            check_number(port.container_port, (*field, index, "containerPort"), findings)
        if port.host_port:
            check_number(port.host_port, (*field, index, "hostPort"), findings)
        if port.protocol is not None and port.protocol not in _PROTOCOLS:
            findings.unsupported((*field, index, "protocol"), port.protocol, _PROTOCOLS)
        first = seen.setdefault((port.container_port, port.host_port, port.protocol or "TCP"), index)
        if first != index:
            findings.warn((*field, index), f"duplicate port definition with {field_text((*field, first))}")
