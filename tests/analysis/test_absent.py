# SPDX-License-Identifier: Apache-2.0
"""Peers of rules of which nobody is in the input are listed as such, as far as they can mean anything."""

from __future__ import annotations

from typing import Literal

import pytest

from podfence import Cluster, Options
from podfence.kube.objects import (
    ContainerPort,
    IPBlock,
    Namespace,
    NetworkPolicy,
    Peer,
    PodTemplate,
    PolicyPort,
    Requirement,
    Rule,
    Selector,
    Workload,
)
from podfence.report import csv

NAME = "kubernetes.io/metadata.name"


def selector(text: str) -> Selector:
    return Selector(tuple(Requirement(key, "In", (value,)) for key, value in (x.split("=") for x in text.split(","))))


def workload(name: str, *ports: ContainerPort) -> Workload:
    template = PodTemplate(labels={"app": name}, ports=ports)
    return Workload(kind="Deployment", namespace="shop", name=name, template=template)


def policy(name: str, *, ingress: tuple[Rule, ...] = (), egress: tuple[Rule, ...] = (), app: str = "web",
           namespace: str = "shop") -> NetworkPolicy:  # fmt: skip
    types: tuple[Literal["Ingress", "Egress"], ...] = ("Ingress",) if ingress else ()
    types += ("Egress",) if egress else ()
    return NetworkPolicy(namespace=namespace, name=name, pod_selector=selector(f"app={app}"), ingress=ingress,
                         egress=egress, policy_types=types)  # fmt: skip


DNS = Peer(selector("k8s-app=kube-dns"), selector(f"{NAME}=kube-system"))


def block(cidr: str, *excepts: str) -> Peer:
    return Peer(ip_block=IPBlock(cidr, excepts))


UDP_53 = (PolicyPort("UDP", 53),)
TCP_80 = (PolicyPort("TCP", 80),)
HTTP = (PolicyPort("TCP", "http"),)
ALL_TCP = (PolicyPort("TCP"),)
ANY = Selector()
CLOSED = NetworkPolicy(namespace="shop", name="closed", pod_selector=selector("app=api"), policy_types=("Egress",))
GHOST = Peer(selector("app=ghost"))
DENY_DNS = NetworkPolicy(namespace="kube-system", name="deny", policy_types=("Ingress",))
DNS_BY_NAME = NetworkPolicy(namespace="kube-system", name="named", ingress=(Rule((), HTTP),), policy_types=("Ingress",))

ROWS = [
    ("a peer of another namespace", (policy("p", egress=(Rule((DNS,), UDP_53),)),), "shop/deploy/web -> pods k8s-app=kube-dns of kube-system (none here)  UDP 53"),
    ("the other end is known to deny it", (policy("p", egress=(Rule((DNS,), UDP_53),)), DENY_DNS), ""),
    ("a source", (policy("p", ingress=(Rule((GHOST,), TCP_80),)),), "pods app=ghost of shop (none here) -> shop/deploy/web  TCP 80"),
    ("rules of one peer are one line", (policy("p", ingress=(Rule((GHOST,), TCP_80), Rule((GHOST,), UDP_53))),), "pods app=ghost of shop (none here) -> shop/deploy/web  TCP 80; UDP 53"),
    ("two subjects are one line", (policy("p", ingress=(Rule((GHOST,), TCP_80),)), policy("q", ingress=(Rule((GHOST,), TCP_80),), app="api")), "pods app=ghost of shop (none here) -> shop/deploy/api, shop/deploy/web  TCP 80"),
    ("a named port of a source's rule is the subject's", (policy("p", ingress=(Rule((GHOST,), HTTP),)),), "pods app=ghost of shop (none here) -> shop/deploy/web  TCP 8080"),
    ("a named port of nobody stays a name", (policy("p", egress=(Rule((DNS,), HTTP),)),), "shop/deploy/web -> pods k8s-app=kube-dns of kube-system (none here)  TCP http"),
    ("a named port, and another rule for every port", (policy("p", egress=(Rule((DNS,), HTTP), Rule((DNS,), ALL_TCP))),), "shop/deploy/web -> pods k8s-app=kube-dns of kube-system (none here)  all TCP"),
    ("a named port, and another rule for every port of everybody", (policy("p", egress=(Rule((DNS,), HTTP),)), policy("q", egress=(Rule((), ALL_TCP),))), ""),
    ("a named port, and another rule for every port of the other protocol", (policy("p", egress=(Rule((DNS,), HTTP), Rule((), (PolicyPort("UDP"),)))),), "shop/deploy/web -> pods k8s-app=kube-dns of kube-system (none here)  TCP http"),
    ("a named port, and the other end is known to deny it", (policy("p", egress=(Rule((DNS,), HTTP),)), DENY_DNS), ""),
    ("a named port, and the other end admits one by name", (policy("p", egress=(Rule((DNS,), HTTP),)), DNS_BY_NAME), "shop/deploy/web -> pods k8s-app=kube-dns of kube-system (none here)  TCP http"),
    ("namespaces by label", (policy("p", ingress=(Rule((Peer(None, selector("team=x")),), TCP_80),)),), "pods of namespaces team=x (none here) -> shop/deploy/web  TCP 80"),
    ("any rule for everybody says it all", (policy("p", ingress=(Rule((GHOST,), TCP_80), Rule((), TCP_80))),), ""),
    ("a rule for some ports of everybody says it in part", (policy("p", ingress=(Rule((GHOST,)), Rule((), TCP_80))),), "pods app=ghost of shop (none here) -> shop/deploy/web  TCP 1-79,81-65535; all UDP; all SCTP; other protocols"),
    ("a rule about addresses holds every pod", (policy("p", egress=(Rule((DNS,), UDP_53), Rule((block("0.0.0.0/0", "10.0.0.0/8"),)), Rule((block("10.0.0.0/8"),), TCP_80))),), "shop/deploy/web -> pods k8s-app=kube-dns of kube-system (none here)  TCP 80; UDP 53"),
    ("a rule about addresses holds some pods", (policy("p", egress=(Rule((DNS,), UDP_53), Rule((block("10.0.0.0/8"),)))),), "shop/deploy/web -> pods k8s-app=kube-dns of kube-system (none here)  UDP 53"),
    ("every namespace, and all pods are here and open", (policy("p", ingress=(Rule((Peer(None, ANY),), TCP_80),)),), ""),
    ("every namespace, and not all pods are open", (policy("p", ingress=(Rule((Peer(None, ANY),), TCP_80),)), CLOSED), "pods of every namespace (also those not here) -> shop/deploy/web  TCP 80"),
    ("pods by label of every namespace, and only the own one is here", (policy("p", ingress=(Rule((Peer(selector("app=api"), ANY),), TCP_80),)),), "pods app=api of every namespace (also those not here) -> shop/deploy/web  TCP 80"),
    ("every namespace but some", (policy("p", ingress=(Rule((Peer(None, Selector((Requirement("env", "NotIn", ("prod",)),))),), TCP_80),)), CLOSED), "pods of namespaces env not in (prod) (also those not here) -> shop/deploy/web  TCP 80"),
    ("pods of every namespace as destinations", (policy("p", egress=(Rule((Peer(None, ANY),), UDP_53),)), policy("q", ingress=(Rule((GHOST,), TCP_80),), app="api")), "shop/deploy/web -> pods of every namespace (also those not here)  UDP 53\npods app=ghost of shop (none here) -> shop/deploy/api  TCP 80"),
    ("a rule for everybody says it of every namespace too", (policy("p", ingress=(Rule((Peer(None, ANY),), TCP_80), Rule((), TCP_80))), CLOSED), ""),
    ("a peer that is here", (policy("p", ingress=(Rule((Peer(selector("app=api")),), TCP_80),)),), ""),
    ("a policy that selects nobody", (policy("p", ingress=(Rule((GHOST,), TCP_80),), app="gone"),), ""),
]  # fmt: skip


def test_a_cluster_that_is_read_as_a_whole_has_no_pods_of_other_namespaces() -> None:
    own = policy("p", ingress=(Rule((Peer(selector("app=api"), ANY),), TCP_80),))

    assert told(cluster(own, settings=("world=closed",))) == ""


def cluster(*policies: NetworkPolicy, settings: tuple[str, ...] = ()) -> Cluster:
    web, api = workload("web", ContainerPort(8080, "TCP", "http")), workload("api")
    shop = Namespace(name="shop", labels={NAME: "shop"})
    return Cluster.from_objects([shop, web, api, *policies], Options.parse(settings))


def told(of: Cluster, **question: str) -> str:
    lines = of.overview(**question).lines  # type: ignore[arg-type]
    return "\n".join(f"{line.sources} -> {line.destinations}  {line.ports}" for line in lines if " here)" in str(line))


@pytest.mark.parametrize(("policies", "expected"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_peers_of_which_nobody_is_here_are_lines_of_the_list(
    policies: tuple[NetworkPolicy, ...], expected: str
) -> None:
    assert told(cluster(*policies)) == expected


BOTH = (policy("p", ingress=(Rule((GHOST,), TCP_80),), egress=(Rule((DNS,), UDP_53),)),)


@pytest.mark.parametrize(
    ("question", "lines"),
    [
        ({}, 2),
        ({"source": "shop/web"}, 1),
        ({"destination": "shop/web"}, 1),
        ({"source": "shop/api"}, 0),
        ({"source": "shop/api", "destination": "shop/web"}, 0),
        ({"port": "80"}, 1),
        ({"port": "53/udp"}, 1),
        ({"port": "81"}, 0),
        ({"absent": False}, 0),
    ],
)
def test_only_those_that_the_question_is_about_are_listed(question: dict[str, str], lines: int) -> None:
    asked = cluster(*BOTH)
    by_pods = [item for item in asked.pod_connections(**question) if "(none" in str(item)]  # type: ignore[arg-type]

    assert len(told(asked, **question).splitlines()) == lines
    assert len(by_pods) == lines


DNS_TEXT = "pods k8s-app=kube-dns of kube-system (none here)"


@pytest.mark.parametrize(
    ("rule", "row"),
    [
        (Rule((DNS,), UDP_53), f"shop/deploy/web,{DNS_TEXT},UDP,53,53,"),
        (Rule((DNS,), HTTP), f"shop/deploy/web,{DNS_TEXT},TCP,http,http,"),
    ],
    ids=["a number", "a name"],
)
def test_they_are_rows_of_csv_and_lines_of_single_pods(rule: Rule, row: str) -> None:
    asked = cluster(policy("p", egress=(rule,)))

    assert row in list(csv.connectivity(asked.connectivity()))
    assert row in list(csv.pods(asked.pod_connections()))


def test_they_are_selectors_in_documents() -> None:
    egress, ingress = sorted(cluster(*BOTH).connectivity().absent, key=lambda item: item.direction)

    assert (egress.peers.namespace, [str(term) for term in egress.peers.pod_selector]) == (
        "kube-system",
        ["k8s-app=kube-dns"],
    )
    assert (ingress.peers.namespace, str(ingress.ports), ingress.subjects.workloads) == (
        "shop",
        "TCP 80",
        ("shop/deploy/web",),
    )


def test_what_is_listed_is_what_check_says_of_such_a_pod() -> None:
    asked = cluster(*BOTH)

    assert asked.check("shop/web", "kube-system/k8s-app=kube-dns", "53/udp").allowed
    assert asked.check("shop/app=ghost", "shop/web", 80).allowed
    assert not asked.check("shop/app=ghost", "shop/web", 81).allowed


TO_DB = Peer(selector("app=db"))
ONE_OF_TWO = Selector((Requirement("app", "In", ("web", "job")),))
DENY_ALL = NetworkPolicy(namespace="shop", name="deny", policy_types=("Ingress", "Egress"))
FROM_ALL = NetworkPolicy(namespace="shop", name="all", ingress=(Rule((Peer(ANY),), TCP_80),), policy_types=("Ingress",))

WITHOUT_PODS = [
    ("both ends are selected", (policy("p", egress=(Rule((TO_DB,), TCP_80),)), policy("q", ingress=(Rule(),), app="db")), "everything -> shop/app=db  TCP 80\neverything except shop/app=web -> all pods  all ports\nshop/app=db, shop/other-pods -> any address  all ports"),
    ("the other end is not selected", (policy("p", egress=(Rule((DNS,), UDP_53),)), DENY_ALL), "shop/app=web -> pods k8s-app=kube-dns of kube-system (none here)  UDP 53"),
    ("a selector of all pods", (FROM_ALL, policy("p", ingress=(Rule(),))), "all pods -> any address  all ports\nall pods -> shop/other-pods  TCP 80\neverything -> shop/app=web  all ports"),
    ("a selector of two values", (DENY_ALL, NetworkPolicy(namespace="shop", name="p", pod_selector=ONE_OF_TWO, egress=(Rule((block("9.0.0.0/8"),)),), policy_types=("Egress",))), "shop/app=job, shop/app=web -> 9.0.0.0/8  all ports"),
    ("a label that only has to be there", (DENY_ALL, NetworkPolicy(namespace="shop", name="p", pod_selector=Selector((Requirement("app", "Exists"),)), ingress=(Rule(),), policy_types=("Ingress",))), "any address -> shop/app=*  all ports"),
    ("a label with a value that also has to be there", (DENY_ALL, NetworkPolicy(namespace="shop", name="p", pod_selector=Selector((Requirement("app", "In", ("web",)), Requirement("app", "Exists"))), ingress=(Rule(),), policy_types=("Ingress",))), "any address -> shop/app=web  all ports"),
    ("a label that may not be there", (NetworkPolicy(namespace="shop", name="p", pod_selector=Selector((Requirement("app", "DoesNotExist"),)), policy_types=("Ingress", "Egress")),), ""),
]  # fmt: skip


@pytest.mark.parametrize(("policies", "lines"), [row[1:] for row in WITHOUT_PODS], ids=[row[0] for row in WITHOUT_PODS])
def test_without_pods_the_list_is_about_pods_that_policies_select(
    policies: tuple[NetworkPolicy, ...], lines: str
) -> None:
    found = Cluster.from_objects(policies).overview()

    told = [f"{line.sources} -> {line.destinations}  {line.ports}" for line in found.lines]
    assert sorted(told) == lines.splitlines()
    assert (found.workloads, found.pods, found.policies) == (0, 0, len(policies))


def test_such_pods_are_in_no_list_of_a_whole_cluster_and_beside_no_pod_that_was_read() -> None:
    written = policy("p", egress=(Rule((TO_DB,), TCP_80),))

    assert not Cluster.from_objects([written], Options.parse(["world=closed"])).overview()
    assert not Cluster.from_objects([written]).overview(absent=False)
    assert "app=web" not in str(Cluster.from_objects([written, workload("api")]).overview())


def test_what_is_listed_without_pods_is_what_check_says() -> None:
    of = Cluster.from_objects([policy("p", egress=(Rule((TO_DB,), TCP_80),)), policy("q", ingress=(Rule(),), app="db")])

    lines = {(item.source, item.destination): str(item.ports) for item in of.pod_connections()}

    assert lines["shop/app=web", "shop/app=db"] == "TCP 80"
    assert of.check("shop/app=web", "shop/app=db", 80).allowed
    assert not of.check("shop/app=web", "shop/app=db", 81).allowed
    assert ("shop/app=web", "0.0.0.0/0") not in lines
