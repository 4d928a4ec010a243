# SPDX-License-Identifier: Apache-2.0
"""What a node is told to run for a pod: its containers, names and resolver, with everything filled in."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from podfence.kube.objects import ContainerPort
from podfence.lab.objects.containers import Container, PodSpec

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from podfence.lab.addresses import Plan
    from podfence.lab.objects.placement import Spot
    from podfence.lab.store.metadata import Raw

_DOMAIN: Final = "cluster.local"
_LONGEST_HOSTNAME: Final = 63
_REFERENCE: Final = re.compile(r"\$\$|\$\(([^()$\s]+)\)")


def pod_spec(plan: Plan, pod: Raw, spot: Spot) -> PodSpec:
    """Return the specification of a stored pod that has a place."""
    known, spec = pod["metadata"], pod["spec"]
    search, server, dns_options = _resolver(plan, spec, known["namespace"], host=spot.host)
    return PodSpec(
        namespace=known["namespace"],
        name=known["name"],
        hostname=spot.node if spot.host else (spec.get("hostname") or known["name"])[:_LONGEST_HOSTNAME].rstrip("-."),
        node=spot.node,
        addresses=spot.addresses,
        host_network=spot.host,
        containers=tuple(_containers(spec)),
        restart=spec.get("restartPolicy") or "Always",
        dns_search=search,
        dns_server=server,
        dns_options=dns_options,
        uid=known["uid"],
    )


def is_sidecar(container: Raw) -> bool:
    """Return whether an init container runs beside the others."""
    return bool(container.get("restartPolicy") == "Always")


def items(of: Raw, key: str) -> list[Any]:
    """Return the list that an object has under a key, [] if it has none."""
    return of.get(key) or []


def _containers(spec: Raw) -> Iterator[Container]:
    for item in items(spec, "initContainers"):
        if is_sidecar(item):
            yield _container(item, sidecar=True)
    for item in items(spec, "containers"):
        yield _container(item, sidecar=False)


def _container(written: Raw, *, sidecar: bool) -> Container:
    env: dict[str, str] = {}
    for item in items(written, "env"):
        if item.get("name") and item.get("valueFrom") is None:
            # A variable may refer to those before it.
            env[item["name"]] = _expanded(item.get("value") or "", env)
    return Container(
        name=written.get("name") or "",
        image=written.get("image") or "",
        command=tuple(_expanded(text, env) for text in items(written, "command")),
        args=tuple(_expanded(text, env) for text in items(written, "args")),
        env=env,
        ports=tuple(
            ContainerPort(
                port.get("containerPort") or 0, port.get("protocol") or "TCP", port.get("name") or "", sidecar
            )
            for port in items(written, "ports")
        ),
        working_dir=written.get("workingDir") or "",
        stdin=bool(written.get("stdin")),
        stdin_once=bool(written.get("stdinOnce")),
        tty=bool(written.get("tty")),
    )


def _expanded(text: str, env: Mapping[str, str]) -> str:
    """Replace ``$(NAME)`` as Kubernetes does: unknown names stay, ``$$`` is a dollar sign."""
    return _REFERENCE.sub(lambda found: env.get(found[1], found[0]) if found[1] else "$", text)


def _resolver(plan: Plan, spec: Raw, namespace: str, *, host: bool) -> tuple[tuple[str, ...], str, tuple[str, ...]]:
    """Return search domains, server and options of a pod's resolv.conf, as kubelet writes them."""
    policy, config = spec.get("dnsPolicy") or "ClusterFirst", spec.get("dnsConfig") or {}
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
    own = {item["name"]: item.get("value") for item in items(config, "options") if item.get("name")}
    return (
        tuple(dict.fromkeys((*search, *filter(None, items(config, "searches"))))),
        server or next(filter(None, items(config, "nameservers")), ""),
        (
            *(option for option in options if option.partition(":")[0] not in own),
            *(f"{name}:{value}" if value else name for name, value in own.items()),
        ),
    )
