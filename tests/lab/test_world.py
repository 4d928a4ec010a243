# SPDX-License-Identifier: Apache-2.0
"""Objects come, change and go as with kubectl, in its words."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING

import pytest

from podfence.kube import files
from podfence.kube.objects import Key
from podfence.lab.addresses import Plan
from podfence.lab.apiserver.rules import Policies
from podfence.lab.objects.world import World
from podfence.lab.rest import RefusedError, path
from podfence.lab.store.errors import ForbiddenError
from podfence.lab.store.resources import RESOURCES
from tests.lab import worlds
from tests.lab.worlds import apply, errors, finish, pod_key, pods, settle, stopped, world

if TYPE_CHECKING:
    from pathlib import Path

    from podfence.lab.store.metadata import Raw

EXAMPLES = (
    "all-namespaces", "allow-all", "allow-dns", "before-1-7", "deny-all", "deny-egress", "deny-egress-namespace",
    "deny-external-egress", "deny-namespace", "deny-other-namespaces", "external-clients", "ip-block", "limit-traffic",
    "many-selectors", "one-namespace", "pod-traffic-rules", "pods-in-namespaces", "port-only", "three-tier",
    "traffic-flow", "two-ports",
)  # fmt: skip


def test_a_new_world_holds_nodes_namespaces_and_a_dns_server() -> None:
    made = World(Plan(), 2)
    steps = made.take()

    assert list(made.state.nodes) == ["node-1", "node-2"]
    assert made.state.nodes["node-2"].pod_cidrs == ("10.244.2.0/24",)
    assert set(made.state.namespaces) == {"default", "kube-system", "kube-public", "kube-node-lease"}
    assert not made.state.implied
    assert [spec.containers[0].image for spec in steps.start] == ["coredns"]
    dns = made.state.services[Key("Service", "kube-system", "kube-dns")]
    assert dns.addresses == ("10.96.0.10",)


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_example_can_be_applied_and_deleted_again(checkout: Path, name: str) -> None:
    made = world()
    read = files.read([str(checkout / "examples" / name)])
    found, problems = read.documents, read.problems
    assert not problems

    done = worlds.applied(made, found)

    assert done.outcomes
    assert not done.problems
    steps = settle(made)
    assert worlds.started(steps)
    assert not made.waiting
    again = worlds.applied(made, found).outcomes
    assert {line.split()[1] for line in again} <= {"unchanged", "configured", "ignored"}
    # The system's namespaces stay, and what a namespace held is gone with it.
    worlds.delete_written(made, found)
    settle(made)
    assert not [key for key in made.state.pods if key.namespace != "kube-system"]


def test_the_list_of_examples_is_complete(checkout: Path) -> None:
    assert tuple(sorted(path.parent.name for path in (checkout / "examples").glob("*/app.yaml"))) == EXAMPLES


def test_apply_says_what_kubectl_says() -> None:
    made = world()
    text = worlds.namespace("shop") + worlds.workload() + worlds.policy("x") + worlds.service() + worlds.pod("client")

    assert apply(made, text) == [
        "namespace/shop created",
        "deployment.apps/web created",
        "networkpolicy.networking.k8s.io/x created",
        "service/web created",
        "pod/client created",
    ]
    assert {line.split()[1] for line in apply(made, text)} == {"unchanged"}
    assert apply(made, worlds.policy("x", ingress="[{}]")) == ["networkpolicy.networking.k8s.io/x configured"]
    assert apply(made, worlds.service(ports="[{port: 81}]")) == ["service/web configured"]


def test_all_errors_are_told_with_their_lines_and_nothing_is_applied() -> None:
    made = world()
    before = made.store.revision
    bad = worlds.pod("ok") + worlds.pod("Bad_Name") + worlds.policy("x", ingress="[{ports: [{port: 99999}]}]")

    found = errors(made, bad)

    assert len(found) == 2
    assert found[0].startswith("app.yaml:12:18: error: metadata.name: Invalid value")
    assert "spec.ingress[0].ports[0].port" in found[1]
    assert made.store.revision == before
    assert not pods(made)


KEPT = """
apiVersion: v1
kind: ConfigMap
metadata: {name: colors}
data: {sky: blue}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: "system:reader"}
rules: [{apiGroups: [""], resources: [pods], verbs: [get]}]
---
"""


def test_kinds_that_do_nothing_are_kept_with_all_they_hold_as_kubectl_keeps_them() -> None:
    made = world()
    role = "clusterrole.rbac.authorization.k8s.io/system:reader"
    assert apply(made, KEPT) == ["configmap/colors created", f"{role} created"]
    assert apply(made, KEPT.replace("blue", "grey")) == ["configmap/colors configured", f"{role} unchanged"]
    assert made.store.get("configmaps", "default", "colors")["data"] == {"sky": "grey"}

    wrong = KEPT.replace("\ndata:", "\ndat:")
    for text in (wrong, wrong.replace("colors", "colours")):
        (found,) = errors(made, text)
        assert found.startswith("app.yaml:5:6: error: ")
        assert 'strict decoding error: unknown field "dat"' in found


def test_fields_that_only_matter_to_what_runs_are_checked_too() -> None:
    made = world()

    (found,) = errors(made, worlds.workload(more="      hostname: 5\n"))

    assert found.startswith('app.yaml:12:17: error: Deployment in version "v1" cannot be handled as a Deployment: ')
    assert found.endswith("number into Go struct field PodSpec.spec.template.spec.hostname of type string")
    assert errors(made, worlds.pod("x").replace("name: x,", "generateName: x-,"))[0].endswith(
        "from x-: cannot use generate name with apply (give it a name)"
    )


def test_objects_of_versions_that_are_not_served_any_more_are_applied_in_the_one_that_is() -> None:
    text = worlds.workload().replace("apps/v1", "extensions/v1beta1").replace("selector: {matchLabels: {app: web}}", "")
    made = world()
    assert apply(made, text) == ["deployment.apps/web created"]
    assert made.store.get("deployments.apps", "default", "web")["spec"]["selector"] == {"matchLabels": {"app": "web"}}


def test_items_of_a_list_that_leave_out_their_kind_have_that_of_the_list() -> None:
    made = world()
    items = "items: [{metadata: {name: a}, spec: {podSelector: {}}}]"
    assert apply(made, f"apiVersion: networking.k8s.io/v1\nkind: NetworkPolicyList\n{items}") == [
        "networkpolicy.networking.k8s.io/a created"
    ]


def test_objects_without_a_namespace_go_where_the_request_says() -> None:
    made = world()
    done = worlds.applied(made, worlds.documents(worlds.pod("a") + worlds.pod("b")), "shop")

    assert [key.namespace for key in made.state.pods if key.name in "ab"] == ["shop", "shop"]
    note = "namespace shop does not exist; the lab creates it with the label that every namespace has"
    assert done.notes == [f"pod/a: {note}"]
    assert made.state.namespaces["shop"].labels == {"kubernetes.io/metadata.name": "shop"}
    assert not made.state.implied


@pytest.mark.parametrize(
    ("legacy", "version"),
    [("v1beta1", "extensions/v1beta1"), ("v1", "networking.k8s.io/v1"), ("auto", "networking.k8s.io/v1")],
)
def test_policies_of_the_old_form_have_their_old_meaning_in_a_lab_that_is_old(
    checkout: Path, legacy: str, version: str
) -> None:
    made = world(old=legacy == "v1beta1")
    found = files.read([str(checkout / "examples" / "before-1-7")]).documents
    done = worlds.applied(made, found, legacy=legacy)
    assert not done.problems

    policies = [policy for table in made.state.policies.values() for policy in table.values()]
    assert [policy.api_version for policy in policies] == [version]
    assert made.store.list("networkpolicies.networking.k8s.io")[0][0]["apiVersion"] == "networking.k8s.io/v1"
    assert any("old meaning" in note for note in done.notes) is (legacy == "auto")


def test_a_lab_from_before_1_7_refuses_policies_of_today_and_says_where_they_are() -> None:
    made = world(old=True)
    (refusal,) = worlds.applied(made, worlds.documents(worlds.policy(), "new.yaml"), legacy="v1beta1").problems
    assert refusal.startswith(
        "new.yaml:2:13: error: apiVersion: a lab with legacy=v1beta1 is a cluster from before 1.7"
    )
    assert not made.state.policies.get("default")


@pytest.mark.parametrize(
    ("policies", "spec", "refusal"),
    [
        (Policies(legacy=True), {"policyTypes": ["Egress"]}, "spec.policyTypes: extensions/v1beta1 had no such field"),
        (Policies(legacy=True), {"egress": [{}]}, "spec.egress: extensions/v1beta1 had no such field"),
        (
            Policies(legacy=True),
            {"ingress": [{"from": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]}]},
            "ipBlock: extensions/v1beta1 had no such",
        ),
        (Policies(legacy=True), {"ingress": [{"from": [{"podSelector": {}}]}]}, ""),
        (Policies(lax=True), {"ingress": [{"from": [{"ipBlock": {"cidr": "010.0.0.0/8"}}]}]}, ""),
        (Policies(), {"ingress": [{"from": [{"ipBlock": {"cidr": "010.0.0.0/8"}}]}]}, "must not have leading 0s"),
    ],
)
def test_the_server_takes_the_policies_that_its_lab_can_enforce(policies: Policies, spec: Raw, refusal: str) -> None:
    made = world(old=policies.legacy)
    row = RESOURCES["networkpolicies.extensions" if policies.legacy else "networkpolicies.networking.k8s.io"]
    body = {"metadata": {"name": "x"}, "spec": {"podSelector": {}, **spec}}
    with pytest.raises(RefusedError, match=refusal) if refusal else nullcontext():
        worlds.Server(made.store, policies).send("POST", path(row, "default"), body)
    made.follow()
    assert bool(made.state.policies) is not bool(refusal)


def test_the_same_object_from_another_place_is_unchanged_and_reasons_name_the_new_place() -> None:
    made = world()
    apply(made, worlds.policy())
    settle(made)

    (line,) = worlds.applied(made, worlds.documents("# moved\n" + worlds.policy(), "new.yaml")).outcomes
    assert line.endswith(" unchanged")
    policy = made.state.policies["default"]["web"]
    assert policy.origin is not None
    assert str(policy.origin.at()) == "new.yaml:3"
    assert settle(made) == []


# Deleting


def test_deleting_a_namespace_deletes_what_is_in_it() -> None:
    made = world()
    apply(made, worlds.namespace("shop", "team: a"))
    apply(made, worlds.workload() + worlds.service() + worlds.policy() + worlds.pod("client"), "shop")
    first = settle(made)

    worlds.delete(made, "ns", "shop")

    assert made.store.get("namespaces", "", "shop")["status"]["phase"] == "Terminating"
    steps = settle(made)
    assert stopped(steps) == set(worlds.started(first))
    assert "shop" not in made.state.namespaces
    assert not made.state.policies


def test_a_namespace_that_was_only_mentioned_can_be_deleted_and_the_systems_own_not() -> None:
    made = world()
    apply(made, worlds.pod("a"), "shop")

    worlds.delete(made, "ns", "shop")
    settle(made)
    assert "shop" not in made.state.namespaces
    with pytest.raises(ForbiddenError, match=r'namespaces "default" is forbidden: this namespace may not be deleted'):
        worlds.delete(made, "ns", "default")


# Labels


def test_labels_of_pods_and_namespaces_change_in_place() -> None:
    made = world()
    apply(made, worlds.namespace("shop") + worlds.pod("client", labels="app: a"))
    settle(made)

    worlds.label(made, "pod", "client", {"app": "b"})
    worlds.label(made, "ns", "shop", {"team": "a"})

    (steps,) = settle(made)
    assert steps.changed
    assert not steps.start
    assert not steps.stop
    assert pods(made)["client"].template.labels == {"app": "b"}
    assert made.state.namespaces["shop"].labels == {"team": "a", "kubernetes.io/metadata.name": "shop"}


def test_apply_keeps_labels_that_others_put_on_and_takes_its_own_away() -> None:
    made = world()
    apply(made, worlds.namespace("shop", "a: x, b: x") + worlds.pod("client", labels="a: x, b: x"))
    worlds.label(made, "ns", "shop", {"a": "changed", "own": "1"})
    worlds.label(made, "pod", "client", {"a": "changed", "own": "1"})

    assert apply(made, worlds.namespace("shop", "a: x") + worlds.pod("client", labels="a: x")) == [
        "namespace/shop configured",
        "pod/client configured",
    ]
    assert pods(made)["client"].template.labels == {"a": "x", "own": "1"}
    assert made.state.namespaces["shop"].labels == {"a": "x", "own": "1", "kubernetes.io/metadata.name": "shop"}


# Pods by themselves


def test_what_a_running_pod_cannot_change_is_refused_in_the_servers_words() -> None:
    made = world()
    apply(made, worlds.pod("client"))
    settle(made)

    (error,) = errors(made, worlds.pod("client", more="  hostNetwork: true"))

    assert error.startswith("app.yaml:6:3: error: spec: Forbidden: pod updates may not change fields other than")
    assert settle(made) == []


def test_another_image_runs_in_the_same_pod_when_the_old_one_has_stopped() -> None:
    made = world()
    apply(made, worlds.pod("client"))
    settle(made)
    before = made.store.get("pods", "default", "client")

    assert apply(made, worlds.pod("client", image="redis")) == ["pod/client configured"]
    first = made.take()
    assert (first.start, first.stop) == ([], [pod_key("client")])
    made.pod_stopped(pod_key("client"))

    (spec,) = made.take().start
    after = made.store.get("pods", "default", "client")
    assert spec.containers[0].image == "redis"
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert [after["status"]["podIP"]] == list(spec.addresses) == [before["status"]["podIP"]]


def test_what_is_applied_to_a_pod_that_is_being_deleted_goes_with_it_and_that_is_said() -> None:
    made = world()
    apply(made, worlds.pod("client"))
    settle(made)
    worlds.delete(made, "pod", "client")

    done = worlds.applied(made, worlds.documents(worlds.pod("client", labels="new: x")))

    assert done.outcomes == ["pod/client configured"]
    assert done.notes == ["pod/client: it is being deleted, so what is applied goes with it"]
    assert stopped(settle(made)) == {"client"}
    assert not pods(made)


def test_a_pod_that_was_never_started_is_not_stopped() -> None:
    made = world()
    apply(made, worlds.pod("client"))
    worlds.delete(made, "pod", "client")

    assert made.take()[:2] == ([], [])
    assert not pods(made)


def test_a_pod_of_the_same_name_starts_when_one_that_was_deleted_at_once_has_stopped() -> None:
    made = world()
    apply(made, worlds.pod("client"))
    settle(made)
    made.store.delete("pods", "default", "client", grace=0)
    apply(made, worlds.pod("client"))

    first = made.take()
    assert (first.start, first.stop) == ([], [pod_key("client")])
    made.pod_stopped(pod_key("client"))
    assert [spec.name for spec in made.take().start] == ["client"]


def test_a_finished_pod_stays_and_is_not_started_again() -> None:
    made = world(nodes=1)
    apply(made, worlds.pod("once", more="  restartPolicy: Never"))
    settle(made)

    finish(made, "once", succeeded=True)
    steps = made.take()

    assert steps.stop == [pod_key("once")]
    assert pods(made)["once"].phase == "Succeeded"
    assert pod_key("once") not in made.state.members
    made.pod_stopped(pod_key("once"))
    assert settle(made) == []
    worlds.delete(made, "pod", "once")
    assert not made.take().stop
    assert not pods(made)
