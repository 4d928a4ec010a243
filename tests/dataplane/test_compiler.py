# SPDX-License-Identifier: Apache-2.0
"""What a node's program holds, which rule is credited, and what an event compiles again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from podfence.api import Cluster
from podfence.cluster.state import Event, EventType
from podfence.dataplane.compiler import Compiler
from podfence.dataplane.groups import MOST_SHARED
from podfence.dataplane.program import GroupKey, ProgramChange
from podfence.errors import OptionError
from podfence.kube.objects import ContainerPort, Peer, Pod, PodTemplate, PolicyPort
from podfence.policy.identity import RuleId
from podfence.policy.options import Options
from podfence.policy.verdict import Direction
from podfence.sets import PortSet
from podfence.sets.addresses import parse_address
from tests.policy.parts import ANYONE, app, block, pod, policy, rule, space

if TYPE_CHECKING:
    from podfence.dataplane.program import GroupProgram, PortProgram
    from podfence.kube.objects import KubeObject

WEB = pod("web", "10.0.0.1", node="n1")
DB = pod("db", "10.0.0.2", node="n1")
API = pod("api", "10.0.0.3", node="n2")
FROM_API = rule(Peer(pod_selector=app("api")))
FIRST, SECOND = (RuleId("NetworkPolicy", "shop", "p", Direction.INGRESS, index) for index in (0, 1))


def compiled(*objects: KubeObject, shared_from: int = 256) -> Compiler:
    return Compiler(Cluster.from_objects([space("shop"), *objects]).model, "n1", shared_from=shared_from)


def only(compiler: Compiler) -> GroupProgram:
    (found,) = compiler.program.groups.values()
    return found


def credit(program: PortProgram, protocol: str, port: int) -> RuleId:
    (found,) = [name for ports, name in program if PortSet.single(protocol, port) <= ports]
    return found


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("icmp=depends", "a packet passes or it does not"),
        ("hairpin=depends", "a packet passes or it does not"),
        ("own_node_egress=depends", "a packet passes or it does not"),
        ("ip_block_pods=depends", "a packet passes or it does not"),
        ("ip_block_pods=never", "the kernel matches an address, whoever has it"),
        ("ip_block_nodes=never", "the kernel matches an address, whoever has it"),
        ("host_network=pod", "policies cannot tell them apart"),
        ("self_traffic=policy", "never leaves it"),
    ],
)
def test_an_option_that_no_kernel_can_enforce_is_refused(setting: str, says: str) -> None:
    cluster = Cluster.from_objects([WEB], Options.parse([setting]))
    with pytest.raises(OptionError, match=f"option {setting} can be asked about and not enforced: .*{says}"):
        Compiler(cluster.model, "n1")


def test_only_local_running_pods_of_the_pod_network_are_known() -> None:
    done = Pod(
        namespace="shop", name="done", template=PodTemplate(node="n1"), addresses=("10.0.0.9",), phase="Succeeded"
    )
    host = pod("host", "172.18.0.1", node="n1", host=True)
    program = compiled(WEB, API, done, host, policy("p", ingress=[])).program

    assert program.known == {parse_address("10.0.0.1")}
    assert program.group_of[Direction.INGRESS].keys() == program.known
    assert program.group_of[Direction.EGRESS] == {}


def test_a_host_network_pod_is_no_peer() -> None:
    host = pod("host", "172.18.0.1", node="n2", host=True)
    found = only(compiled(WEB, API, host, policy("p", app("web"), ingress=[rule(Peer(pod_selector=ANYONE))])))
    assert found.peers.keys() == {parse_address("10.0.0.1"), parse_address("10.0.0.3")}


def test_an_address_is_a_peer_of_the_pod_that_has_it_now() -> None:
    old = Pod(namespace="shop", name="api", template=PodTemplate(labels={"app": "api"}), addresses=("10.0.0.7",), phase="Running", terminating=True)  # fmt: skip
    new = pod("other", "10.0.0.7")
    cluster = Cluster.from_objects([space("shop"), WEB, old, policy("p", app("web"), ingress=[FROM_API])])
    compiler = Compiler(cluster.model, "n1")
    assert only(compiler).peers.keys() == {parse_address("10.0.0.7")}

    compiler.follow(cluster.apply(Event(EventType.ADDED, new)))
    assert only(compiler).peers == {}

    compiler.follow(cluster.apply(Event(EventType.DELETED, new)))
    assert only(compiler).peers.keys() == {parse_address("10.0.0.7")}


@pytest.mark.parametrize("shared_from", [256, 1])
def test_of_two_rules_that_admit_the_same_the_first_is_credited_however_they_name_the_peer(shared_from: int) -> None:
    tcp = [PolicyPort("TCP", 80)]
    for one in (FROM_API.peers, block("10.0.0.0/24"), None):
        peers = one if isinstance(one, tuple) else (one,) if one else ()
        both = [rule(*peers, ports=tcp), rule(Peer(pod_selector=app("api")))]
        found = only(compiled(WEB, API, policy("p", app("web"), ingress=both), shared_from=shared_from))
        programs = (
            [found.peers[parse_address("10.0.0.3")]] if shared_from > 1 else [program for _, program in found.shared]
        )
        for program in programs:
            if not isinstance(one, Peer) or shared_from > 1:
                assert credit(program, "TCP", 80) == FIRST, one
            assert credit(program, "TCP", 81) == SECOND, one


def test_ranges_are_disjoint_and_hold_what_their_blocks_admit() -> None:
    rules = [
        rule(block("10.0.0.0/30"), ports=[PolicyPort("TCP", 80)]),
        rule(block("10.0.0.2/31"), ports=[PolicyPort("TCP", 80), PolicyPort("TCP", 81)]),
        rule(ports=[PolicyPort("UDP", 53)]),
    ]
    found = only(compiled(WEB, policy("p", app("web"), ingress=rules)))
    first, middle, last = map(parse_address, ("10.0.0.0", "10.0.0.2", "10.0.0.3"))
    (table,) = found.ranges

    assert [(a, b) for a, b, _ in table.items] == [(first, middle - 1), (middle, last)]
    assert credit(table.at(last), "TCP", 80) == FIRST
    assert credit(table.at(last), "TCP", 81) == SECOND
    assert credit(found.anywhere, "UDP", 53) == SECOND._replace(index=2)
    assert table.at(first - 1) == table.at(last + 1) == ()


def test_addresses_side_by_side_that_are_admitted_the_same_are_one_range() -> None:
    tls = [PolicyPort("TCP", 443)]
    rules = [rule(ports=tls), rule(block("10.0.0.0/30"), ports=[PolicyPort("TCP", 80)]), rule(block("10.0.0.0/31"), ports=tls)]  # fmt: skip
    (table,) = only(compiled(WEB, policy("p", app("web"), ingress=rules))).ranges
    assert [(a, b) for a, b, _ in table.items] == [tuple(map(parse_address, ("10.0.0.0", "10.0.0.3")))]


@pytest.mark.parametrize(
    ("inside", "addresses"),
    [
        (block("10.0.0.0/30"), {"10.0.0.3"}),
        (block("fd00::/126"), {"fd00::3"}),
        (block("10.9.0.0/16"), set()),
        (Peer(pod_selector=app("api")), {"10.0.0.3", "fd00::3", "10.0.1.3", "fd00::1:3"}),
        (None, {"10.0.0.3", "fd00::3", "10.0.1.3", "fd00::1:3"}),
    ],
)
def test_a_name_of_a_port_is_looked_up_on_the_pods_that_a_rule_means(inside: Peer | None, addresses: set[str]) -> None:
    named = [ContainerPort(80, "TCP", "http")]
    apis = [pod(f"api-{n}", f"10.0.{n}.3", f"fd00::{n}:3", labels={"app": "api"}, ports=named) for n in (0, 1)]
    rules = [rule(*([inside] if inside else []), ports=[PolicyPort("TCP", "http")])]
    found = only(compiled(WEB, DB, *apis, policy("p", app("web"), egress=rules)))
    assert found.peers.keys() == set(map(parse_address, addresses))


@pytest.mark.parametrize(("value", "peers"), [("any-pod", {"10.0.0.3", "10.0.0.4"}), ("own-namespace", {"10.0.0.3"}), ("never", set())])  # fmt: skip
def test_a_name_of_a_port_without_peers_means_the_pods_that_the_option_says(value: str, peers: set[str]) -> None:
    named = [ContainerPort(80, "TCP", "http")]
    pods = [pod("api", f"10.0.0.{n}", namespace=name, ports=named) for n, name in ((3, "shop"), (4, "other"))]
    rules = [rule(ports=[PolicyPort("TCP", "http")])]
    objects: list[KubeObject] = [space("shop"), space("other"), WEB, *pods, policy("p", app("web"), egress=rules)]
    cluster = Cluster.from_objects(objects, Options.parse([f"named_port_without_peer={value}"]))
    assert only(Compiler(cluster.model, "n1")).peers.keys() == set(map(parse_address, peers))


@pytest.mark.parametrize("shared_from", [256, 1])
def test_a_pod_whose_name_of_a_port_means_another_number_is_listed_with_that_one(shared_from: int) -> None:
    def api(number: int) -> Pod:
        return pod("api", "10.0.0.3", node="n2", ports=[ContainerPort(number, "TCP", "http")])

    rules = [rule(ports=[PolicyPort("TCP", "http")])]
    others: list[KubeObject] = [space("shop"), WEB, policy("p", app("web"), egress=rules)]
    cluster = Cluster.from_objects([*others, api(80)])
    compiler = Compiler(cluster.model, "n1", shared_from=shared_from)
    compiler.follow(cluster.apply(Event(EventType.MODIFIED, api(81))))
    fresh = Cluster.from_objects([*others, api(81)])
    assert compiler.program == Compiler(fresh.model, "n1", shared_from=shared_from).program


def test_what_is_admitted_is_in_the_order_of_the_rules_and_not_of_their_ports() -> None:
    rules = [rule(ports=[PolicyPort("TCP", 90 - number)]) for number in range(3)]
    found = only(compiled(WEB, policy("p", app("web"), ingress=rules)))
    assert [name.index for _, name in found.anywhere] == [0, 1, 2]


def test_what_an_earlier_rule_admits_from_anywhere_is_not_credited_to_a_block() -> None:
    tcp = [PolicyPort("TCP", 80)]
    rules = [rule(ports=tcp), rule(block("10.0.0.0/30"), ports=[*tcp, PolicyPort("TCP", 81)]), rule(block("10.0.0.8/30"), ports=tcp)]  # fmt: skip
    found = only(compiled(WEB, policy("p", app("web"), ingress=rules)))
    (table,) = found.ranges

    assert [(a, b) for a, b, _ in table.items] == [tuple(map(parse_address, ("10.0.0.0", "10.0.0.3")))]
    assert table.at(parse_address("10.0.0.1")) == ((PortSet.single("TCP", 81), SECOND),)


def test_a_pod_of_a_known_class_compiles_only_the_groups_that_list_it() -> None:
    cluster = Cluster.from_objects(
        [space("shop"), WEB, DB, API, policy("a", app("web"), ingress=[FROM_API]), policy("b", app("db"), ingress=[])]
    )
    compiler = Compiler(cluster.model, "n1")
    before = dict(compiler.program.groups)
    second = pod("api-2", "10.0.0.4", labels={"app": "api"}, node="n2")
    change = compiler.follow(cluster.apply(Event(EventType.ADDED, second)))

    after = compiler.program.groups
    assert [key.policies[0].name for key in change.groups] == ["a"]
    assert [key.policies[0].name for key, item in before.items() if after[key] is item] == ["b"]
    assert change == ProgramChange(change.groups)


def test_an_event_that_is_about_nothing_here_changes_nothing() -> None:
    cluster = Cluster.from_objects([space("shop"), WEB, API, policy("a", app("web"), ingress=[])])
    compiler = Compiler(cluster.model, "n1")
    change = compiler.follow(cluster.apply(Event(EventType.DELETED, API)))
    assert not change


def test_pods_whose_names_of_ports_resolve_differently_are_different_groups() -> None:
    pods = [
        pod("web-1", "10.0.0.1", labels={"app": "web"}, node="n1", ports=[ContainerPort(80, "TCP", "http")]),
        pod("web-2", "10.0.0.2", labels={"app": "web"}, node="n1", ports=[ContainerPort(81, "TCP", "http")]),
    ]
    rules = [rule(ports=[PolicyPort("TCP", "http")]), rule(ports=[PolicyPort("TCP", 9090)])]
    found = compiled(*pods, policy("p", ingress=rules)).program
    admitted = {
        key.ports: program.anywhere[0][0] for key, program in found.groups.items() if isinstance(key, GroupKey)
    }  # fmt: skip
    assert admitted == {
        (("http", "TCP", 80),): PortSet.single("TCP", 80),
        (("http", "TCP", 81),): PortSet.single("TCP", 81),
    }


def test_a_group_asks_a_bounded_number_of_sets_and_lists_the_smaller_of_more() -> None:
    count = MOST_SHARED + 3
    pods = [pod(f"p{n}-{i}", f"10.1.{n}.{i + 1}", labels={"app": f"a{n}"}) for n in range(count) for i in range(n + 2)]
    rules = [rule(Peer(pod_selector=app(f"a{n}")), ports=[PolicyPort("TCP", 80 + n)]) for n in range(count)]
    found = only(compiled(WEB, *pods, policy("p", app("web"), ingress=rules), shared_from=2))

    listed = {parse_address(item.addresses[0]) for item in pods if int(item.template.labels["app"][1:]) < 3}
    assert len(found.shared) == MOST_SHARED
    assert found.peers.keys() == listed


@pytest.mark.parametrize(
    ("pods", "anywhere", "most_listed", "is_set"),
    [
        (20, 0, 60, False),
        (20, 0, 59, True),
        (20, 2, 100, False),
        (20, 2, 99, True),
        (16, 0, 0, True),
        (15, 0, 0, False),
    ],
)
def test_pods_are_a_set_where_a_group_would_list_too_many_ports_of_theirs_unless_they_are_few(
    pods: int, anywhere: int, most_listed: int, is_set: bool
) -> None:
    apis = [pod(f"api-{number}", f"10.1.0.{number + 1}", labels={"app": "api"}) for number in range(pods)]
    rules = [rule(Peer(pod_selector=app("api")), ports=[PolicyPort("TCP", port) for port in (80, 82, 84)])]
    rules += [rule(ports=[PolicyPort("UDP", 53 + 2 * number)]) for number in range(anywhere)]
    cluster = Cluster.from_objects([space("shop"), WEB, *apis, policy("p", app("web"), ingress=rules)])
    found = only(Compiler(cluster.model, "n1", most_listed=most_listed))
    assert (len(found.shared), len(found.peers)) == ((1, 0) if is_set else (0, pods))


def test_a_policy_is_late_while_a_set_that_it_asks_lacks_pods() -> None:
    apis = [pod(f"api-{number}", f"10.1.0.{number + 1}", labels={"app": "api"}) for number in range(3)]
    other = policy("other", app("db"), ingress=[])
    cluster = Cluster.from_objects([space("shop"), WEB, DB, *apis, other])
    compiler = Compiler(cluster.model, "n1", shared_from=1, at_once=2)
    late = policy("late", app("web"), ingress=[FROM_API])
    compiler.follow(cluster.apply(Event(EventType.ADDED, late)))
    assert compiler.late() == {late.key}
    compiler.catch_up()
    assert not compiler.is_behind
    assert not compiler.late()


def test_a_set_that_gets_smaller_before_all_of_it_came_gets_no_address_that_is_gone() -> None:
    apis = [pod(f"api-{number}", f"10.1.0.{number + 1}", labels={"app": "api"}) for number in range(4)]
    cluster = Cluster.from_objects([space("shop"), WEB, *apis])
    compiler = Compiler(cluster.model, "n1", shared_from=1, at_once=2)
    compiler.follow(cluster.apply(Event(EventType.ADDED, policy("p", app("web"), ingress=[FROM_API]))))
    (addresses,) = compiler.program.sets.values()
    left = next(item for item in apis if parse_address(item.addresses[0]) not in addresses)
    for item in apis:
        if item is not left:
            compiler.follow(cluster.apply(Event(EventType.DELETED, item)))
    assert not compiler.is_behind
    assert list(compiler.program.sets.values()) == [{parse_address(left.addresses[0])}]
