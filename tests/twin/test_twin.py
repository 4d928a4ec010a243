# SPDX-License-Identifier: Apache-2.0
"""The twin gives the answers that the specification's own tables and sentences give."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from podfence.kube.objects import KubeObject, NetworkPolicy, Peer, Pod, PolicyPort, Requirement, Rule
from podfence.policy.options import Options

from .addresses import parse_address
from .cast import (
    ALL,
    ANY_POD,
    CAST,
    HOST,
    ICMP,
    ME,
    OTHER,
    OUTSIDE,
    OUTSIDE_V6,
    TCP80,
    WEB,
    block,
    label,
    pod,
    policy,
    setting,
)
from .question import AddressEnd, Answer, NodeEnd, PodEnd, Traffic
from .selectors import requirement_holds
from .twin import Twin, allowed, egress_allowed, ingress_allowed

if TYPE_CHECKING:
    from podfence.kube.objects import Labels

    from .question import End

YES, NO, MAYBE = Answer.YES, Answer.NO, Answer.MAYBE


@pytest.mark.parametrize(
    ("types", "ingress", "egress", "has_ingress", "has_egress"),
    [
        ((), (), (), NO, YES),
        ((), (ALL,), (), YES, YES),
        ((), (), (ALL,), NO, YES),
        (("Ingress",), (), (ALL,), NO, YES),
        (("Egress",), (ALL,), (), YES, NO),
        (("Ingress", "Egress"), (), (), NO, NO),
        (("Ingress", "Egress"), (ALL,), (ALL,), YES, YES),
    ],
)
def test_policy_types_and_rules_have_the_effects_of_table_2_6(
    types: tuple[str, ...], ingress: tuple[Rule, ...], egress: tuple[Rule, ...], has_ingress: Answer, has_egress: Answer
) -> None:
    subject = NetworkPolicy(namespace="default", name="p", policy_types=types, ingress=ingress, egress=egress)  # type: ignore[arg-type]
    objects = [*CAST, subject]
    assert ingress_allowed(objects, OTHER, ME, TCP80, Options()) is has_ingress
    assert egress_allowed(objects, ME, OTHER, TCP80, Options()) is has_egress


@pytest.mark.parametrize(
    ("peers", "web", "other", "host", "node", "outside", "outside_v6"),
    [
        ((), YES, YES, YES, YES, YES, YES),
        ((Peer(pod_selector=ANY_POD),), YES, NO, NO, NO, NO, NO),
        ((Peer(namespace_selector=ANY_POD),), YES, YES, NO, NO, NO, NO),
        ((Peer(namespace_selector=ANY_POD, pod_selector=ANY_POD),), YES, YES, NO, NO, NO, NO),
        ((Peer(pod_selector=ANY_POD), block("0.0.0.0/0")), YES, YES, YES, YES, YES, NO),
        ((block("::/0"),), NO, NO, NO, NO, NO, YES),
        ((Peer(namespace_selector=label("team", "dev"), pod_selector=label("app", "web")),), NO, YES, NO, NO, NO, NO),
        ((Peer(namespace_selector=label("team", "dev"), pod_selector=label("app", "me")),), NO, NO, NO, NO, NO, NO),
        (
            (Peer(namespace_selector=label("team", "dev")), Peer(pod_selector=label("app", "web"))),
            YES,
            YES,
            NO,
            NO,
            NO,
            NO,
        ),
        ((Peer(namespace_selector=label("kubernetes.io/metadata.name", "default")),), YES, NO, NO, NO, NO, NO),
        ((block("10.0.0.0/16", "10.0.1.0/24"),), YES, NO, NO, NO, NO, NO),
        ((block("10.0.0.0/16", "10.0.1.0/24"), block("10.0.1.3/32")), YES, YES, NO, NO, NO, NO),
        ((block("172.18.0.2/32"),), NO, NO, YES, YES, NO, NO),
    ],
)
def test_peer_forms_admit_what_table_3_2_says(
    peers: tuple[Peer, ...], web: Answer, other: Answer, host: Answer, node: Answer, outside: Answer, outside_v6: Answer
) -> None:
    twin = Twin([*CAST, policy(Rule(peers))], Options())
    sources = (WEB, OTHER, HOST, NodeEnd("n2"), OUTSIDE, OUTSIDE_V6)
    assert [twin.allowed(source, ME, TCP80) for source in sources] == [web, other, host, node, outside, outside_v6]


@pytest.mark.parametrize(
    ("requirement", "absent", "listed", "different", "empty"),
    [
        (Requirement("k", "In", ("v",)), False, True, False, False),
        (Requirement("k", "NotIn", ("v",)), True, False, True, True),
        (Requirement("k", "Exists"), False, True, True, True),
        (Requirement("k", "DoesNotExist"), True, False, False, False),
        (Requirement("k", "In", ("",)), False, False, False, True),
        (Requirement("k", "In", ()), False, False, False, False),
        (Requirement("k", "NotIn", ()), True, True, True, True),
        (Requirement("k", "In", ("V",)), False, False, False, False),
    ],
)
def test_operators_have_the_truth_table_of_4_3(
    requirement: Requirement, absent: bool, listed: bool, different: bool, empty: bool
) -> None:
    cases: list[Labels] = [{"other": "v"}, {"k": "v"}, {"k": "w"}, {"k": ""}]
    assert [requirement_holds(requirement, labels) for labels in cases] == [absent, listed, different, empty]


@pytest.mark.parametrize(
    ("items", "settings", "tcp", "udp", "sctp"),
    [
        ((), (), [1, 53, 79, 80, 81, 65535], [1, 53, 79, 80, 81, 65535], [1, 53, 79, 80, 81, 65535]),
        ((PolicyPort(),), (), [1, 53, 79, 80, 81, 65535], [], []),
        ((PolicyPort("UDP"),), (), [], [1, 53, 79, 80, 81, 65535], []),
        ((PolicyPort("SCTP", 80),), (), [], [], [80]),
        ((PolicyPort("TCP", 80),), (), [80], [], []),
        ((PolicyPort("TCP", 79, 80), PolicyPort("UDP", 53)), (), [79, 80], [53], []),
        ((PolicyPort("TCP", 80, 80),), (), [80], [], []),
        ((PolicyPort("TCP", 79, 81),), ("end-port=first",), [79], [], []),
        ((PolicyPort("TCP", "http"),), (), [80, 81], [], []),
        ((PolicyPort("TCP", "http"),), ("init-ports=containers",), [80], [], []),
        ((PolicyPort("TCP", "dns"),), (), [], [], []),
        ((PolicyPort("UDP", "dns"),), (), [], [53], []),
        ((PolicyPort("TCP", "absent"),), (), [], [], []),
    ],
)
def test_ports_match_as_section_5_says(
    items: tuple[PolicyPort, ...], settings: tuple[str, ...], tcp: list[int], udp: list[int], sctp: list[int]
) -> None:
    twin = Twin([*CAST, policy(Rule(ports=items))], setting(*settings))
    numbers = [1, 53, 79, 80, 81, 65535]

    def open_ports(protocol: str) -> list[int]:
        return [number for number in numbers if twin.allowed(OUTSIDE, ME, Traffic(protocol, number)) is YES]  # type: ignore[arg-type]

    assert (open_ports("TCP"), open_ports("UDP"), open_ports("SCTP")) == (tcp, udp, sctp)


@pytest.mark.parametrize(
    ("peers", "settings", "web_8080", "web_80", "other_80", "outside_80"),
    [
        ((), (), YES, NO, YES, NO),
        ((), ("named-port-without-peer=own-namespace",), YES, NO, NO, NO),
        ((), ("named-port-without-peer=never",), NO, NO, NO, NO),
        ((block("0.0.0.0/0"),), (), YES, NO, YES, NO),
        ((block("0.0.0.0/0"),), ("named-port-without-peer=own-namespace",), YES, NO, NO, NO),
        ((block("0.0.0.0/0"),), ("ip-block-pods=never",), NO, NO, NO, NO),
        ((Peer(namespace_selector=ANY_POD),), ("named-port-without-peer=never",), YES, NO, YES, NO),
        ((Peer(namespace_selector=ANY_POD), block("0.0.0.0/0")), ("named-port-without-peer=never",), YES, NO, YES, NO),
    ],
)
def test_names_in_egress_rules_resolve_on_the_destination_as_5_4_and_5_7_say(
    peers: tuple[Peer, ...],
    settings: tuple[str, ...],
    web_8080: Answer,
    web_80: Answer,
    other_80: Answer,
    outside_80: Answer,
) -> None:
    twin = Twin([*CAST, policy(egress=[Rule(peers, (PolicyPort("TCP", "http"),))])], setting(*settings))
    asked: list[tuple[End, int]] = [(WEB, 8080), (WEB, 80), (OTHER, 80), (OUTSIDE, 80)]
    got = [twin.egress_allowed(ME, destination, Traffic("TCP", port)) for destination, port in asked]
    assert got == [web_8080, web_80, other_80, outside_80]


@pytest.mark.parametrize(
    ("peer", "address", "expected"),
    [
        (block("10.1.2.0/24"), "10.1.1.255", NO),
        (block("10.1.2.0/24"), "10.1.2.0", YES),
        (block("10.1.2.0/24"), "10.1.2.255", YES),
        (block("10.1.2.0/24"), "10.1.3.0", NO),
        (block("10.1.2.3/24"), "10.1.2.0", YES),
        (block("10.0.0.0/8", "10.1.0.0/16", "10.1.2.0/24"), "10.1.2.3", NO),
        (block("10.0.0.0/8", "10.1.0.0/16", "10.1.2.0/24"), "10.2.0.0", YES),
        (block("0.0.0.0/0"), "2001:db8::1", NO),
        (block("::/0"), "8.8.8.8", NO),
        (block("::/0"), "::ffff:8.8.8.8", NO),
        (block("8.8.8.8/32"), "::ffff:8.8.8.8", YES),
        (block("::ffff:8.8.8.0/120"), "8.8.8.8", YES),
    ],
)
def test_blocks_have_the_addresses_of_section_6(peer: Peer, address: str, expected: Answer) -> None:
    objects = [*CAST, policy(egress=[Rule((peer,))])]
    assert allowed(objects, ME, AddressEnd(address), TCP80, Options()) is expected


DENY_BOTH = (policy(name="in"), policy(name="out", egress=[]))


@pytest.mark.parametrize(
    ("source", "destination", "settings", "expected"),
    [
        (ME, ME, (), YES),  # 7.1
        (ME, AddressEnd("10.0.0.1"), (), YES),
        (ME, ME, ("self-traffic=policy",), NO),
        (ME, AddressEnd("127.0.0.1"), ("self-traffic=policy",), YES),
        (AddressEnd("::1"), ME, ("self-traffic=policy",), YES),
        (NodeEnd("n1"), ME, (), YES),  # 7.3
        (AddressEnd("172.18.0.1"), ME, (), YES),
        (AddressEnd("172.18.0.2"), ME, (), NO),  # 7.5
        (NodeEnd("n2"), ME, (), NO),
        (HOST, ME, (), NO),
        (HOST, WEB, (), YES),  # 7.6: on web's node
        (HOST, WEB, ("host-network=pod",), NO),
        (ME, NodeEnd("n1"), (), NO),  # 7.4
        (ME, NodeEnd("n1"), ("own-node-egress=allowed",), YES),
        (ME, NodeEnd("n2"), ("own-node-egress=allowed",), NO),
        (WEB, HOST, ("own-node-egress=allowed",), YES),
        (HOST, OTHER, (), YES),  # not a pod of default at either end
        (NodeEnd("n2"), OUTSIDE, (), YES),  # 1.3
    ],
)
def test_special_ends_of_section_7_when_everything_is_denied(
    source: End, destination: End, settings: tuple[str, ...], expected: Answer
) -> None:
    assert allowed([*CAST, *DENY_BOTH], source, destination, TCP80, setting(*settings)) is expected


@pytest.mark.parametrize(
    ("rules", "settings", "expected"),
    [
        (None, ("icmp=denied",), YES),
        ((), (), NO),
        ((ALL,), (), YES),
        ((Rule(ports=(PolicyPort(),)),), (), NO),
        ((ALL,), ("icmp=denied",), NO),
        ((), ("icmp=allowed",), YES),
    ],
)
def test_icmp_with_a_pod_follows_7_12(
    rules: tuple[Rule, ...] | None, settings: tuple[str, ...], expected: Answer
) -> None:
    policies = [] if rules is None else [policy(*rules)]
    assert allowed([*CAST, *policies], OUTSIDE, ME, ICMP, setting(*settings)) is expected


@pytest.mark.parametrize(
    ("source", "peer", "settings", "expected"),
    [
        (WEB, block("0.0.0.0/0"), ("ip-block-pods=never",), NO),
        (AddressEnd("10.0.0.2"), block("0.0.0.0/0"), ("ip-block-pods=never",), NO),
        (HOST, block("0.0.0.0/0"), ("ip-block-pods=never",), YES),
        (HOST, block("0.0.0.0/0"), ("ip-block-pods=never", "host-network=pod"), NO),
        (NodeEnd("n2"), block("0.0.0.0/0"), ("ip-block-nodes=never",), NO),
        (HOST, block("0.0.0.0/0"), ("ip-block-nodes=never",), NO),
        (OUTSIDE, block("0.0.0.0/0"), ("ip-block-pods=never", "ip-block-nodes=never"), YES),
        (AddressEnd("10.0.0.2"), Peer(pod_selector=label("app", "web")), (), YES),
        (HOST, Peer(namespace_selector=ANY_POD), ("host-network=pod",), YES),
    ],
)
def test_addresses_of_pods_and_nodes_follow_6_2_and_12_4(
    source: End, peer: Peer, settings: tuple[str, ...], expected: Answer
) -> None:
    assert allowed([*CAST, policy(Rule((peer,)))], source, ME, TCP80, setting(*settings)) is expected


UNKNOWN = PodEnd("default", "pending")


@pytest.mark.parametrize(
    ("peers", "settings", "expected"),
    [
        ((block("0.0.0.0/0"),), (), YES),
        ((block("0.0.0.0/0", "10.0.0.0/8"),), (), NO),
        ((block("10.0.0.0/8"),), (), NO),
        ((block("::/0"),), (), NO),
        ((block("10.0.0.0/8"),), ("ip-block-pods=never",), NO),
        ((block("10.0.0.0/8"), Peer(pod_selector=ANY_POD)), (), YES),
        ((block("10.0.0.0/8"), Peer(pod_selector=label("app", "web"))), (), NO),
        ((block("0.0.0.0/0"),), ("pod-families=dual",), YES),
    ],
)
def test_without_an_address_a_pod_is_in_no_part_of_a_family(
    peers: tuple[Peer, ...], settings: tuple[str, ...], expected: Answer
) -> None:
    objects = [*CAST, pod("pending", phase="Pending", node=""), policy(Rule(peers), on=label("app", "me"))]
    assert allowed(objects, UNKNOWN, ME, TCP80, setting(*settings)) is expected


@pytest.mark.parametrize(
    ("families", "peers", "expected"),
    [
        ("ipv6", (block("::/0"),), YES),
        ("ipv6", (block("0.0.0.0/0"),), NO),
        ("dual", (block("0.0.0.0/0"),), MAYBE),
        ("dual", (block("0.0.0.0/0"), block("::/0")), YES),
    ],
)
def test_families_are_assumed_where_no_end_tells_them(families: str, peers: tuple[Peer, ...], expected: Answer) -> None:
    objects: list[KubeObject] = [
        pod("pending"),
        pod("me", labels={"app": "me"}),
        policy(Rule(peers), on=label("app", "me")),
    ]
    assert ingress_allowed(objects, UNKNOWN, ME, TCP80, setting(f"pod-families={families}")) is expected


def test_a_dual_stack_pair_can_differ_by_family() -> None:
    objects: list[KubeObject] = [
        pod("me", "10.0.0.1", "fd00::1"),
        pod("web", "10.0.0.2", "fd00::2"),
        policy(Rule((block("::/0"),))),
    ]
    twin = Twin(objects, Options())
    me_v4, me_v6 = (PodEnd("default", "me", text) for text in ("10.0.0.1", "fd00::1"))
    assert twin.allowed(PodEnd("default", "web", "10.0.0.2"), me_v4, TCP80) is NO
    assert twin.allowed(PodEnd("default", "web", "fd00::2"), me_v6, TCP80) is YES
    assert twin.allowed(WEB, ME, TCP80) is MAYBE


@pytest.mark.parametrize(
    ("first", "second", "owner"),
    [
        (pod("a", "10.0.0.9"), pod("b", "10.0.0.9", phase="Pending", created="9"), "a"),
        (pod("a", "10.0.0.9"), pod("b", "10.0.0.9", terminating=True, created="9"), "a"),
        (pod("a", "10.0.0.9", terminating=True), pod("b", "10.0.0.9", phase="Pending"), "a"),
        (pod("a", "10.0.0.9", created="2026-01-02"), pod("b", "10.0.0.9", created="2026-01-01"), "a"),
        (pod("a", "10.0.0.9"), pod("b", "10.0.0.9"), "b"),
        (pod("a", "10.0.0.9", phase="Pending"), pod("b", "10.0.0.9", phase="Succeeded"), "a"),
        (pod("a", "10.0.0.9", terminating=True), pod("b", "10.0.0.9", phase="Failed"), "a"),
    ],
)
def test_an_address_belongs_to_the_pod_that_8_6_prefers(first: Pod, second: Pod, owner: str) -> None:
    place = Twin([first, second], Options()).place_of_address(parse_address("10.0.0.9"))
    assert place.pod is not None
    assert place.pod.name == owner


def test_finished_pods_are_not_there_and_pods_of_nobody_are_outside() -> None:
    objects = [*CAST, pod("done", "10.0.0.7", phase="Succeeded"), policy(Rule((Peer(pod_selector=ANY_POD),)))]
    assert allowed(objects, AddressEnd("10.0.0.7"), ME, TCP80, Options()) is NO
    with pytest.raises(LookupError, match="no live pod default/done"):
        allowed(objects, PodEnd("default", "done"), ME, TCP80, Options())


def test_a_terminating_pod_is_still_protected_and_still_a_peer() -> None:
    leaving = pod("leaving", "10.0.0.7", terminating=True)
    twin = Twin([*CAST, leaving, policy(Rule((Peer(pod_selector=ANY_POD),)))], Options())
    assert twin.allowed(PodEnd("default", "leaving"), ME, TCP80) is YES
    assert twin.allowed(OUTSIDE, PodEnd("default", "leaving"), TCP80) is NO


def test_deleting_the_last_policy_restores_allow_all() -> None:
    assert allowed([*CAST, *DENY_BOTH], WEB, ME, TCP80, Options()) is NO
    assert allowed(CAST, WEB, ME, TCP80, Options()) is YES


def test_rules_of_several_policies_are_joined() -> None:
    one = policy(Rule((Peer(pod_selector=label("app", "web")),)), name="one")
    two = policy(Rule((block("203.0.113.0/24"),)), name="two")
    twin = Twin([*CAST, one, two], Options())
    assert [twin.allowed(source, ME, TCP80) for source in (WEB, OUTSIDE, OTHER)] == [YES, YES, NO]


def test_peers_and_ports_of_different_rules_do_not_cross() -> None:
    one = Rule((Peer(pod_selector=label("app", "web")),), (PolicyPort("TCP", 80),))
    two = Rule((block("203.0.113.0/24"),), (PolicyPort("TCP", 443),))
    twin = Twin([*CAST, policy(one, two)], Options())
    asked: list[tuple[End, int]] = [(WEB, 80), (WEB, 443), (OUTSIDE, 80), (OUTSIDE, 443)]
    assert [twin.allowed(source, ME, Traffic("TCP", port)) for source, port in asked] == [YES, NO, NO, YES]
