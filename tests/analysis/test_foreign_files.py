# SPDX-License-Identifier: Apache-2.0
"""What is left out never changes a firm verdict into another: random trees with foreign files in them.

Most of it changes nothing. What may hold a policy leaves every verdict open that a policy could decide.
"""

from __future__ import annotations

import json
import tempfile
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hypothesis import given
from hypothesis import strategies as st

import podfence
from podfence.policy.verdict import Decision
from tests.twin.effort import tried

if TYPE_CHECKING:
    from hypothesis.strategies import DrawFn

FOLDERS = ("", "apps", "apps/web", "base")
LABELS = st.dictionaries(st.sampled_from(("app", "tier")), st.sampled_from(("a", "b")), max_size=2)
POD = {"containers": [{"name": "c", "image": "i"}]}

HIDDEN = "templates/np.yaml"

# Each is the files of one thing that people keep beside manifests; none has a name that a manifest here has.
FOREIGN: tuple[dict[str, str], ...] = (
    {"values.yaml": "a: 1\n# NetworkPolicy\n"},
    {"list.json": '[{"op": "replace"}]'},
    {"package.json": '{"apiVersion": 3}'},
    {"broken.json": "{ // no object\n"},
    {"Chart.yaml": "apiVersion: v2\nname: c\n", HIDDEN: "{{ if x }}\nkind: NetworkPolicy\n{{ end }}\n"},
    {"Chart.yaml": "apiVersion: v1\nname: c\n", "templates/x.yaml": "apiVersion: v1\nkind: Pod\nmetadata: {name: p0}\n"},
    {"t.yaml": "apiVersion: v1\nkind: Pod\nmetadata: {name: {{ x }}}\n"},
    {"kustomization.yaml": "patches: [{path: q.yaml}]\nnamespace: other\n", "q.yaml": "apiVersion: v1\nkind: Pod\nmetadata: {name: p0, labels: {app: z}}\n"},
    {"kustomization.yaml": "resources: [x.yaml]\n", "old_patch.yaml": "apiVersion: v1\nkind: Pod\nmetadata: {name: p1}\nspec: {}\n"},
    {".github/w.yaml": "apiVersion: v1\nkind: Pod\nmetadata: {name: p0}\n"},
    {"node_modules/m/p.yaml": "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: n}\n"},
    {"cm.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: p0}\ndata: {a: 'kind: NetworkPolicy'}\n"},
)  # fmt: skip


@st.composite
def manifests(draw: DrawFn) -> list[dict[str, Any]]:
    pods = [
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": f"p{number}", "namespace": space, "labels": labels}, "spec": POD}
        for number, (space, labels) in enumerate(draw(st.lists(st.tuples(st.sampled_from(("x", "y")), LABELS), min_size=1, max_size=4)))
    ]  # fmt: skip
    rules = st.lists(
        st.fixed_dictionaries({"from": st.lists(st.fixed_dictionaries({"podSelector": st.fixed_dictionaries({"matchLabels": LABELS})}), max_size=2)}),
        max_size=2,
    )  # fmt: skip
    policies = [
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": {"name": f"n{number}", "namespace": draw(st.sampled_from(("x", "y")))},
            "spec": {"podSelector": {"matchLabels": draw(LABELS)}, "ingress": draw(rules)},
        }
        for number in range(draw(st.integers(0, 3)))
    ]
    return [*pods, *policies]


def verdicts(folder: str, pods: list[dict[str, Any]]) -> list[object]:
    cluster = podfence.load(folder, recursive=True)
    names = [f"{item['metadata']['namespace']}/{item['metadata']['name']}" for item in pods]
    pairs = [cluster.check(source, destination, 80).decision for source, destination in product(names, names)]
    return [pairs, [str(line) for line in cluster.connectivity().connections]]


@tried(60)
@given(
    objects=manifests(),
    places=st.lists(st.sampled_from(FOLDERS), min_size=10, max_size=10),
    foreign=st.lists(
        st.tuples(st.sampled_from(FOREIGN), st.sampled_from(FOLDERS)),
        min_size=1,
        max_size=5,
        unique_by=lambda one: (next(iter(one[0])), one[1]),
    ),
)
def test_foreign_files_change_no_verdict_but_where_a_policy_may_hide_in_them(
    objects: list[dict[str, Any]], places: list[str], foreign: list[tuple[dict[str, str], str]]
) -> None:
    """Semantics 13.9: a pod to itself stays allowed, whatever policies say (7.1)."""
    pods = [item for item in objects if item["kind"] == "Pod"]
    with tempfile.TemporaryDirectory() as clean, tempfile.TemporaryDirectory() as planted:
        for root in (clean, planted):
            for number, (item, place) in enumerate(zip(objects, places, strict=False)):
                write(Path(root, place, f"object-{number}.json"), json.dumps(item))
        for files, place in foreign:
            for name, text in files.items():
                write(Path(planted, place, name), text)
        if any(HIDDEN in files for files, _ in foreign):
            names = [item["metadata"]["name"] for item in pods]
            firm = {True: Decision.ALLOWED, False: Decision.DEPENDS}
            assert verdicts(planted, pods)[0] == [firm[one == other] for one, other in product(names, names)]
        else:
            assert verdicts(planted, pods) == verdicts(clean, pods)


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
