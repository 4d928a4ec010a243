# SPDX-License-Identifier: Apache-2.0
"""The API server as an end: what its connections come from, and lead to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from podfence.analysis.endpoints import (
    AlternativesEndpoint,
    Endpoint,
    NodeEndpoint,
    PodsEndpoint,
    address_end,
)
from podfence.cluster.members import Member, display_name
from podfence.cluster.nodes import node_addresses, numbers_of
from podfence.cluster.services import recorded
from podfence.kube.objects import Key, Service

if TYPE_CHECKING:
    from collections.abc import Iterator

    from podfence.cluster.state import ClusterState

API_SERVICE: Final = Key("Service", "default", "kubernetes")
_API_SERVER: Final = {"component": "kube-apiserver"}
_TUNNEL_AGENT: Final = {"k8s-app": "konnectivity-agent"}


def apiserver(state: ClusterState) -> AlternativesEndpoint:
    """Return what the API server's connections come from, and lead to: its known addresses, else what it may be.

    What is known are the backends of Service default/kubernetes, or the pods of the API server.
    """
    found: dict[str, Endpoint] = {}
    for number in sorted({number for piece in recorded(state, "default", "kubernetes") for backend in piece.backends
                          for number in numbers_of(backend.addresses)}):  # fmt: skip
        end: Endpoint = address_end(state, number)
        found[end.name] = end
    if not found:
        found = {end.name: end for end in _system_pods(state, _API_SERVER)}
    if not found:
        tunnel = Member(Key("Pod", "kube-system", "k8s-app=konnectivity-agent"), None, _TUNNEL_AGENT, ())
        nodes = (NodeEndpoint("another node", "", ()), NodeEndpoint("the pod's own node", "", (), own=True))
        ends = (*nodes, PodsEndpoint("a konnectivity pod", (tunnel,), hypothetical=True))
        unread = Service(namespace="default", name="kubernetes", headless=True)
        return AlternativesEndpoint("apiserver", ends, "what the API server connects from", unread)
    # A cluster with such pods leads what the API server sends through them.
    through = {end.name: end for end in _system_pods(state, _TUNNEL_AGENT)}
    return AlternativesEndpoint("apiserver", tuple({**found, **through}.values()), "what the API server connects from")


def _system_pods(state: ClusterState, labels: dict[str, str]) -> Iterator[Endpoint]:
    known = node_addresses(state)
    for key, member in sorted(state.members.items()):
        if key.namespace == "kube-system" and labels.items() <= member.labels.items():
            if member.host and member.node:
                yield NodeEndpoint(f"node:{member.node}", member.node, known.get(member.node, member.addresses))
            else:
                yield PodsEndpoint(display_name(key), (member,))
