# SPDX-License-Identifier: Apache-2.0
"""What a node is told to run for a pod: its containers, names and resolver, with everything filled in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from podfence.kube.live.origin import LIVE
from podfence.lab.objects.containers import PodSpec
from podfence.lab.objects.templates import read_template

if TYPE_CHECKING:
    from podfence.lab.addresses import Plan
    from podfence.lab.objects.placement import Spot
    from podfence.lab.objects.templates import Template
    from podfence.lab.store.metadata import Raw

_DOMAIN: Final = "cluster.local"
_LONGEST_HOSTNAME: Final = 63


def template_of(pod: Raw) -> Template:
    """Return what a stored pod says about running it; what cannot be read was refused before, or is left out."""
    return read_template(pod, LIVE)[0]


def pod_spec(plan: Plan, pod: Raw, run: Template, spot: Spot) -> PodSpec:
    """Return the specification of a pod that has a place."""
    known = pod["metadata"]
    search, server, options = _resolver(plan, run, known["namespace"], host=spot.host)
    return PodSpec(
        namespace=known["namespace"],
        name=known["name"],
        hostname=spot.node if spot.host else (run.hostname or known["name"])[:_LONGEST_HOSTNAME].rstrip("-."),
        node=spot.node,
        addresses=spot.addresses,
        host_network=spot.host,
        containers=run.containers,
        restart=run.restart,
        dns_search=search,
        dns_server=server,
        dns_options=options,
        uid=known["uid"],
    )


def _resolver(plan: Plan, run: Template, namespace: str, *, host: bool) -> tuple[tuple[str, ...], str, tuple[str, ...]]:
    """Return search domains, server and options of a pod's resolv.conf, as kubelet writes them."""
    resolver = run.resolver
    policy = resolver.policy
    if policy == "ClusterFirst" and host:
        policy = "Default"
    search: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    server = ""
    if policy in ("ClusterFirst", "ClusterFirstWithHostNet"):
        search = (f"{namespace}.svc.{_DOMAIN}", f"svc.{_DOMAIN}", _DOMAIN)
        server = plan.dns_address()
        options = ("ndots:5",)
    elif policy == "Default":
        server = plan.gateway(plan.families[0])
    own = {option.partition(":")[0] for option in resolver.options}
    return (
        tuple(dict.fromkeys((*search, *resolver.searches))),
        server or next(iter(resolver.servers), ""),
        (*(option for option in options if option.partition(":")[0] not in own), *resolver.options),
    )
