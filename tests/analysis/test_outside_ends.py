# SPDX-License-Identifier: Apache-2.0
"""Ends that are no pods: loopback, the internet as one word, sources behind a Service, policies of other kinds."""

from __future__ import annotations

import msgspec
import pytest

from podfence import Cluster, EndpointError, Options
from podfence.kube.objects import (
    Backend,
    ContainerPort,
    EndpointPort,
    EndpointSlice,
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
from podfence.policy.verdict import told

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
    assert told(verdict.depends_on) == "option service-source"
    assert [part.source for part in verdict.parts] == ["203.0.113.9", "the pod's own node", "another node"]


@pytest.mark.parametrize(("source", "decision"), [("client", "denied"), ("node", "depends")])
def test_the_option_settles_whose_address_a_service_shows(source: str, decision: str) -> None:
    options = Options().with_value("service_source", source)
    verdict = Cluster.from_objects([NAMESPACE, WEB, CLOSED, NODE_PORT], options).check("203.0.113.9", "svc/web", 80)

    assert verdict.decision == decision


DUAL = Pod(
    namespace="default",
    name="web",
    template=PodTemplate(labels={"app": "web"}, node="n1"),
    addresses=("10.1.0.1", "fd00::1"),
)
FROM_V6 = NetworkPolicy(
    namespace="default", name="v6", ingress=(Rule((Peer(ip_block=IPBlock("::/0")),)),), policy_types=("Ingress",)
)


@pytest.mark.parametrize("addresses", [("10.1.0.1", "fd00::1"), ("fd00::1", "10.1.0.1")])
@pytest.mark.parametrize("source", ["client", "node", "depends"])
def test_no_address_family_of_a_backend_is_forgotten(addresses: tuple[str, ...], source: str) -> None:
    """With `service-source=node` only the last address of a pod was asked about."""
    pod = msgspec.structs.replace(DUAL, addresses=addresses)
    options = Options().with_value("service_source", source)
    verdict = Cluster.from_objects([NAMESPACE, pod, FROM_V6, NODE_PORT], options).check("internet", "svc/web", 80)

    assert verdict.decision == "depends"
    assert told(verdict.depends_on).endswith("the address family")


def test_a_range_in_pieces_says_once_what_its_node_says() -> None:
    """Two lines about the node were repeated for each piece of the range."""
    pieces = tuple(Peer(ip_block=IPBlock(f"203.0.{number}.0/24")) for number in range(0, 20, 2))
    some = NetworkPolicy(namespace="default", name="some", ingress=(Rule(pieces),), policy_types=("Ingress",))
    verdict = Cluster.from_objects([NAMESPACE, WEB, some, NODE_PORT]).check("internet", "svc/web", 80)
    lines = [str(part) for part in verdict.parts]

    assert len(lines) == len(set(lines)) == 4
    assert told(verdict.depends_on) == "option service-source and the address"


def test_families_that_are_decided_alike_are_one_line() -> None:
    other = msgspec.structs.replace(DUAL, name="other", template=PodTemplate(), addresses=("10.1.0.2", "fd00::2"))
    only = NetworkPolicy(namespace="default", name="only", pod_selector=APP, policy_types=("Ingress",))
    service = msgspec.structs.replace(NODE_PORT, selector={}, type="ClusterIP")
    verdict = Cluster.from_objects([NAMESPACE, DUAL, other, only, service]).check("default/x=y", "svc/web", 80)

    assert [f"{part.decision} {part.destination} {part.port}" for part in verdict.parts] == [
        "allowed default/other TCP 80",
        "denied default/web TCP 80",
    ]
    assert told(verdict.depends_on) == "the destination pod"


def test_families_that_are_decided_differently_are_told_apart() -> None:
    source = msgspec.structs.replace(DUAL, name="source", template=PodTemplate(), addresses=("10.1.0.2", "fd00::2"))
    verdict = Cluster.from_objects([NAMESPACE, DUAL, source, FROM_V6]).check("source", "web", 80)

    assert [f"{part.decision} {part.port}" for part in verdict.parts] == [
        "denied TCP 80 over IPv4",
        "allowed TCP 80 over IPv6",
    ]


MANUAL = Service(namespace="default", name="manual", ports=(ServicePort(80, 80),))
MANUAL_SLICE = EndpointSlice(
    namespace="default",
    name="manual-1",
    service="manual",
    backends=(Backend(("10.1.0.1",), pod="web"),),
    ports=(EndpointPort(80),),
)


def test_an_address_that_two_pods_claim_is_one_pods_whatever_leads_to_it() -> None:
    """Semantics 8.6. By a Service it was the pod that was read last."""
    new = Pod(namespace="default", name="new", template=PodTemplate(), addresses=("10.1.0.1",), phase="Running")
    old = msgspec.structs.replace(WEB, phase="Pending")
    only = NetworkPolicy(namespace="default", name="only", pod_selector=APP, policy_types=("Ingress",))
    for objects in ([new, old], [old, new]):
        cluster = Cluster.from_objects([NAMESPACE, *objects, only, MANUAL, MANUAL_SLICE])
        asked = [cluster.check("default/x=y", end, 80) for end in ("10.1.0.1", "svc/manual")]

        assert [(verdict.decision, verdict.ingress.summary) for verdict in asked] == [
            ("allowed", "allowed by default (no policy selects default/new)")
        ] * 2


def test_an_endpoint_leads_to_the_pod_it_names_if_nobody_is_known_to_have_its_address() -> None:
    unknown = msgspec.structs.replace(WEB, addresses=())
    cluster = Cluster.from_objects([NAMESPACE, unknown, CLOSED, MANUAL, MANUAL_SLICE])

    assert cluster.check("default/x=y", "svc/manual", 80).decision == "denied"


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
        EndpointError, match="there is no namespace 'default' here; names without a namespace are looked up there"
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


def test_answers_assume_that_policies_of_other_kinds_decide_nothing() -> None:
    cluster = Cluster.from_objects([NAMESPACE, WEB], Options.parse(["world=closed"]))
    cluster.ignored = {"GlobalNetworkSet.crd.projectcalico.org": 2, "NetworkPolicy.crd.projectcalico.org": 1}

    others = "1 NetworkPolicy.crd.projectcalico.org"
    assert cluster.assumes == (
        "there are no NetworkPolicies except those that were read",
        f"policies of other kinds, which are not judged, neither deny nor allow anything: {others}",
    )


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
    assert verdict.egress.options == (option.replace("_", "-"),)


def test_only_options_that_have_a_say_are_named_as_left_open() -> None:
    other = Pod(namespace="default", name="other", addresses=("10.1.0.2",))
    options = Options.parse(["icmp=depends", "hairpin=depends", "ip-block-pods=depends", "own-node-egress=depends"])
    verdict = Cluster.from_objects([NAMESPACE, WEB, other, CLOSED], options).check("web", "other", "icmp")

    assert verdict.egress.options == ("icmp",)
    assert told(verdict.depends_on) == "option icmp"


def test_a_pod_has_one_address_of_each_family_for_check_and_list_alike() -> None:
    """Of two addresses, the list took any that matched, and `check` answered depends."""
    twice = Pod(namespace="default", name="twice", template=PodTemplate(), addresses=("10.1.0.9", "10.1.0.10"))
    first = Rule((Peer(ip_block=IPBlock("10.1.0.10/32")),))
    only = NetworkPolicy(
        namespace="default", name="only", pod_selector=APP, ingress=(first,), policy_types=("Ingress",)
    )
    cluster = Cluster.from_objects([NAMESPACE, WEB, twice, only])

    assert cluster.check("twice", "web", 80).decision == "denied"
    assert not list(cluster.pod_connections(source="twice", destination="web"))
    assert "only the first address of a family counts, because no pod has more than one: default/twice" in cluster.notes


def test_a_service_says_which_ports_of_its_backends_its_own_are() -> None:
    named = Pod(
        namespace="default",
        name="named",
        template=PodTemplate(labels={"app": "web"}, ports=(ContainerPort(8080, "TCP", "http"),)),
        addresses=("10.1.0.2",),
    )
    service = Service(
        namespace="default", name="web", selector={"app": "web"}, ports=(ServicePort(80, "http"), ServicePort(81, 9090))
    )
    cluster = Cluster.from_objects([NAMESPACE, named, service])

    assert cluster.check("named", "svc/web", 80).translation == "default/svc/web TCP 80 is TCP 8080 (http) of its pods"
    assert cluster.check("named", "svc/web").translation == (
        "default/svc/web TCP 80 is TCP 8080 (http) of its pods; default/svc/web TCP 81 is TCP 9090 of its pods"
    )
    assert not cluster.check("named", "named", 80).translation
