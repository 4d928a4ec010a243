# SPDX-License-Identifier: Apache-2.0
"""A connection followed through program and table: what is said of it, against a walk of the rules as they are written."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING, Final

import pytest

from podfence.api import Cluster
from podfence.dataplane.chains import Builder
from podfence.dataplane.compiler import Compiler
from podfence.dataplane.enforcer import Enforcer
from podfence.dataplane.links import Links, PodLink
from podfence.dataplane.ruleset import ChainBody, Ruleset
from podfence.dataplane.settings import Settings
from podfence.dataplane.tracing import differences, frame_differences, side
from podfence.kube.objects import Node
from podfence.nft.chain import Chain, Hook
from podfence.nft.element import goto
from podfence.policy.verdict import Direction
from podfence.sets import PortSet
from podfence.sets.addresses import family_of, parse_address
from tests.dataplane import dense
from tests.dataplane.simulate import Walk
from tests.dataplane.test_flows import ENDS, OWN
from tests.nft.fake import FakeRunner
from tests.policy.parts import pod, space

if TYPE_CHECKING:
    from collections.abc import Iterator

    from podfence.dataplane.program import NodeProgram
    from podfence.dataplane.ruleset import ElementKey
    from podfence.nft.element import Verdict


def pairs() -> Iterator[tuple[int, int]]:
    for source in ENDS:
        for destination in ENDS:
            if OWN not in (source, destination) and source != destination and family_of(source) == family_of(destination):  # fmt: skip
                yield source, destination


def made(random: Random, *, without_policies: bool = False) -> tuple[NodeProgram, Ruleset]:
    options = dense.options(random)
    objects = [item for item in dense.cluster(random) if not without_policies or item.key.kind != "NetworkPolicy"]
    program = Compiler(Cluster.from_objects(objects, options).model, "n1", shared_from=random.choice((256, 1, 2))).program  # fmt: skip
    return program, Builder(Settings()).build(program)


@pytest.mark.parametrize("seed", range(25))
def test_both_sides_together_admit_what_the_table_forwards(seed: int) -> None:
    program, ruleset = made(Random(seed))
    for source, destination in pairs():
        egress = side(program, Direction.EGRESS, source, destination)
        ingress = side(program, Direction.INGRESS, destination, source)
        assert egress.admitted & ingress.admitted == Walk(ruleset, source, destination).hook("forward")
        for found in (egress, ingress):
            assert found.key is None or found.chain in ruleset.chains


@pytest.mark.parametrize("start", range(0, 25, 5))
def test_where_a_table_does_otherwise_than_wanted_a_difference_is_told(start: int) -> None:
    told = 0
    for seed in range(start, start + 5):
        _, wanted = made(Random(seed))
        _, actual = made(Random(seed), without_policies=True)
        for source, destination in pairs():
            assert not list(differences(wanted, wanted, source, destination))
            if Walk(wanted, source, destination).hook("forward") != Walk(actual, source, destination).hook("forward"):
                assert list(differences(wanted, actual, source, destination))
                assert list(differences(actual, wanted, source, destination))
                told += 1
    assert told


@pytest.mark.parametrize("seed", range(25))
def test_an_element_that_is_missing_is_told_where_it_decides(seed: int) -> None:
    random = Random(seed)
    _, wanted = made(random)
    filled = sorted(name for name, body in wanted.sets.items() if body.elements)
    for name in random.sample(filled, min(len(filled), 5)):
        body = wanted.sets[name]
        gone = random.choice(sorted(body.elements, key=str))
        elements = {key: value for key, value in body.elements.items() if key != gone}
        actual = replace(wanted, sets={**wanted.sets, name: replace(body, elements=elements)})
        for source, destination in pairs():
            if Walk(wanted, source, destination).hook("forward") != Walk(actual, source, destination).hook("forward"):
                assert any(name in text for text in differences(wanted, actual, source, destination))


# Bound links


WEB, DB, NEW_NODE = (parse_address(text) for text in ("10.0.0.1", "10.0.0.2", "172.18.0.2"))
LINKED = Links(
    tuple(
        PodLink(f"veth{number}", "cni0", f"0a:00:00:00:00:0{number}", (address,), f"shop/{number}")
        for number, address in enumerate((WEB, DB), 1)
    ),
    frozenset({"cni0"}),
    tunnel_ports=frozenset({8472}),
)


def attached() -> Enforcer:
    nodes = (Node(name="n1", labels={}, addresses=("172.18.0.1",)), Node(name="n2", labels={}, addresses=("172.18.0.2",)))  # fmt: skip
    pods = (pod("web", "10.0.0.1", node="n1"), pod("db", "10.0.0.2", node="n1"))
    enforcer = Enforcer(FakeRunner(), "n1", Cluster.from_objects([space("shop"), *nodes, *pods]).model)
    enforcer.attach(LINKED)
    return enforcer


@pytest.mark.parametrize(
    ("name", "key", "told"),
    [
        ("pairs4", ("cni0", WEB), True),
        ("links", "cni0", False),
        ("local4", WEB, True),
        ("ends", "cni0", True),
        ("pairs4", ("cni0", DB), True),
    ],
)
def test_what_binds_a_link_is_compared_where_a_packet_meets_it(name: str, key: ElementKey, told: bool) -> None:
    wanted = attached().wanted
    body = wanted.sets[name]
    left = {item: value for item, value in body.elements.items() if item != key}
    assert len(left) < len(body.elements)
    actual = replace(wanted, sets={**wanted.sets, name: replace(body, elements=left)})
    found = list(differences(wanted, actual, WEB, DB))
    assert any(name in text for text in found) or not told
    assert not list(differences(wanted, wanted, WEB, DB))


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("bound4", ("veth1", "0a:00:00:00:00:01", WEB)),
        ("senders", "veth1"),
        ("receivers", "veth2"),
        ("ends", ("veth2", "0a:00:00:00:00:02")),
        ("taken4", DB),
    ],
)
def test_frames_are_compared_for_both_ports(name: str, key: ElementKey) -> None:
    wanted = attached().wanted_frames
    body = wanted.sets[name]
    left = {item: value for item, value in body.elements.items() if item != key}
    actual = replace(wanted, sets={**wanted.sets, name: replace(body, elements=left)})
    assert any(name in text for text in frame_differences(wanted, actual, (WEB, DB)))
    assert any(name in text for text in frame_differences(actual, wanted, (WEB, DB)))
    assert not list(frame_differences(wanted, wanted, (WEB, DB)))
    assert any("chain from_pod is gone" in text for text in frame_differences(wanted, Ruleset(), (WEB, DB)))


OTHER: Final = ChainBody(Chain("other", Hook("filter", "forward", 0)), ())
IN_LINKS: Final = {"cni0": goto("from_bridge"), "veth1": goto("unknown_source"), "veth2": goto("unknown_source")}


@pytest.mark.parametrize(
    ("chains", "sets", "found"),
    [
        ({"held": None}, {}, []),
        ({"from_link": None}, {}, ["chain from_link is gone"]),
        ({"from_link": ChainBody(Chain("from_link"), ())}, {}, ["chain from_link has other rules"]),
        ({"other": OTHER}, {}, ["chain other at the forward hook is not ours"]),
        ({"other": ChainBody(Chain("other"), ())}, {}, []),
        ({}, {"local4": None}, ["set or map local4 is gone"]),
        ({}, {"pairs4": {("cni0", DB): None}}, ["pairs4 has no cni0 . 10.0.0.1, and should"]),
        ({}, {"links": {}}, ["links has no cni0 (goto from_bridge), and should"]),
        ({}, {"links": IN_LINKS}, []),
        (
            {},
            {"links": {**IN_LINKS, "cni0": goto("held")}},
            ["links has cni0 (goto held), and should have it as goto from_bridge"],
        ),
        ({}, {"in4": {DB: goto("held")}}, ["in4 has 10.0.0.2 (goto held), and should not"]),
        ({}, {"podcidr4": {(WEB, DB): None}}, ["podcidr4 has 10.0.0.1, and should not", "podcidr4 has 10.0.0.2, and should not"]),
    ],
)  # fmt: skip
def test_what_is_not_as_wanted_is_told_in_a_sentence(
    chains: dict[str, ChainBody | None], sets: dict[str, dict[ElementKey, Verdict | None] | None], found: list[str]
) -> None:
    wanted = attached().wanted
    bodies = {name: replace(wanted.sets[name], elements=item) for name, item in sets.items() if item is not None}
    actual = Ruleset(
        {name: body for name, body in {**wanted.chains, **chains}.items() if body is not None},
        {name: bodies.get(name, body) for name, body in wanted.sets.items() if name in bodies or name not in sets},
    )
    assert sorted({*differences(wanted, actual, WEB, DB)}) == found


@pytest.mark.parametrize(("gone", "to_node"), [("own_node", True), ("tunnel_in", True), ("forward", False), ("stage_in", False)])  # fmt: skip
def test_of_the_hooks_those_are_compared_that_a_packet_meets(gone: str, to_node: bool) -> None:
    wanted = attached().wanted
    actual = replace(wanted, chains={name: body for name, body in wanted.chains.items() if name != gone})
    assert list(differences(wanted, actual, WEB, OWN, to_node=to_node)) == [f"chain {gone} is gone"]
    assert not list(differences(wanted, actual, WEB, OWN, to_node=not to_node))


def test_no_policy_opens_the_tunnels_of_nodes() -> None:
    program = attached().compiler.program
    found = side(program, Direction.EGRESS, WEB, NEW_NODE)
    assert PortSet.ALL - found.admitted == PortSet.single("UDP", 8472)
    assert side(program, Direction.EGRESS, WEB, DB).admitted == PortSet.ALL
