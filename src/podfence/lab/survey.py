# SPDX-License-Identifier: Apache-2.0
"""A lab's state at one moment, gathered from its objects, its processes and its kernels."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING

from podfence.cluster.members import display_name
from podfence.cluster.services import backends
from podfence.dataplane import counts
from podfence.kube.objects import Key
from podfence.lab.apiserver import pod_cells
from podfence.lab.status import LabNamespace, LabNode, LabPod, LabPolicy, LabService, LabStatus
from podfence.nft.errors import NftError
from podfence.nft.process import NftRunner
from podfence.policy.wording import selector_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from podfence.kube.objects import Service
    from podfence.lab.supervisor import Supervisor


def survey(lab: Supervisor) -> LabStatus:
    """Return what is in a lab; what a kernel cannot be asked for at the moment counts as nothing."""
    state = lab.state
    pods_on = Counter(pod.template.node for pod in state.pods.values())
    admitted, denied = _counted(lab)
    return LabStatus(
        name=lab.name,
        network=lab.plan.network,
        namespaces=tuple(
            LabNamespace(name=name, labels=state.labels_of_namespace(name)) for name in sorted(state.namespaces)
        ),
        nodes=tuple(
            LabNode(name=name, addresses=node.addresses, pods=pods_on[name], agent=lab.agents[name].state)
            for name, node in sorted(state.nodes.items())
        ),
        pods=tuple(_pods(lab)),
        services=tuple(
            LabService(
                namespace=service.namespace,
                name=service.name,
                type=service.type,
                addresses=("None",) if service.headless else service.addresses,
                ports=_ports(service),
                backends=max((len(backends(state, service, port)) for port in service.ports), default=0),
                selector=",".join(f"{label}={value}" for label, value in (service.selector or {}).items()),
            )
            for _, service in sorted(state.services.items())
        ),
        policies=tuple(
            LabPolicy(
                namespace=namespace,
                name=name,
                real={
                    node: agent.real[policy.key]
                    for node, agent in sorted(lab.agents.items())
                    if policy.key in agent.real
                },
                admitted=admitted[namespace, name],
                denied=denied[namespace, name],
                selector=selector_text(policy.pod_selector),
            )
            for namespace, policies in sorted(state.policies.items())
            for name, policy in sorted(policies.items())
        ),
        waiting=tuple(display_name(key) for key in lab.world.waiting),
    )


def _pods(lab: Supervisor) -> Iterator[LabPod]:
    """Yield the pods that run or have run, with the status that kubectl shows."""
    held, now = lab.pods.ended | lab.pods.running, time.time()
    for obj in lab.world.store.list("pods")[0]:
        known = obj["metadata"]
        item = held.get(Key("Pod", known["namespace"], known["name"]))
        if item is None:
            continue
        _, _, status, restarts, *_ = pod_cells.pod(obj, now)
        yield LabPod(
            namespace=known["namespace"],
            name=known["name"],
            node=item.spec.node,
            addresses=item.spec.addresses,
            phase=status,
            restarts=int(restarts.partition(" ")[0]),
            runs=tuple(program.note for program in item.programs.values()),
            labels=known.get("labels") or {},
        )


def _ports(service: Service) -> tuple[str, ...]:
    return tuple(
        f"{port.port}{f':{port.node_port}' if port.node_port else ''}/{port.protocol}" for port in service.ports
    )


def _counted(lab: Supervisor) -> tuple[Counter[tuple[str, str]], Counter[tuple[str, str]]]:
    """Return the packets that began a connection, and those that were denied, by policy, on all nodes."""
    admitted: Counter[tuple[str, str]] = Counter()
    denied: Counter[tuple[str, str]] = Counter()
    known = [policy.key for policies in lab.state.policies.values() for policy in policies.values()]
    for holder in lab.nodes.values():
        try:
            found = counts.read(NftRunner(prefix=("nsenter", "-t", str(holder.pid), "-n")), known)
        except NftError:
            continue
        for count in found:
            for policy in count.policies:
                (denied if count.rule is None else admitted)[count.namespace, policy] += count.packets
    return admitted, denied
