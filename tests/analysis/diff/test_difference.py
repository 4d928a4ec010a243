# SPDX-License-Identifier: Apache-2.0
"""What a change opens and closes, by what, and how it is told: one row for each kind of change."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

import podfence
from podfence.analysis.diff.rules import aligned
from podfence.api import Cluster
from podfence.cluster.state import ClusterState
from podfence.kube.load import Loaded
from podfence.kube.objects import Owner, Peer, PodTemplate, PolicyPort, Requirement, Selector, Workload
from podfence.kube.omissions import Gap
from podfence.policy.options import Options
from tests.policy.parts import ANYONE, app, block, label, pod, policy, rule, space

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from podfence.analysis.diff.answer import AbsentChange, ConnectionChange, Difference
    from podfence.kube.objects import KubeObject, NetworkPolicy, Rule

SHOP, OPS = space("shop"), space("ops", team="ops")
WEB, DB, JOB = pod("web"), pod("db"), pod("job", namespace="ops")
HERE: list[KubeObject] = [SHOP, OPS, WEB, DB, JOB]
TCP80, TCP81, DNS = (PolicyPort("TCP", 80),), (PolicyPort("TCP", 81),), (PolicyPort("UDP", 53),)
FROM_WEB, FROM_OPS = Peer(pod_selector=app("web")), Peer(namespace_selector=label("team", "ops"))
TO_DNS = Peer(pod_selector=label("k8s-app", "dns"), namespace_selector=label("kubernetes.io/metadata.name", "system"))

Row = tuple[str, "list[KubeObject]", "list[KubeObject]", "list[str]"]


def only_db(*rules: Rule, name: str = "db") -> NetworkPolicy:
    return policy(name, app("db"), ingress=rules)


def absent(*values: str) -> Peer:
    """Return a peer that lists values of a label that no pod has."""
    return Peer(pod_selector=Selector((Requirement("k8s-app", "In", values),)))


def deployment(name: str, namespace: str = "shop", **labels: str) -> Workload:
    template = PodTemplate(labels={"app": name, **labels})
    return Workload(kind="Deployment", namespace=namespace, name=name, template=template)


def running(name: str, number: int, *addresses: str, **labels: str) -> KubeObject:
    found = pod(f"{name}-{number}", *addresses, labels={"app": name, **labels})
    return msgspec.structs.replace(found, owner=Owner("Deployment", name))


def diff(old: Sequence[KubeObject], new: Sequence[KubeObject], *settings: str) -> Difference:
    options = Options.parse(settings)
    return podfence.diff(Cluster.from_objects(old, options), Cluster.from_objects(new, options))


def causes(change: ConnectionChange | AbsentChange) -> str:
    found = (" and " if change.joint else " or ").join(cause.text for cause in change.causes)
    return f" | {found}" if found else ""


def told(difference: Difference) -> list[str]:
    """Return one line for each change."""
    lines = []
    for item in difference.connections:
        marks = "".join(f" {mark}" for mark in (item.family, "" if item.ends == "kept" else item.ends) if mark)
        lines.append(f"{item.change}{marks}: {item.sources} -> {item.destinations} {item.ports}{causes(item)}")
    for absent in difference.absent:
        what = absent.connection
        ends = (what.subjects, what.peers) if what.direction == "egress" else (what.peers, what.subjects)
        lines.append(f"{absent.change}: {ends[0]} -> {ends[1]} {what.ports_text}{causes(absent)}")
    return lines


CHANGED = "ingress rule 1 of NetworkPolicy shop/db was changed"
NO_TCP80 = "TCP 1-79,81-65535; all UDP; all SCTP; other protocols"
FIRST = "{} rule 1 of NetworkPolicy shop/{} was added"
SELECTOR = "podSelector of NetworkPolicy shop/p was changed"
EVERYBODY = "any address, ops/job, shop/web -> shop/db"

ROWS: list[Row] = [
    (
        "a rule is added",
        [*HERE, only_db()],
        [*HERE, only_db(rule(FROM_WEB, ports=TCP80))],
        ["opened: shop/web -> shop/db TCP 80 | ingress rule 1 of NetworkPolicy shop/db was added"],
    ),
    (
        "a rule is removed from between others",
        [*HERE, only_db(rule(FROM_WEB, ports=TCP80), rule(FROM_OPS), rule(block("8.0.0.0/8")))],
        [*HERE, only_db(rule(FROM_WEB, ports=TCP80), rule(block("8.0.0.0/8")))],
        ["closed: ops/job -> shop/db all ports | ingress rule 2 of NetworkPolicy shop/db was removed"],
    ),
    (
        "a rule is changed",
        [*HERE, only_db(rule(FROM_WEB, ports=TCP80))],
        [*HERE, only_db(rule(FROM_WEB, ports=TCP81))],
        [
            "opened: shop/web -> shop/db TCP 81 | ingress rule 1 of NetworkPolicy shop/db was changed",
            "closed: shop/web -> shop/db TCP 80 | ingress rule 1 of NetworkPolicy shop/db was changed",
        ],
    ),
    ("rules change places", [*HERE, only_db(rule(FROM_WEB), rule(FROM_OPS))],
     [*HERE, only_db(rule(FROM_OPS), rule(FROM_WEB))], []),
    (
        "a policy that denies is added",
        HERE,
        [*HERE, only_db(rule(FROM_WEB, ports=TCP80))],
        [
            "closed: any address, ops/job -> shop/db all ports | NetworkPolicy shop/db was added",
            f"closed: shop/web -> shop/db {NO_TCP80} | NetworkPolicy shop/db was added",
        ],
    ),
    (
        "a policy that denies is removed",
        [*HERE, only_db()],
        HERE,
        [f"opened: {EVERYBODY} all ports | NetworkPolicy shop/db was removed"],
    ),
    (
        "a policy that admits is added beside one that denies",
        [*HERE, policy("deny", ingress=())],
        [*HERE, policy("deny", ingress=()), only_db(rule(FROM_WEB))],
        ["opened: shop/web -> shop/db all ports | ingress rule 1 of NetworkPolicy shop/db was added"],
    ),
    (
        "a policy that admits is removed beside one that denies",
        [*HERE, policy("deny", ingress=()), only_db(rule(FROM_WEB))],
        [*HERE, policy("deny", ingress=())],
        ["closed: shop/web -> shop/db all ports | ingress rule 1 of NetworkPolicy shop/db was removed"],
    ),
    (
        "two rules admit the same, and it takes both to undo it",
        [*HERE, only_db()],
        [*HERE, only_db(rule(FROM_WEB, ports=TCP80), rule(ports=TCP80)), only_db(rule(FROM_WEB), name="more")],
        [
            "opened: any address, ops/job -> shop/db TCP 80 | ingress rule 2 of NetworkPolicy shop/db was added",
            f"opened: shop/web -> shop/db {NO_TCP80} | ingress rule 1 of NetworkPolicy shop/more was added",
            "opened: shop/web -> shop/db TCP 80 | NetworkPolicy shop/db was changed and "
            + FIRST.format("ingress", "more"),
        ],
    ),
    (
        "either of two directions would be enough to undo it",
        [*HERE, only_db(), policy("web", app("web"), egress=())],
        [*HERE, only_db(rule(FROM_WEB)), policy("web", app("web"), egress=[rule(Peer(pod_selector=app("db")))])],
        [
            "opened: shop/web -> shop/db all ports | "
            + " or ".join((FIRST.format("ingress", "db"), FIRST.format("egress", "web")))
        ],
    ),
    (
        "podSelector of a policy is changed",
        [*HERE, policy("p", app("web"), ingress=())],
        [*HERE, policy("p", app("db"), ingress=())],
        [
            f"opened: any address, ops/job, shop/db -> shop/web all ports | {SELECTOR}",
            f"closed: {EVERYBODY} all ports | {SELECTOR}",
        ],
    ),
    (
        "a direction is added to policyTypes",
        [*HERE, policy("p", app("job"), ingress=(), namespace="ops")],
        [*HERE, policy("p", app("job"), ingress=(), egress=(), namespace="ops")],
        ["closed: ops/job -> any address, shop/db, shop/web all ports | policyTypes of NetworkPolicy ops/p was changed"],
    ),
    (
        "a pod has another label",
        [*HERE, only_db(rule(Peer(pod_selector=label("role", "client"))))],
        [SHOP, OPS, pod("web", labels={"app": "web", "role": "client"}), DB, JOB,
         only_db(rule(Peer(pod_selector=label("role", "client"))))],
        ["opened: shop/web -> shop/db all ports | shop/web was changed: labels role"],
    ),
    (
        "a namespace has another label",
        [*HERE, only_db(rule(FROM_OPS))],
        [SHOP, space("ops", team="dev"), WEB, DB, JOB, only_db(rule(FROM_OPS))],
        ["closed: ops/job -> shop/db all ports | Namespace ops was changed: labels team"],
    ),
    (
        "a workload is added",
        [SHOP, WEB, DB, only_db()],
        [SHOP, WEB, DB, pod("new"), only_db()],
        [
            "opened added: shop/new -> any address, shop/web all ports",
            "opened added: any address, shop/db, shop/web -> shop/new all ports",
        ],
    ),
    (
        "a workload is removed",
        [SHOP, WEB, DB, pod("old"), only_db()],
        [SHOP, WEB, DB, only_db()],
        [
            "closed removed: shop/old -> any address, shop/web all ports",
            "closed removed: any address, shop/db, shop/web -> shop/old all ports",
        ],
    ),
    (
        "only one family is closed",
        [SHOP, pod("web", "10.0.0.1", "fd00::1"), pod("db", "10.0.0.2", "fd00::2")],
        [SHOP, pod("web", "10.0.0.1", "fd00::1"), pod("db", "10.0.0.2", "fd00::2"),
         only_db(rule(block("0.0.0.0/0")))],
        [
            "closed: ::/0 -> shop/db all ports | NetworkPolicy shop/db was added",
            "closed IPv6: shop/web -> shop/db all ports | NetworkPolicy shop/db was added",
        ],
    ),
    (
        "a rule is added for pods that are not here",
        [*HERE, policy("web", app("web"), egress=())],
        [*HERE, policy("web", app("web"), egress=[rule(TO_DNS, ports=DNS)])],
        ["opened: shop/web -> pods k8s-app=dns of system (none here) UDP 53 | " + FIRST.format("egress", "web")],
    ),
    (
        "a rule for pods that are not here gets wider",
        [*HERE, policy("web", app("web"), egress=[rule(TO_DNS, ports=DNS)])],
        [*HERE, policy("web", app("web"), egress=[rule(msgspec.structs.replace(TO_DNS, pod_selector=ANYONE), ports=DNS)])],
        ["opened: shop/web -> pods of system (none here) UDP 53 | egress rule 1 of NetworkPolicy shop/web was changed"],
    ),
    (
        "a rule for pods that are not here is removed, and a rule about addresses still holds them",
        [*HERE, policy("web", app("web"), egress=[rule(TO_DNS, ports=DNS), rule(block("0.0.0.0/0"))])],
        [*HERE, policy("web", app("web"), egress=[rule(block("0.0.0.0/0"))])],
        [],
    ),
    (
        "a rule for pods of its own namespace, the only one here, is made one for pods of every namespace",
        [SHOP, WEB, DB, only_db(rule(Peer(pod_selector=ANYONE)))],
        [SHOP, WEB, DB, only_db(rule(Peer(namespace_selector=ANYONE)))],
        ["opened: pods of every namespace (also those not here) -> shop/db all ports | " + CHANGED],
    ),
    (
        "a rule for pods of its own namespace, the only one here, is made one for pods of all namespaces but some",
        [SHOP, WEB, DB, only_db(rule(Peer(pod_selector=ANYONE)))],
        [SHOP, WEB, DB, only_db(rule(Peer(namespace_selector=Selector((Requirement("env", "NotIn", ("prod",)),)))))],
        ["opened: pods of namespaces env not in (prod) (also those not here) -> shop/db all ports | " + CHANGED],
    ),
    (
        "a rule for pods of every namespace is replaced by one for everybody",
        [SHOP, WEB, DB, only_db(rule(Peer(namespace_selector=ANYONE)))],
        [SHOP, WEB, DB, only_db(rule())],
        ["opened: any address -> shop/db all ports | " + CHANGED],
    ),
    (
        "a rule for pods that are not here is written as two",
        [*HERE, policy("web", app("web"), egress=[rule(absent("a", "b", "c"), ports=DNS)])],
        [*HERE, policy("web", app("web"), egress=[rule(absent("b", "a"), absent("c"), ports=DNS)])],
        [],
    ),
    (
        "a rule for a port by name gets a rule for every port",
        [*HERE, policy("web", app("web"), egress=[rule(TO_DNS, ports=[PolicyPort("UDP", "dns")])])],
        [*HERE, policy("web", app("web"), egress=[rule(TO_DNS, ports=[PolicyPort("UDP")])])],
        ["opened: shop/web -> pods k8s-app=dns of system (none here) all UDP | egress rule 1 of NetworkPolicy shop/web was changed"],
    ),
    (
        "a rule for a port by name of pods that are not here is removed, and a rule for everybody still holds them",
        [*HERE, policy("web", app("web"), egress=[rule(TO_DNS, ports=[PolicyPort("UDP", "dns")]), rule()])],
        [*HERE, policy("web", app("web"), egress=[rule()])],
        [],
    ),
    (
        "pods that are not here would be denied a port by name by their own policy",
        [*HERE, policy("web", app("web"), egress=[rule(TO_DNS, ports=[PolicyPort("UDP", "dns")])])],
        [*HERE, policy("web", app("web"), egress=[rule(TO_DNS, ports=[PolicyPort("UDP", "dns")])]),
         policy("dns", label("k8s-app", "dns"), ingress=(), namespace="system")],
        ["closed: shop/web -> pods k8s-app=dns of system (none here) UDP dns | NetworkPolicy system/dns was added"],
    ),
    (
        "pods that are not here would be denied it by their own policy",
        [*HERE, policy("web", app("web"), egress=[rule(TO_DNS, ports=DNS)])],
        [*HERE, policy("web", app("web"), egress=[rule(TO_DNS, ports=DNS)]),
         policy("dns", label("k8s-app", "dns"), ingress=(), namespace="system")],
        ["closed: shop/web -> pods k8s-app=dns of system (none here) UDP 53 | NetworkPolicy system/dns was added"],
    ),
    (
        "a policy is added that denies more than it admits to pods that are not here",
        HERE,
        [*HERE, policy("job", app("job"), egress=[rule(TO_DNS, ports=DNS)], namespace="ops")],
        ["closed: ops/job -> any address, shop/db, shop/web all ports | NetworkPolicy ops/job was added"],
    ),
    (
        "pods of a workload are replaced by others like them",
        [SHOP, deployment("web"), running("web", 1, "10.0.0.1"), running("web", 2, "10.0.0.2"), DB, only_db(rule(FROM_WEB))],
        [SHOP, deployment("web"), running("web", 3, "10.0.0.3"), DB, only_db(rule(FROM_WEB))],
        [],
    ),
    (
        "a workload runs",
        [SHOP, deployment("web"), DB, only_db(rule(FROM_WEB))],
        [SHOP, deployment("web"), running("web", 1, "10.0.0.1"), DB, only_db(rule(FROM_WEB))],
        [],
    ),
    (
        "a rule is added for some pods of a workload",
        [SHOP, deployment("web"), running("web", 1, v="1"), running("web", 2, v="2"), DB, only_db()],
        [SHOP, deployment("web"), running("web", 1, v="1"), running("web", 3, v="2"), DB,
         only_db(rule(Peer(pod_selector=label("v", "2"))))],
        ["opened: shop/deploy/web[v=2] -> shop/db all ports | ingress rule 1 of NetworkPolicy shop/db was added"],
    ),
    (
        "the pods of a workload get other labels",
        [SHOP, deployment("web"), running("web", 1), DB, only_db(rule(Peer(pod_selector=label("v", "2"))))],
        [SHOP, deployment("web", v="2"), running("web", 2, v="2"), DB, only_db(rule(Peer(pod_selector=label("v", "2"))))],
        ["opened: shop/deploy/web -> shop/db all ports | shop/deploy/web was changed: labels v"],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "lines"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_a_change_is_told_with_its_causes(old: list[KubeObject], new: list[KubeObject], lines: list[str]) -> None:
    assert told(diff(old, new)) == lines


def test_a_comparison_changes_neither_side() -> None:
    old, new = Cluster.from_objects([*HERE, only_db()]), Cluster.from_objects([SHOP, pod("web", labels={}), DB])
    before = [cluster.connectivity() for cluster in (old, new)]

    assert podfence.diff(old, new) == podfence.diff(old, new)
    assert [cluster.connectivity() for cluster in (old, new)] == before


def test_a_change_says_whether_it_is_about_the_internet_and_other_namespaces() -> None:
    here: list[KubeObject] = [
        SHOP,
        OPS,
        pod("web", "10.0.0.1"),
        pod("db", "10.0.0.2"),
        pod("job", "9.0.0.3", namespace="ops"),
    ]
    old = [*here, only_db()]
    found = [
        [(item.internet, item.cross_namespace) for item in diff(old, [*here, only_db(rule(peer))]).connections]
        for peer in (FROM_WEB, FROM_OPS, block("192.168.0.0/16"), block("8.8.8.0/24"))
    ]

    assert found == [[(False, False)], [(False, True)], [(False, False)], [(True, False)]]


def test_a_namespace_that_is_read_makes_known_what_was_not() -> None:
    objects: list[KubeObject] = [SHOP, DB, JOB, only_db(rule(FROM_OPS))]
    old, new = (Cluster(ClusterState(side), Options()) for side in (objects, [*objects, OPS]))

    (there,) = podfence.diff(old, new).connections
    (back,) = podfence.diff(new, old).connections

    assert (there.change, there.after, there.causes[0].text) == ("known", "allowed", "Namespace ops was added")
    assert there.before == "depends on the labels of the sources' namespaces"
    assert (back.change, back.before, back.after) == ("unknown", there.after, there.before)


def test_progress_goes_on_until_both_sides_are_compared() -> None:
    names = [f"n{number}" for number in range(9)]
    here: list[KubeObject] = [item for name in names for item in (space(name), pod("a", namespace=name))]
    told: list[tuple[float, int]] = []

    podfence.diff(
        Cluster.from_objects(here),
        Cluster.from_objects([*here, policy("deny", ingress=(), namespace="n1")]),
        progress=lambda done, total: told.append((done, total)),
    )

    assert told == [(0, 2), (1, 2)]


# What was not read


def with_gaps(objects: Sequence[KubeObject], *gaps: Gap) -> Cluster:
    return Cluster(ClusterState(objects), Options(), read=Loaded((), (), {}, gaps=gaps))


def test_what_becomes_incomplete_is_a_change_of_its_own() -> None:
    kept, gone, new = Gap("a.yaml", "fix it"), Gap("b.yaml"), Gap("c.yaml", "", frozenset({"shop"}))

    found = podfence.diff(with_gaps(HERE, kept, gone), with_gaps(HERE, kept, new))

    assert [(item.change, item.what, item.namespaces) for item in found.gaps] == [
        ("kept", "a.yaml", None),
        ("removed", "b.yaml", None),
        ("added", "c.yaml", ("shop",)),
    ]
    assert found
    assert not found.connections


def test_what_was_read_is_compared_where_policies_were_not_read() -> None:
    gap = Gap("a.yaml", "fix it", frozenset({"shop"}))

    found = podfence.diff(
        with_gaps([*HERE, only_db()], gap), with_gaps([*HERE, only_db(rule(FROM_WEB, ports=TCP80))], gap)
    )

    (change,) = found.connections
    assert change.change == "opened"
    assert change.incomplete == "policies that were not read: a.yaml (fix it)"


# Objects and texts

MANIFESTS = """\
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: v1
kind: Pod
metadata: {name: db, namespace: shop, labels: {app: db}}
spec: {containers: [{name: a, image: a}]}
---
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: shop, labels: {app: web}}
spec: {containers: [{name: a, image: a}]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: db, namespace: shop}
spec:
  podSelector: {matchLabels: {app: db}}
  ingress:
  - from: [{podSelector: {matchLabels: {app: api}}}]
"""
RULE = "  - from: [{podSelector: {matchLabels: {app: web}}}]\n    ports: [{port: 5432}]\n"


def read(folder: Path, name: str, text: str) -> Cluster:
    (folder / name).write_text(text)
    return podfence.load(folder / name)


def test_a_cause_has_its_places_on_both_sides(tmp_path: Path) -> None:
    old = read(tmp_path, "old.yaml", MANIFESTS + RULE)
    new = read(tmp_path, "new.yaml", "---\n" + MANIFESTS + RULE.replace("5432", "5433"))

    difference = podfence.diff(old, new, names=("git:HEAD", "."))

    opened, closed = difference.connections
    (cause,) = opened.causes
    assert closed.causes == opened.causes
    assert (cause.effect, cause.direction, cause.old_rule, cause.new_rule) == ("ruleChanged", "ingress", 1, 1)
    assert (str(cause.old), str(cause.new)) == (f"{tmp_path}/old.yaml:22", f"{tmp_path}/new.yaml:23")
    (changed,) = difference.objects
    assert (changed.change, str(changed), changed.what) == ("changed", "NetworkPolicy shop/db", ("ingress rule 2",))
    assert (difference.old.name, difference.new.name) == ("git:HEAD", ".")
    assert (difference.old.pods, difference.old.policies) == (2, 1)


def test_a_policy_that_is_only_written_otherwise_is_told_so(tmp_path: Path) -> None:
    expression = "{matchExpressions: [{key: app, operator: In, values: [db]}]}"
    old = read(tmp_path, "old.yaml", MANIFESTS)
    new = read(tmp_path, "new.yaml", MANIFESTS.replace("{matchLabels: {app: db}}", expression))

    difference = podfence.diff(old, new)

    assert not difference
    assert difference.only_text
    assert [(str(item), item.change) for item in difference.objects] == [("NetworkPolicy shop/db", "text")]


def test_a_list_is_compared_object_by_object(tmp_path: Path) -> None:
    text = "apiVersion: v1\nkind: List\nitems:\n" + "".join(
        f"- apiVersion: v1\n  kind: Pod\n  metadata: {{name: {name}, labels: {{app: {name}}}}}\n"
        "  spec: {containers: [{name: a, image: a}]}\n"
        for name in "abc"
    )
    old, new = read(tmp_path, "old.yaml", text), read(tmp_path, "new.yaml", text.replace("app: b", "app:  b"))

    assert [str(item) for item in podfence.diff(old, new).objects] == ["Pod default/b"]


def test_a_change_of_everything_is_told_without_all_causes() -> None:
    names = [f"n{number}" for number in range(34)]
    here: list[KubeObject] = [item for name in names for item in (space(name), pod("a", namespace=name))]

    found = diff(here, [*here, *(policy("deny", ingress=(), egress=(), namespace=name) for name in names)])

    assert found.notes == ("too much changes to look for the causes of every difference",)
    assert {item.change for item in found.connections} == {"closed"}


def test_a_policy_of_which_much_differs_is_a_cause_as_a_whole() -> None:
    ports = [rule(FROM_WEB, ports=(PolicyPort("TCP", number),)) for number in range(1, 61)]

    (found,) = diff([*HERE, only_db()], [*HERE, only_db(*ports)]).connections

    assert [cause.text for cause in found.causes] == ["NetworkPolicy shop/db was changed"]


@pytest.mark.parametrize(
    ("old", "new", "pairs"),
    [
        ("abc", "abc", [(0, 0), (1, 1), (2, 2)]),
        ("abc", "ac", [(0, 0), (1, None), (2, 1)]),
        ("ac", "abc", [(0, 0), (None, 1), (1, 2)]),
        ("abc", "axc", [(0, 0), (1, 1), (2, 2)]),
        ("ab", "ba", [(None, 0), (0, 1), (1, None)]),
        ("aa", "aaa", [(0, 0), (1, 1), (None, 2)]),
        ("", "a", [(None, 0)]),
        ("a", "", [(0, None)]),
    ],
)
def test_rules_have_counterparts(old: str, new: str, pairs: list[tuple[int | None, int | None]]) -> None:
    sides = ([rule(Peer(pod_selector=app(name))) for name in names] for names in (old, new))

    assert list(aligned(*sides)) == pairs


def test_thousands_of_rules_are_aligned_by_their_places() -> None:
    many = [rule(Peer(pod_selector=app(str(number)))) for number in range(1_100)]

    assert list(aligned(many, many[::-1])) == [(number, number) for number in range(1_100)]


def test_options_that_differ_are_noted() -> None:
    old, new = (
        Cluster.from_objects([*HERE, only_db(rule(FROM_WEB, ports=TCP80))], Options.parse([setting]))
        for setting in ("icmp=denied", "icmp=allowed")
    )

    found = podfence.diff(old, new)

    assert found.notes == ("the two sides are judged with different options",)
    assert [(item.change, str(item.ports), item.causes[0].effect) for item in found.connections] == [
        ("opened", "other protocols", "clusterChanged")
    ]
