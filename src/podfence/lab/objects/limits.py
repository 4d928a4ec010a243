# SPDX-License-Identifier: Apache-2.0
"""What a lab does not do of what an object wants: the client is told, so that nothing is left out in silence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from podfence.lab.apiserver.fields import value_at
from podfence.lab.objects.pod_specs import is_sidecar, items
from podfence.lab.store.resources import READ

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from podfence.lab.store.metadata import Raw
    from podfence.lab.store.store import Store

_NO_CLOCK: Final = "the lab keeps no time: a CronJob starts no Jobs"
_OF_SERVICES: Final = {
    ("type", "LoadBalancer"): "the lab has no load balancer; from outside, use the node port",
    ("sessionAffinity", "ClientIP"): "the lab has no session affinity: each connection goes to a random backend",
    ("internalTrafficPolicy", "Local"): "the lab has no internalTrafficPolicy: connections go to backends on all nodes",
}
ANY_NODE: Final = "the lab has no node {}, so any node runs it"


def limits_of(store: Store) -> Callable[[Raw], Iterator[str]]:
    """Return the limits of a lab with the nodes of a store."""
    return lambda obj: limits(
        obj, {node["metadata"]["name"]: node["metadata"].get("labels") or {} for node in store.list("nodes")[0]}
    )


def limits(obj: Raw, nodes: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
    """Yield what a lab does not do of what an object wants; `nodes` are the labels of each node."""
    kind = obj["kind"]
    if kind == "CronJob":
        yield _NO_CLOCK
    elif kind == "Service":
        spec = obj.get("spec") or {}
        yield from (text for (field, value), text in _OF_SERVICES.items() if spec.get(field) == value)
    elif (row := READ.get(kind)) is not None and row.template is not None:
        yield from _of_pods(value_at(obj, ".".join(map(str, (*row.template, "spec")))) or {}, nodes)


def _of_pods(spec: Raw, nodes: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
    init, main = ([item for item in items(spec, key) if item] for key in ("initContainers", "containers"))
    for item in init:
        if not is_sidecar(item):
            yield f"the lab does not run init container {item.get('name')}"
    for item in (*init, *main):
        variables = [variable for variable in items(item, "env") if variable and variable.get("valueFrom") is not None]
        if variables:
            names = ", ".join(str(variable.get("name")) for variable in variables)
            yield f"container {item.get('name')} runs without {names}: the lab sets only plain values of env"
        if item.get("envFrom"):
            yield f"container {item.get('name')} runs without the variables of envFrom"
    if len(items(spec.get("dnsConfig") or {}, "nameservers")) > 1:
        yield "the lab uses only the first nameserver of dnsConfig"
    wanted = (spec.get("nodeSelector") or {}).items()
    if (name := spec.get("nodeName")) and name not in nodes:
        yield ANY_NODE.format(name)
    elif nodes and not any(wanted <= labels.items() for labels in nodes.values()):
        shown = ", ".join(f"{key}={value}" for key, value in wanted)
        yield f"no node of the lab has the labels {shown}, so any node runs it"
