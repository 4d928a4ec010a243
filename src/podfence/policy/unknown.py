# SPDX-License-Identifier: Apache-2.0
"""What a verdict can rest on that is not in the input: the clause that names each, and how to give it.

What may be unknown, and what each of its values may be, is said by section 13 of the semantics. Everything that a
verdict can depend on is a `Dependency`: an unknown, an option that leaves open what upstream leaves open, or a part
of the question that is decided otherwise than another.
"""

from __future__ import annotations

from typing import Final

from podfence.policy.verdict import Dependency, Matter

RULES: Final = {
    Matter.NAMESPACE_LABELS: "13.3",
    Matter.LABEL: "13.4",
    Matter.NODE: "13.5",
    Matter.ADDRESS: "13.6",
    Matter.BACKENDS: "13.7",
    Matter.SERVICE: "13.8",
    Matter.POLICIES: "13.9",
    Matter.PORT_NAMES: "13.10",
}
"""The rule of the semantics that says what values something unknown may have."""


def part(text: str) -> Dependency:
    """Return what tells parts of a question apart that are decided differently: ``the port``."""
    return Dependency(Matter.PART, text)


def option(name: str) -> Dependency:
    """Return an option, named as ``--set`` takes it, that leaves the matter open."""
    return Dependency(Matter.OPTION, f"option {name}", object=name, supply=f"--set {name}=VALUE decides")


def namespace_labels(name: str) -> Dependency:
    """Return the labels of a namespace that is only mentioned (semantics 13.3)."""
    return Dependency(
        Matter.NAMESPACE_LABELS,
        f"the labels of namespace {name}",
        object=name,
        supply=f"give it: kubectl get ns {name} -o yaml",
    )


def label(key: str, name: str) -> Dependency:
    """Return the value that a controller chooses for a label of the pods of `name` (semantics 13.4)."""
    return Dependency(Matter.LABEL, f"the {key} of {name}", object=name, supply=_its_pods(name))


def node(name: str) -> Dependency:
    """Return the node of a pod or of the pods of a workload, as shown (semantics 13.5)."""
    return Dependency(Matter.NODE, f"the node that {name} runs on", object=name, supply=_its_pods(name))


def address(name: str) -> Dependency:
    """Return the address of a pod or of the pods of a workload, as shown (semantics 13.6)."""
    return Dependency(
        Matter.ADDRESS,
        f"the address of {name}",
        object=name,
        supply=f"{_its_pods(name)}, or --set pod-cidrs=CIDR",
    )


def node_address(name: str) -> Dependency:
    """Return the address of a node, or of one of them if it has no name (semantics 13.6)."""
    if name:
        supply = f"give it: kubectl get node {name} -o yaml"
        return Dependency(Matter.ADDRESS, f"the address of node {name}", object=f"node {name}", supply=supply)
    supply = "give the nodes: kubectl get nodes -o yaml, and ask about node:NAME"
    return Dependency(Matter.ADDRESS, "the address of the node", object="the node", supply=supply)


def backends(name: str) -> Dependency:
    """Return the backends of a Service, as shown, for which nothing in the input answers (semantics 13.7)."""
    return Dependency(
        Matter.BACKENDS,
        f"the backends of Service {name}",
        object=name,
        supply=f"give them: kubectl get pods,endpointslices -n {name.partition('/')[0]} -o yaml",
    )


def unread_pod(name: str) -> Dependency:
    """Return the labels and ports of a pod, as shown, that only an endpoint of a Service names (semantics 13.7)."""
    space, _, pod = name.partition("/")
    return Dependency(
        Matter.BACKENDS,
        f"the labels and ports of {name}, which was not read",
        object=name,
        supply=f"give it: kubectl get pod {pod} -n {space} -o yaml",
    )


def unread_endpoint(namespace: str, address: str) -> Dependency:
    """Return the labels and ports of a pod of which an endpoint gives nothing but its address (semantics 13.7)."""
    return Dependency(
        Matter.BACKENDS,
        f"the labels and ports of the pod with address {address}, which was not read",
        object=f"{namespace}/{address}",
        supply=f"give it: kubectl get pods -n {namespace} -o yaml",
    )


def _its_pods(name: str) -> str:
    return f"give its pods: kubectl get pods -n {name.partition('/')[0]} -o yaml"


def service(address: str) -> Dependency:
    """Return whether an address of nobody in a range of Services is a Service's (semantics 13.8)."""
    return Dependency(
        Matter.SERVICE,
        f"whether {address} is the address of a Service, which is translated before policies are asked",
        object=address,
        supply="give the Services: kubectl get svc -A -o yaml, or --set service-cidrs=CIDR",
    )


def port_names(name: str) -> Dependency:
    """Return the ports that a pod names, as shown, which is asked about by its labels alone (semantics 13.10)."""
    return Dependency(Matter.PORT_NAMES, f"the port names of {name}", object=name, supply=_its_pods(name))


def unread(what: str, remedy: str = "") -> Dependency:
    """Return a policy that is known to exist and that nobody has read (semantics 13.9); `what` says where it is."""
    return Dependency(Matter.POLICIES, f"policies that were not read: {what}", object=what, supply=remedy)
