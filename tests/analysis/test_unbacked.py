# SPDX-License-Identifier: Apache-2.0
"""A Service of which no backend was read, asked at a node or at an external address: nobody knows who answers (13.7)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from podfence import Cluster
from podfence.errors import EndpointError
from podfence.kube.objects import Backend, EndpointPort, EndpointSlice, PolicyPort
from tests.analysis.test_paths import OUTSIDE, decided, pod, service
from tests.policy.parts import app, block, policy, rule

if TYPE_CHECKING:
    from podfence.kube.objects import KubeObject, Service

EXTERNAL = "203.0.113.50"
NOBODY = {"app": "operated"}
CLOSED = policy("closed", ingress=[])
SILENT = policy("silent", app("one"), egress=[])
UNDECIDED = policy("named", ingress=[rule(ports=[PolicyPort("TCP", 9000)])])
LOST = pod("lost", "10.244.3.9", "")
HOST = msgspec.structs.replace(LOST, name="host", template=msgspec.structs.replace(LOST.template, host_network=True))


def unbacked(traffic: str = "Cluster", *, named: bool = False, selects: bool = True) -> Service:
    whole = service(traffic)
    port = msgspec.structs.replace(whole.ports[0], target="http" if named else 8080)
    return msgspec.structs.replace(
        whole, selector=NOBODY if selects else None, ports=(port,), external_addresses=(EXTERNAL,)
    )


ROWS: list[tuple[str, str, int, tuple[KubeObject, ...], str]] = [
    (OUTSIDE, "node:n1", 31901, (unbacked(),), "depends"),
    (OUTSIDE, "node:n1", 31901, (unbacked("Local"),), "depends"),
    (OUTSIDE, "node:n1", 31901, (unbacked(), CLOSED), "denied"),
    ("node:n1", "node:n1", 31901, (unbacked(), CLOSED), "depends"),
    ("one", "node:n1", 31901, (unbacked(),), "depends"),
    ("one", "node:n1", 31901, (unbacked(), SILENT), "denied"),
    ("one", "node:n2", 31901, (unbacked(named=True), UNDECIDED), "depends"),
    ("one", EXTERNAL, 80, (unbacked(),), "depends"),
    ("one", EXTERNAL, 80, (unbacked(), SILENT), "denied"),
    (OUTSIDE, EXTERNAL, 80, (unbacked(),), "depends"),
    (OUTSIDE, "node:n1", 31901, (unbacked(selects=False),), "depends"),
    ("one", "node:n1", 31901, (unbacked("Local", selects=False),), "depends"),
    ("one", "node:n2", 31901, (unbacked("Local", selects=False), SILENT), "denied"),
    ("one", EXTERNAL, 80, (unbacked(selects=False), SILENT), "denied"),
    # A client that may be hidden behind the pod's own node is not surely denied.
    (OUTSIDE, "svc/web", 80, (unbacked(), CLOSED), "depends"),
    (OUTSIDE, "svc/web", 80, (unbacked("Local"), CLOSED), "denied"),
    # One may be there of the other family.
    ("2001:db8::9", "svc/web", 80, (unbacked(),), "denied"),
    ("2001:db8::9", "svc/web", 80, (unbacked(selects=False),), "depends"),
]


@pytest.mark.parametrize(("source", "to", "port", "objects", "expected"), ROWS)
def test_a_service_without_a_backend_may_have_one(
    source: str, to: str, port: int, objects: tuple[KubeObject, ...], expected: str
) -> None:
    assert decided(source, to, port, *objects) == expected


@pytest.mark.parametrize("selects", [True, False])
def test_a_pod_that_only_endpoints_name_may_have_any_labels(selects: bool) -> None:
    endpoints = EndpointSlice(
        namespace="shop",
        name="web-1",
        service="web",
        backends=(Backend(("10.244.9.9",), "unread-7d4b9-x2k4p"),),
        ports=(EndpointPort(8080),),
    )
    about_it = policy("about-it", app("operated"), ingress=[])
    about_all = policy("about-all", ingress=[])
    there = (unbacked(selects=selects), endpoints)

    assert decided("one", "svc/web", 80, *there) == "allowed", "no policy is about any pod there"
    assert decided("one", "svc/web", 80, *there, about_all) == "denied"
    # The labels of the selector are its labels.
    assert decided("one", "svc/web", 80, *there, about_it) == ("denied" if selects else "depends")
    assert decided("one", "svc/web", 80, *there, policy("other", app("other"), ingress=[])) == (
        "allowed" if selects else "depends"
    )
    # So may its ports be named, or not.
    by_name = policy("by-name", ingress=[rule(ports=[PolicyPort("TCP", "http")])])
    assert decided("one", "svc/web", 80, *there, by_name) == "depends"
    assert decided("two", "node:n1", 31901, *there, about_all) == "denied"


def test_a_list_does_not_take_a_pod_that_was_not_read_for_an_address_outside() -> None:
    endpoints = EndpointSlice(
        namespace="shop",
        name="web-1",
        service="web",
        backends=(Backend(("10.244.9.9",), "unread"),),
        ports=(EndpointPort(8080),),
    )
    cluster = Cluster.from_objects([unbacked(), endpoints])

    with pytest.raises(EndpointError, match=r"shop/unread was not read.*podfence check"):
        list(cluster.pod_connections(destination="shop/svc/web", port="80"))


def test_a_pod_without_a_node_may_run_on_that_of_the_pod_that_answers() -> None:
    """Its own node translates the address; on another node the pod that answers is asked under that node's name."""
    balanced = msgspec.structs.replace(service("Cluster"), external_addresses=(EXTERNAL,))
    from_nodes = policy("from-nodes", app("web"), ingress=[rule(block("10.200.0.0/24"))])

    assert decided("lost", EXTERNAL, 80, balanced, LOST, from_nodes) == "depends"
    assert decided("one", EXTERNAL, 80, balanced, LOST, from_nodes) == "denied"


def test_a_part_of_an_unknown_node_may_be_the_node_that_is_asked() -> None:
    """A node leads what it sends itself to all pods, and others to its own pods only."""
    assert decided("host", "node:n2", 31901, service("Local"), HOST) == "depends"
    assert decided("node:n2", "node:n2", 31901, service("Local")) == "allowed"
    assert decided("node:n1", "node:n2", 31901, service("Local")) == "denied"
