# SPDX-License-Identifier: Apache-2.0
"""Ends that are no pods: loopback, the internet as one word, sources behind a Service, policies of other kinds."""

from __future__ import annotations

import pytest

from podfence import Cluster, EndpointError, Options
from podfence.kube.objects import (
    IPBlock,
    Namespace,
    NetworkPolicy,
    Peer,
    Pod,
    PodTemplate,
    Requirement,
    Rule,
    Selector,
    Service,
    ServicePort,
)

APP = Selector((Requirement("app", "In", ("web",)),))
WEB = Pod(
    namespace="default", name="web", template=PodTemplate(labels={"app": "web"}, node="n1"), addresses=("10.1.0.1",)
)
NAMESPACE = Namespace(name="default", labels={"kubernetes.io/metadata.name": "default"})
CLOSED = NetworkPolicy(namespace="default", name="closed", policy_types=("Ingress", "Egress"))
OPEN_IN = NetworkPolicy(namespace="default", name="open-in", pod_selector=APP, ingress=(Rule(),))
NODE_PORT = Service(
    namespace="default",
    name="web",
    type="NodePort",
    selector={"app": "web"},
    ports=(ServicePort(80, 80, node_port=30080),),
)


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.9.10", "::1", "127.0.0.0/8"])
def test_loopback_never_leaves_the_pod_whatever_the_policies(address: str) -> None:
    """Semantics 7.1."""
    verdict = Cluster.from_objects([NAMESPACE, WEB, CLOSED]).check("web", address, 80)

    assert verdict.decision == "allowed"
    assert verdict.egress.semantics == "7.1"


def test_a_range_around_loopback_is_judged_without_it() -> None:
    verdict = Cluster.from_objects([NAMESPACE, WEB, CLOSED]).check("web", "0.0.0.0/0", 80)

    assert verdict.decision == "denied"


def test_a_single_bare_pod_that_the_outside_reaches_is_listed() -> None:
    (connection,) = Cluster.from_objects([NAMESPACE, WEB, OPEN_IN]).connectivity(destination="web")

    assert (str(connection.sources), str(connection.destinations)) == ("everything", "default/web")


def test_the_internet_is_listed_by_that_name() -> None:
    (connection,) = Cluster.from_objects([NAMESPACE, WEB]).connectivity(destination="internet")

    assert connection.destinations.internet
    assert str(connection.destinations) == "internet"


def test_a_service_that_may_hide_its_clients_depends_on_the_option_for_that() -> None:
    """Semantics 7.9."""
    verdict = Cluster.from_objects([NAMESPACE, WEB, CLOSED, NODE_PORT]).check("203.0.113.9", "svc/web", 80)

    assert verdict.decision == "depends"
    assert verdict.depends_on == "option service-source"
    assert [part.source for part in verdict.parts] == ["203.0.113.9", "the pod's own node", "another node"]


@pytest.mark.parametrize(("source", "decision"), [("client", "denied"), ("node", "depends")])
def test_the_option_settles_whose_address_a_service_shows(source: str, decision: str) -> None:
    options = Options().with_value("service_source", source)
    verdict = Cluster.from_objects([NAMESPACE, WEB, CLOSED, NODE_PORT], options).check("203.0.113.9", "svc/web", 80)

    assert verdict.decision == decision


def test_kind_and_name_alone_are_looked_up_in_the_own_namespace() -> None:
    cluster = Cluster.from_objects([NAMESPACE, WEB, NODE_PORT])

    assert cluster.check("po/web", "svc/web", 80).destination == "default/svc/web"


def test_a_namespace_called_like_a_kind_is_a_namespace() -> None:
    space = Namespace(name="svc", labels={"kubernetes.io/metadata.name": "svc"})
    pod = Pod(namespace="svc", name="web", addresses=("10.1.0.9",))

    assert (
        Cluster.from_objects([NAMESPACE, WEB, NODE_PORT, space, pod]).check("web", "svc/web", 80).destination
        == "svc/web"
    )


def test_a_bare_name_without_its_namespace_says_where_it_was_looked_up() -> None:
    with pytest.raises(
        EndpointError, match="there is no namespace 'default'; names without a namespace are looked up there"
    ):
        Cluster.from_objects([Namespace(name="shop", labels={})]).check("web", "db", 80)


def test_policies_of_other_kinds_are_named_as_left_out() -> None:
    cluster = Cluster.from_objects([NAMESPACE, WEB])
    cluster.ignored = {
        "ConfigMap": 3,
        "CiliumNetworkPolicy.cilium.io": 2,
        "AdminNetworkPolicy.policy.networking.k8s.io": 1,
    }

    assert [note.partition(" left out")[0] for note in cluster.notes] == [
        "1 AdminNetworkPolicy.policy.networking.k8s.io",
        "2 CiliumNetworkPolicy.cilium.io",
    ]


@pytest.mark.parametrize(("option", "rule"), [("icmp", "7.12"), ("ip_block_pods", "6.2"), ("own_node_egress", "7.4")])
def test_what_an_option_leaves_open_rests_on_the_options_own_rule(option: str, rule: str) -> None:
    blocks = NetworkPolicy(
        namespace="default",
        name="blocks",
        policy_types=("Egress",),
        egress=(Rule(peers=(Peer(ip_block=IPBlock("10.0.0.0/8")),)),) if option == "ip_block_pods" else (),
    )
    other = Pod(namespace="default", name="other", addresses=("10.1.0.2",))
    cluster = Cluster.from_objects([NAMESPACE, WEB, other, blocks], Options().with_value(option, "depends"))
    end, port = {"icmp": ("other", "icmp"), "ip_block_pods": ("other", "80"), "own_node_egress": ("node:n1", "80")}[
        option
    ]
    verdict = cluster.check("web", end, port)

    assert verdict.decision == "depends"
    assert verdict.egress.semantics == rule
    assert verdict.egress.options == (option,)


def test_only_options_that_have_a_say_are_named_as_left_open() -> None:
    other = Pod(namespace="default", name="other", addresses=("10.1.0.2",))
    options = Options.parse(["icmp=depends", "hairpin=depends", "ip-block-pods=depends", "own-node-egress=depends"])
    verdict = Cluster.from_objects([NAMESPACE, WEB, other, CLOSED], options).check("web", "other", "icmp")

    assert verdict.egress.options == ("icmp",)
    assert verdict.depends_on == "option icmp"
