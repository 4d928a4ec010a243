# SPDX-License-Identifier: Apache-2.0
"""What people type as an end, each with its answer or with a message about what it is."""

from __future__ import annotations

import pytest

from podfence import Cluster, EndpointError
from podfence.kube.objects import (
    Backend,
    ContainerPort,
    EndpointPort,
    EndpointSlice,
    Namespace,
    NetworkPolicy,
    Node,
    Peer,
    Pod,
    PodTemplate,
    Requirement,
    Rule,
    Selector,
    Service,
    ServicePort,
    Workload,
)

NAME = "kubernetes.io/metadata.name"


def pod(
    name: str, address: str, labels: str = "", node: str = "n1", *, host: bool = False, namespace: str = "shop"
) -> Pod:
    written = dict(item.split("=") for item in labels.split(",") if item)
    ports = (ContainerPort(8080, "TCP", "http", host_port=8081 if name == "web-0" else 0),)
    template = PodTemplate(labels=written, ports=ports, node=node, host_network=host)
    return Pod(namespace=namespace, name=name, template=template, addresses=(address,), phase="Running")


def selector(text: str) -> Selector:
    return Selector(tuple(Requirement(*(item.split("=")[0], "In", (item.split("=")[1],))) for item in text.split(",")))


CLUSTER = Cluster.from_objects([
    Namespace(name="shop", labels={NAME: "shop"}), Namespace(name="default", labels={NAME: "default"}),
    Namespace(name="bare", labels={NAME: "bare"}),
    Node(name="n1", labels={}, addresses=("172.18.0.1",)), Node(name="n2", labels={}, addresses=("172.18.0.2",)),
    pod("web-0", "10.1.0.7", "app=web"), pod("web-1", "fd00::1", "app=web", "n2"),
    pod("client", "10.1.0.9", "app=client"), pod("host", "172.18.0.1", host=True),
    Workload(kind="Deployment", namespace="shop", name="api", template=PodTemplate(labels={"app": "api"})),
    Service(namespace="shop", name="web", selector={"app": "web"}, addresses=("10.96.0.7",), type="NodePort",
            ports=(ServicePort(80, "http", node_port=30080),), external_addresses=("198.51.100.7",)),
    Service(namespace="shop", name="heads", selector={"app": "web"}, headless=True, ports=(ServicePort(8080, 8080),)),
    Service(namespace="default", name="kubernetes", addresses=("10.96.0.1",), ports=(ServicePort(443, 6443),)),
    EndpointSlice(namespace="default", name="kubernetes", service="kubernetes",
                  backends=(Backend(("172.18.0.2",)),), ports=(EndpointPort(6443),)),
    NetworkPolicy(namespace="shop", name="web", pod_selector=selector("app=web"), ingress=(
        Rule((Peer(pod_selector=selector("app=client")),)),
        Rule((Peer(selector("app=m"), selector(f"{NAME}=seen")),)),
    )),
])  # fmt: skip

SOURCES = [
    ("shop/client", "allowed  shop/client"),
    ("client", "allowed  shop/client"),
    (" client ", "allowed  shop/client"),
    ("pod/client", "allowed  shop/client"),
    ("po/client", "allowed  shop/client"),
    ("pods/client", "allowed  shop/client"),
    ("Pod/client", "allowed  shop/client"),
    ("shop/pod/client", "allowed  shop/client"),
    ("10.1.0.9", "allowed  shop/client (10.1.0.9)"),
    ("10-1-0-9.shop.pod.cluster.local", "allowed  shop/client (10.1.0.9)"),
    ("10-1-0-9.shop.pod", "allowed  shop/client (10.1.0.9)"),
    ("deploy/api", "denied  shop/deploy/api"),
    ("deployment/api", "denied  shop/deploy/api"),
    ("deployment.apps/api", "denied  shop/deploy/api"),
    ("deployments.apps/api", "denied  shop/deploy/api"),
    ("app=client", "allowed  app=client"),
    ("shop/app=client", "allowed  shop/app=client"),
    ("kube-system/k8s-app=kube-dns", "denied  kube-system/k8s-app=kube-dns"),
    ("seen/app=m", "allowed  seen/app=m"),
    ("node", "denied  another node"),
    ("own-node", "allowed  the pod's own node"),
    ("node:n1", "allowed  node:n1"),
    ("node:n2", "denied  node:n2"),
    ("node/n1", "allowed  node:n1"),
    ("no/n1", "allowed  node:n1"),
    ("nodes/n1", "allowed  node:n1"),
    ("172.18.0.2", "denied  node:n2 (172.18.0.2)"),
    ("self", "allowed  self"),
    ("apiserver", "denied  apiserver"),
    ("internet", "denied  internet"),
    ("0.0.0.0/0", "denied  0.0.0.0/0"),
    ("127.0.0.1", "allowed  127.0.0.1"),
    ("web", "there is no pod or workload shop/web; did you mean shop/svc/web?"),
    ("svc/web", "shop/svc/web is a Service: it opens no connections; name a workload or a pod as the source"),
    ("client:80", "client:80: the port of a source never matters (semantics 1.1): write client"),
    ("deploy/client", "there is no pod or workload deploy/client; did you mean shop/client?"),
    ("n1", "'n1' is a node: write node:n1"),
    ("shop", "'shop' is a namespace: write shop/* for all of its pods"),
    ("ns/shop", "'ns/shop' is a namespace: write shop/* for all of its pods"),
    ("bare/*", "namespace bare has no pods here; bare/KEY=VALUE is a pod that need not exist"),
    ("*", "'*' is no endpoint: write NAMESPACE/* for all pods of a namespace"),
    ("localhost", "'localhost' is the pod itself: write self"),
    ("http://web:8080/path", "'http://web:8080/path' is a URL: name its host and its port, as in `web 8080`"),
    ("https://example.com", "'https://example.com' is a URL: name its host and its port, as in `example.com 443`"),
    ("example.com", "'example.com' is a DNS name: policies know addresses (semantics 3.8), so ask about those it has; a Service is NAMESPACE/svc/NAME"),
    ("*.example.com", "'*.example.com' is a DNS name: policies know addresses (semantics 3.8), so ask about those it has; a Service is NAMESPACE/svc/NAME"),
    ("10.1.0.300", "'10.1.0.300' is no address, and no block of addresses: write 203.0.113.9, 10.0.0.0/8 or fd00::/8"),
    ("10.1.0", "'10.1.0' is no address, and no block of addresses: write 203.0.113.9, 10.0.0.0/8 or fd00::/8"),
    ("10.1.0.*", "'10.1.0.*' is no address, and no block of addresses: write 203.0.113.9, 10.0.0.0/8 or fd00::/8"),
    ("10.1.0.1-10.1.0.9", "'10.1.0.1-10.1.0.9' is a range of addresses: write blocks, such as 10.0.0.0/24"),
    ("fe80::1%eth0", "'fe80::1%eth0' names a link: write the address without what follows the percent sign"),
    ("fd00::zz", "'fd00::zz' is no address, and no block of addresses: write 203.0.113.9, 10.0.0.0/8 or fd00::/8"),
    ("unknown/app=x", "there is no namespace 'unknown' here; a Namespace object of that name is enough to ask about it"),
    ("shop/app!=web", "'shop/app!=web': write labels as NAMESPACE/KEY=VALUE,KEY=VALUE; a pod has labels, not a selector"),
    ("shop/app in (a)", "'shop/app in (a)': write labels as NAMESPACE/KEY=VALUE,KEY=VALUE; a pod has labels, not a selector"),
    ("app=a,app=b", "'app=a,app=b': a pod has one value for label app, not a and b"),
    ("ingress/web", "'ingress/web': an Ingress sends nothing itself; name its controller's pods"),
    ("netpol/web", "'netpol/web': a NetworkPolicy is no end of a connection; write POD, NAMESPACE/POD, NAMESPACE/KIND/NAME, an address or node:NAME"),
    ("//", "'//' is no endpoint: write POD, NAMESPACE/POD, NAMESPACE/KIND/NAME, an address or node:NAME"),
    ("", "'' is no endpoint: write POD, NAMESPACE/POD, NAMESPACE/KIND/NAME, an address or node:NAME"),
]  # fmt: skip

DESTINATIONS = [
    ("web-0", "80", "denied  shop/deploy/api -> shop/web-0 TCP 80"),
    ("web-0:8080", None, "denied  shop/deploy/api -> shop/web-0 TCP 8080"),
    ("web-0:http", None, "denied  shop/deploy/api -> shop/web-0 http"),
    ("web-0:53/udp", None, "denied  shop/deploy/api -> shop/web-0 UDP 53"),
    ("[fd00::1]", "80", "denied  shop/deploy/api -> shop/web-1 (fd00::1) TCP 80"),
    ("[fd00::1]:80", None, "denied  shop/deploy/api -> shop/web-1 (fd00::1) TCP 80"),
    ("10.1.0.7:80", None, "denied  shop/deploy/api -> shop/web-0 (10.1.0.7) TCP 80"),
    ("svc/web", "80", "denied  shop/deploy/api -> shop/svc/web TCP 80"),
    ("services/web:80", None, "denied  shop/deploy/api -> shop/svc/web TCP 80"),
    ("web.shop", "80", "denied  shop/deploy/api -> shop/svc/web TCP 80"),
    ("web.shop.svc", "80", "denied  shop/deploy/api -> shop/svc/web TCP 80"),
    ("web.shop.svc.cluster.local", "80", "denied  shop/deploy/api -> shop/svc/web TCP 80"),
    ("web.shop.svc.example.org.:80", None, "denied  shop/deploy/api -> shop/svc/web TCP 80"),
    ("web-0.heads.shop.svc.cluster.local", "8080", "denied  shop/deploy/api -> shop/web-0 TCP 8080"),
    ("heads.shop.svc", "8080", "denied  shop/deploy/api -> shop/svc/heads TCP 8080"),
    ("client.heads.shop.svc", "8080", "'client.heads.shop.svc': shop/svc/heads has no pod client"),
    ("10.96.0.7", "80", "denied  shop/deploy/api -> shop/svc/web (10.96.0.7) TCP 80"),
    ("198.51.100.7", "80", "denied  shop/deploy/api -> 198.51.100.7 TCP 80"),
    ("198.51.100.7", "81", "allowed  shop/deploy/api -> 198.51.100.7 TCP 81"),
    ("node:n1", "8081", "denied  shop/deploy/api -> node:n1 TCP 8081"),
    ("node:n1:8082", None, "allowed  shop/deploy/api -> node:n1 TCP 8082"),
    ("shop/*", "80", "depends  shop/deploy/api -> shop/* TCP 80"),
    ("apiserver", "443", "allowed  shop/deploy/api -> apiserver TCP 443"),
    ("apiserver", "6443", "allowed  shop/deploy/api -> apiserver TCP 6443"),
    ("web-0:80", "90", "web-0:80: 80 is one port, and 90 another: write one of them"),
]  # fmt: skip


def told(source: str, destination: str, port: str | None) -> str:
    try:
        verdict = CLUSTER.check(source, destination, port, namespace="shop")
    except EndpointError as error:
        return str(error)
    return f"{verdict.decision}  {verdict.source} -> {verdict.destination} {verdict.port}"


@pytest.mark.parametrize(("text", "answer"), SOURCES)
def test_what_people_type_as_a_source(text: str, answer: str) -> None:
    found = told(text, "shop/web-0", "8080")

    assert found.removesuffix(" -> shop/web-0 TCP 8080") == answer


@pytest.mark.parametrize(("text", "port", "answer"), DESTINATIONS)
def test_what_people_type_as_a_destination(text: str, port: str | None, answer: str) -> None:
    assert told("shop/deploy/api", text, port) == answer


def test_self_is_the_pod_at_the_other_end_and_nothing_else() -> None:
    assert told("self", "self", "80") == "self is the pod at the other end: name that"
    assert told("self", "8.8.8.8", "80") == "self is the pod at the other end, and 8.8.8.8 is none"


def test_a_pod_with_the_name_of_a_word_is_meant_by_it() -> None:
    cluster = Cluster.from_objects([pod("self", "10.1.0.1", "app=client"), pod("web-0", "10.1.0.7")])

    assert cluster.check("shop/web-0", "self", 80, namespace="shop").destination == "shop/self"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("shop/-a=b", "'shop/-a=b': -a=b: name part must consist of alphanumeric characters"),
        ("shop/a=-b", "'shop/a=-b': a=-b: a valid label must be an empty string or consist of"),
        (f"shop/a={'b' * 64}", "must be no more than 63 bytes"),
        ("shop/A.B/c=d", "prefix part a lowercase RFC 1123 subdomain must consist of"),
    ],
)
def test_labels_of_a_pod_that_need_not_exist_are_those_that_an_api_server_takes(text: str, message: str) -> None:
    assert message in told(text, "shop/web-0", "8080")
