# SPDX-License-Identifier: Apache-2.0
"""Where a policy may lie that nobody has read, a listing says so, and what the policies say that were read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from podfence.api import Cluster
from podfence.cluster.state import ClusterState
from podfence.kube.load import Loaded
from podfence.kube.objects import Peer, Selector
from podfence.kube.omissions import Gap
from podfence.policy.options import Options
from podfence.policy.verdict import Matter
from podfence.report import csv, table
from tests.policy.parts import app, label, pod, policy, rule, space

if TYPE_CHECKING:
    from podfence.kube.objects import KubeObject

EVERYWHERE = Gap("chart c is not rendered", "--helm c")
IN_SHOP = Gap("db.yaml is refused", "", frozenset({"shop"}))
ELSEWHERE = Gap("x.yaml is refused", "", frozenset({"nowhere"}))
DNS = Peer(label("k8s-app", "dns"), label("kubernetes.io/metadata.name", "kube-system"))
OBJECTS: list[KubeObject] = [
    space("shop"),
    space("dev"),
    pod("web", "10.0.0.1"),
    pod("db", "10.0.0.2"),
    pod("ci", "10.0.0.3", namespace="dev"),
    policy("db", app("db"), ingress=[rule(Peer(app("web")))]),
    policy(
        "ci",
        Selector(),
        namespace="dev",
        ingress=[],
        egress=[rule(Peer(namespace_selector=label("kubernetes.io/metadata.name", "shop"))), rule(DNS)],
    ),
]
UNREAD = "depends on policies that were not read"
READ = "; what was read allows it"


def cluster(*gaps: Gap, settings: tuple[str, ...] = (), objects: list[KubeObject] = OBJECTS) -> Cluster:
    return Cluster(ClusterState(objects), Options.parse(list(settings)), read=Loaded((), (), {}, gaps=gaps))


ROWS: list[tuple[str, tuple[Gap, ...], dict[tuple[str, str], set[str]]]] = [
    ("nowhere that matters", (ELSEWHERE,), {("shop/web", "shop/db"): {""}, ("shop/db", "dev/ci"): set()}),
    ("everywhere", (EVERYWHERE,), {
        ("shop/web", "shop/db"): {UNREAD + READ},
        ("shop/db", "dev/ci"): {UNREAD},
    }),
    ("in one namespace", (IN_SHOP,), {
        ("shop/web", "shop/db"): {UNREAD + READ},
        ("dev/ci", "shop/db"): {UNREAD},
        ("dev/ci", "shop/web"): {UNREAD + READ},
        # What dev denies no policy of shop can allow.
        ("shop/web", "dev/ci"): set(),
    }),
    ("several", (EVERYWHERE, IN_SHOP), {("shop/web", "shop/db"): {UNREAD + READ}}),
    ("towards the outside", (IN_SHOP,), {
        ("shop/db", "0.0.0.0/0"): {UNREAD + READ},
        ("0.0.0.0/0", "shop/db"): {UNREAD},
        ("dev/ci", "0.0.0.0/0"): set(),
    }),
]  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_a_connection_depends_on_policies_that_may_turn_it(
    row: tuple[str, tuple[Gap, ...], dict[tuple[str, str], set[str]]],
) -> None:
    _, gaps, expected = row
    found = list(cluster(*gaps).pod_connections())

    said = {pair: {item.depends for item in found if (item.source, item.destination) == pair} for pair in expected}

    assert said == expected


def test_what_is_open_because_of_something_else_says_both() -> None:
    found = cluster(IN_SHOP, settings=("icmp=depends",)).pod_connections(
        source="web", destination="db", namespace="shop"
    )

    assert {f"{UNREAD}; what was read says: depends on icmp", UNREAD + READ} == {item.depends for item in found}


def test_documents_name_what_was_not_read_as_data() -> None:
    answer = cluster(EVERYWHERE, IN_SHOP).connectivity()

    assert [(item.what, item.text, item.supply) for item in answer.unknown] == [
        (Matter.POLICIES, f"policies that were not read: {EVERYWHERE.what}", EVERYWHERE.remedy),
        (Matter.POLICIES, f"policies that were not read: {IN_SHOP.what}", ""),
    ]
    assert all(item.depends.startswith(UNREAD) for item in answer)


def test_every_row_of_csv_says_that_it_depends() -> None:
    _, *rows = csv.connectivity(cluster(EVERYWHERE).connectivity())

    assert rows
    assert all(UNREAD in row for row in rows)


def test_the_grid_has_question_marks_where_a_policy_may_lie() -> None:
    grid = cluster(IN_SHOP).matrix()

    # A pod reaches itself, whatever policies say.
    assert grid.names == ("dev/ci", "shop/db", "shop/web")
    assert grid.rows == (".??", "X.?", "X?.")


def test_peers_of_which_none_is_here_depend_too() -> None:
    (absent,) = cluster(EVERYWHERE).connectivity(namespaces=["dev"]).absent

    assert absent.depends == UNREAD + READ


@pytest.mark.parametrize(
    ("gap", "whose"),
    [(EVERYWHERE, "all pods"), (IN_SHOP, "shop/*"), (ELSEWHERE, "")],
    ids=["everywhere", "in one namespace", "nowhere that matters"],
)
def test_people_read_what_was_read_and_once_whose_connections_depend(gap: Gap, whose: str) -> None:
    answer = cluster(gap).overview()

    assert answer.lines == cluster().overview().lines
    assert str(answer.unread) == whose
    told = f"connections of {whose} depend on policies that were not read: these may deny what a line allows, and allow more"
    assert [text for text in table.overview(answer) if "not read" in text] == [told] * bool(whose)


def test_people_read_of_the_pods_that_they_ask_about() -> None:
    answer = cluster(IN_SHOP).overview(source="dev/ci", destination="203.0.113.0/24")

    assert not answer.unread.items


def test_a_peer_that_is_not_here_says_itself_that_its_namespace_was_not_read() -> None:
    dns = Gap("dns.yaml is refused", "", frozenset({"kube-system"}))
    depends = {str(item.destinations): item.depends for item in cluster(dns).overview().lines}

    assert depends["pods k8s-app=dns of kube-system (none here)"] == UNREAD + READ
