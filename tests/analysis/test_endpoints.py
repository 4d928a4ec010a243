# SPDX-License-Identifier: Apache-2.0
"""The grammar of endpoints and ports: what each text stands for, and what is said of those that stand for nothing."""

from __future__ import annotations

import re

import pytest

from podfence.analysis.endpoints import AddressesEndpoint, NodeEndpoint, PodsEndpoint, ServiceEndpoint
from podfence.analysis.parsing import parse_endpoint
from podfence.analysis.ports import parse_port
from podfence.cluster.addresses import known_addresses
from podfence.cluster.members import display_name
from podfence.cluster.state import ClusterState
from podfence.errors import EndpointError
from podfence.kube.objects import Namespace, Node, Owner, Pod, PodTemplate, Service, Workload
from podfence.sets.addresses import AddressSet, format_address, parse_address


def pod(name: str, *addresses: str, owner: str = "", phase: str = "Running", namespace: str = "shop", node: str = "",
        created: str = "", terminating: bool = False, host: bool = False) -> Pod:  # fmt: skip
    above = Owner(*owner.split("/")) if owner else None
    template = PodTemplate(node=node, host_network=host)
    return Pod(namespace=namespace, name=name, template=template, owner=above, addresses=addresses, phase=phase,
               created=created, terminating=terminating, node_addresses=addresses if host else ())  # fmt: skip


def workload(kind: str, name: str, owner: str = "") -> Workload:
    above = Owner(*owner.split("/")) if owner else None
    return Workload(kind=kind, namespace="shop", name=name, template=PodTemplate(), owner=above)


STATE = ClusterState([
    Namespace(name="shop", labels={}), Namespace(name="empty", labels={}), Namespace(name="default", labels={}),
    workload("Deployment", "web"), workload("ReplicaSet", "web-1", "Deployment/web"),
    pod("web-1-a", "10.0.0.1", "fd00::1", owner="ReplicaSet/web-1"), pod("web-1-b", "10.0.0.2", owner="ReplicaSet/web-1"),
    workload("StatefulSet", "db"), workload("Deployment", "twice"), workload("StatefulSet", "twice"),
    workload("CronJob", "tick"), workload("Job", "tick-28000001", "CronJob/tick"), workload("DaemonSet", "done"),
    pod("done-x", owner="DaemonSet/done", phase="Failed"), pod("bare", "10.0.0.3"), pod("over", phase="Succeeded"),
    workload("Deployment", "bare"), pod("mine", namespace="default"),
    Service(namespace="shop", name="web", addresses=("10.96.0.1",), external_addresses=("198.51.100.1", "lb.example.com")),
    Service(namespace="shop", name="none", addresses=("None",)),
    Node(name="node-1", labels={}, addresses=("172.18.0.1", "fd01::1")), pod("agent", "172.18.0.2", node="node-2", host=True),
    pod("old", "10.0.0.9", created="2026-01-01"), pod("new", "10.0.0.9", created="2026-01-02"),
    pod("gone", "10.0.0.8", terminating=True, created="2026-01-03"), pod("stays", "10.0.0.8"),
    pod("pending", "10.0.0.7", phase="Pending", created="2026-01-03"), pod("running", "10.0.0.7"),
])  # fmt: skip

PODS = [
    ("shop/bare", "shop/bare", "shop/bare"),
    ("mine", "default/mine", "default/mine"),
    ("shop/web-1-a", "shop/web-1-a", "shop/web-1-a"),
    ("shop/po/bare", "shop/bare", "shop/bare"),
    ("shop/pod/bare", "shop/bare", "shop/bare"),
    ("shop/Pods/bare", "shop/bare", "shop/bare"),
    ("shop/web", "shop/deploy/web", "shop/web-1-a shop/web-1-b"),
    ("shop/deploy/web", "shop/deploy/web", "shop/web-1-a shop/web-1-b"),
    ("shop/Deployment/web", "shop/deploy/web", "shop/web-1-a shop/web-1-b"),
    ("shop/deployments/web", "shop/deploy/web", "shop/web-1-a shop/web-1-b"),
    ("shop/rs/web-1", "shop/deploy/web", "shop/web-1-a shop/web-1-b"),
    ("shop/web-1", "shop/deploy/web", "shop/web-1-a shop/web-1-b"),
    ("shop/db", "shop/sts/db", "shop/sts/db"),
    ("shop/deploy/bare", "shop/deploy/bare", "shop/deploy/bare"),
    ("shop/job/tick-28000001", "shop/cj/tick", "shop/cj/tick"),
    ("shop/tick", "shop/cj/tick", "shop/cj/tick"),
    ("10.0.0.1", "shop/web-1-a (10.0.0.1)", "shop/web-1-a"),
    ("10.0.0.1/32", "shop/web-1-a (10.0.0.1/32)", "shop/web-1-a"),
    ("fd00::1", "shop/web-1-a (fd00::1)", "shop/web-1-a"),
    ("::ffff:10.0.0.1", "shop/web-1-a (::ffff:10.0.0.1)", "shop/web-1-a"),
    ("10.0.0.9", "shop/new (10.0.0.9)", "shop/new"),
    ("10.0.0.8", "shop/stays (10.0.0.8)", "shop/stays"),
    ("10.0.0.7", "shop/running (10.0.0.7)", "shop/running"),
    ("shop/app=web", "shop/app=web", "shop/app=web"),
    ("app=web,tier=", "app=web,tier=", "default/app=web,tier="),
    ("shop/app.kubernetes.io/name=web,tier=front", "shop/app.kubernetes.io/name=web,tier=front",
     "shop/app.kubernetes.io/name=web,tier=front"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "name", "members"), PODS)
def test_texts_that_stand_for_pods(text: str, name: str, members: str) -> None:
    found = parse_endpoint(STATE, text, "default")

    assert isinstance(found, PodsEndpoint)
    assert found.name == name
    assert " ".join(display_name(member.key) for member in found.members) == members
    assert found.hypothetical == ("=" in text)


def test_a_pod_asked_for_by_address_is_asked_about_at_that_address() -> None:
    found = parse_endpoint(STATE, "fd00::1", "default")

    assert isinstance(found, PodsEndpoint)
    assert [member.addresses for member in found.members] == [(parse_address("fd00::1"),)]


def test_a_hypothetical_pod_has_exactly_the_labels_that_are_written() -> None:
    found = parse_endpoint(STATE, "shop/app=web,app.kubernetes.io/part-of=x,empty=", "default")

    assert isinstance(found, PodsEndpoint)
    (member,) = found.members
    assert member.labels == {"app": "web", "app.kubernetes.io/part-of": "x", "empty": ""}
    assert (member.namespace, member.addresses, member.pod) == ("shop", (), None)


@pytest.mark.parametrize(
    ("text", "name", "addresses"),
    [
        ("node:node-1", "node:node-1", "172.18.0.1 fd01::1"),
        ("node:node-2", "node:node-2", "172.18.0.2"),
        ("172.18.0.1", "node:node-1 (172.18.0.1)", "172.18.0.1"),
        ("fd01::1", "node:node-1 (fd01::1)", "fd01::1"),
    ],
)
def test_texts_that_stand_for_nodes(text: str, name: str, addresses: str) -> None:
    found = parse_endpoint(STATE, text, "default")

    assert isinstance(found, NodeEndpoint)
    assert (found.name, " ".join(map(format_address, found.addresses))) == (name, addresses)


@pytest.mark.parametrize("text", ["shop/svc/web", "shop/Service/web", "shop/services/web", "10.96.0.1"])
def test_texts_that_stand_for_services(text: str) -> None:
    found = parse_endpoint(STATE, text, "default")

    assert isinstance(found, ServiceEndpoint)
    assert found.service.key.name == "web"


@pytest.mark.parametrize(
    ("text", "blocks"),
    [
        ("203.0.113.9", "203.0.113.9/32"),
        ("203.0.113.9/24", "203.0.113.0/24"),
        ("2001:db8::/32", "2001:db8::/32"),
        ("10.96.0.0/31", "10.96.0.0/32"),
        ("10.0.0.0/30", "10.0.0.0/32"),
        ("198.51.100.0/31", "198.51.100.0/32"),
        ("172.18.0.0/30", "172.18.0.0/32 172.18.0.3/32"),
    ],
)
def test_ranges_leave_out_what_is_a_pod_a_node_or_a_service(text: str, blocks: str) -> None:
    found = parse_endpoint(STATE, text, "default")

    assert isinstance(found, AddressesEndpoint)
    assert (found.name, " ".join(map(str, found.addresses.cidrs()))) == (text, blocks)


def test_internet_is_every_public_address_that_is_nothing_known() -> None:
    found = parse_endpoint(STATE, "internet", "default")

    assert isinstance(found, AddressesEndpoint)
    inside = ["203.0.113.9", "8.8.8.8", "2001:db8::1"]
    outside = ["10.9.9.9", "192.168.1.1", "127.0.0.1", "fd00::99", "fe80::1", "198.51.100.1"]
    assert all(parse_address(text) in found.addresses for text in inside)
    assert not any(parse_address(text) in found.addresses for text in outside)


def test_known_addresses_are_those_of_pods_nodes_and_services() -> None:
    expected = AddressSet.EMPTY
    for text in ("10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.7", "10.0.0.8", "10.0.0.9", "fd00::1", "172.18.0.1",
                 "172.18.0.2", "fd01::1", "10.96.0.1", "198.51.100.1"):  # fmt: skip
        expected |= AddressSet.cidr(text)

    assert known_addresses(STATE) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "'' is no endpoint: write POD, NAMESPACE/POD, NAMESPACE/KIND/NAME, an address or node:NAME"),
        ("/web", "'/web' is no endpoint: write POD, NAMESPACE/POD, NAMESPACE/KIND/NAME, an address or node:NAME"),
        ("shop/", "'shop/' is no endpoint: write POD, NAMESPACE/POD, NAMESPACE/KIND/NAME, an address or node:NAME"),
        ("shop/foo/web", "'shop/foo/web': unknown kind 'foo'; one of cj, deploy, ds, job, po, rc, rs, sts, svc"),
        ("shop/wed", "there is no pod or workload shop/wed; did you mean shop/deploy/web?"),
        ("shop/deploy/wed", "there is no pod or workload shop/deploy/wed; did you mean shop/deploy/web?"),
        ("shop/svc/wed", "there is no Service shop/svc/wed; did you mean shop/deploy/web?"),
        ("default/svc/kubernetes", "there is no Service default/svc/kubernetes; `apiserver` means the API server"),
        ("shop/po/barr", "there is no pod or workload shop/po/barr; did you mean shop/bare?"),
        ("shop/zzzzzzzzzzz", "there is no pod or workload shop/zzzzzzzzzzz; namespace shop has shop/agent, shop/bare, shop/cj/tick, shop/deploy/bare, shop/deploy/twice, …"),
        ("mine2x4", "there is no pod or workload default/mine2x4; did you mean default/mine?"),
        ("zzz", "there is no pod or workload default/zzz; namespace default has default/mine"),
        ("empty/web", "there is no pod or workload empty/web; namespace empty has none"),
        ("shpo/web", "there is no namespace 'shpo' here; did you mean shop?"),
        ("xxxxxx/web", "there is no namespace 'xxxxxx' here; a Namespace object of that name is enough to ask about it"),
        ("xxxxxx/app=web", "there is no namespace 'xxxxxx' here; a Namespace object of that name is enough to ask about it"),
        ("shop/twice", "shop/twice is ambiguous: shop/deploy/twice, shop/sts/twice"),
        ("shop/over", "shop/over has finished (Succeeded): it has given up its address and is not judged"),
        ("shop/po/over", "shop/over has finished (Succeeded): it has given up its address and is not judged"),
        ("shop/done", "all pods of shop/ds/done have finished: there is nothing to judge"),
        ("node:nod-1", "there is no node 'nod-1' here; did you mean node-1?"),
        ("node:zzzz", "there is no node 'zzzz' here; `node` is any node but the own one"),
        ("node:", "there is no node '' here; `node` is any node but the own one"),
        ("shop/=web", "'shop/=web': write labels as NAMESPACE/KEY=VALUE,KEY=VALUE"),
        ("shop/app=web,", "'shop/app=web,': write labels as NAMESPACE/KEY=VALUE,KEY=VALUE"),
        ("shop/app=a=b", "'shop/app=a=b': write labels as NAMESPACE/KEY=VALUE,KEY=VALUE"),
        ("10.0.0.1/33", "'10.0.0.1/33': what follows the slash is no prefix length of this address"),
        ("fd00::/129", "'fd00::/129': what follows the slash is no prefix length of this address"),
        ("10.0.0.8/31", "every address of 10.0.0.8/31 belongs to a pod, a node or a Service: name that instead"),
    ],
)  # fmt: skip
def test_texts_that_stand_for_nothing(text: str, message: str) -> None:
    with pytest.raises(EndpointError, match=f"^{re.escape(message)}$"):
        parse_endpoint(STATE, text, "default")


@pytest.mark.parametrize(
    ("value", "text", "ports"),
    [
        (None, "all ports", "all ports"),
        ("", "all ports", "all ports"),
        (80, "TCP 80", "TCP 80"),
        ("80", "TCP 80", "TCP 80"),
        (" 080 ", "TCP 80", "TCP 80"),
        ("53/udp", "UDP 53", "UDP 53"),
        ("53/UDP", "UDP 53", "UDP 53"),
        ("9000-9010/sctp", "SCTP 9000-9010", "SCTP 9000-9010"),
        ("80-80", "TCP 80", "TCP 80"),
        ("1-65535", "all TCP", "all TCP"),
        ("65535/udp", "UDP 65535", "UDP 65535"),
        ("tcp", "all TCP", "all TCP"),
        ("Udp", "all UDP", "all UDP"),
        ("icmp", "ICMP", "other protocols"),
        ("ICMP", "ICMP", "other protocols"),
    ],
)
def test_texts_that_stand_for_ports(value: int | str | None, text: str, ports: str) -> None:
    found = parse_port(value)

    assert (found.text, str(found.ports), found.name) == (text, ports, "")


@pytest.mark.parametrize(
    ("value", "text", "name", "protocol"),
    [
        ("http", "http", "http", ""),
        ("dns/udp", "UDP dns", "dns", "UDP"),
        ("8a", "8a", "8a", ""),
        ("a-b", "a-b", "a-b", ""),
    ],
)
def test_texts_that_stand_for_names_of_ports(value: str, text: str, name: str, protocol: str) -> None:
    found = parse_port(value)

    assert (found.text, found.name, found.protocol, bool(found.ports)) == (text, name, protocol, False)


RANGE = "ports run from 1 to 65535, and a range from its lower to its higher end"
WRITE = "write a number, a range (9000-9010), a port name, icmp, each with /tcp, /udp or /sctp"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (0, f"port '0': {RANGE}"),
        ("65536", f"port '65536': {RANGE}"),
        ("90-80", f"port '90-80': {RANGE}"),
        ("0-80", f"port '0-80': {RANGE}"),
        ("80/icmp", "port '80/icmp': protocol 'icmp' is not one of tcp, udp, sctp"),
        ("80/", "port '80/': protocol '' is not one of tcp, udp, sctp"),
        (-1, f"port '-1': {WRITE}"),
        ("80-", f"port '80-': {WRITE}"),
        ("HTTP", f"port 'HTTP': {WRITE}"),
        ("-http", f"port '-http': {WRITE}"),
        ("a b", f"port 'a b': {WRITE}"),
        ("1234567", f"port '1234567': {WRITE}"),
        ("\u0668\u0660", f"port '\u0668\u0660': {WRITE}"),
        ("/tcp", f"port '/tcp': {WRITE}"),
    ],
)
def test_texts_that_stand_for_no_port(value: int | str, message: str) -> None:
    with pytest.raises(EndpointError, match=f"^{re.escape(message)}$"):
        parse_port(value)
