# SPDX-License-Identifier: Apache-2.0
"""What others write to the store of a lab has the effect that it has in a cluster, and its objects say what happens."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from podfence.kube.live.origin import LIVE
from podfence.kube.objects import Key
from podfence.lab.addresses import Plan
from podfence.lab.objects.statuses import ContainerReport
from podfence.lab.objects.world import World
from podfence.lab.store.errors import ForbiddenError, InvalidError
from tests.lab import worlds
from tests.lab.worlds import NOW, apply, errors, finish, pod_key, pods, settle, started, stopped, world

if TYPE_CHECKING:
    from podfence.lab.store.metadata import Raw
    from podfence.lab.store.store import Propagation

SLICES = "endpointslices.discovery.k8s.io"
DEPLOYMENTS, SETS = "deployments.apps", "replicasets.apps"


def pod(name: str = "client", **spec: object) -> Raw:
    containers = [{"name": "main", "image": "nginx", "ports": [{"containerPort": 80}]}]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default", "labels": {"app": "web"}},
            "spec": {"containers": containers, **spec}}  # fmt: skip


def service(**spec: object) -> Raw:
    metadata = {"name": "web", "namespace": "default"}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"ports": [{"port": 80}], **spec}}


def status(made: World, name: str, resource: str = "pods") -> Raw:
    found: Raw = made.store.get(resource, "default", name)["status"]
    return found


# Pods


def test_a_pod_that_a_client_creates_is_placed_started_and_running() -> None:
    made = world()
    made.store.create("pods", pod())
    assert status(made, "client") == {"phase": "Pending", "qosClass": "BestEffort"}

    (first, *rest) = settle(made)

    assert (first.start[0].name, first.start[0].node) == ("client", "node-2")
    found = status(made, "client")
    assert (found["phase"], found["podIP"], found["hostIP"]) == ("Running", "10.244.2.2", "172.30.0.12")
    assert {item["type"]: item["status"] for item in found["conditions"]} == dict.fromkeys(
        ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"), "True"
    )
    assert found["containerStatuses"][0]["state"] == {"running": {"startedAt": "2026-11-18T11:06:40Z"}}
    assert pods(made)["client"].origin is LIVE
    assert made.store.get("pods", "default", "client")["spec"]["nodeName"] == "node-2"
    assert rest


@pytest.mark.parametrize(
    ("restart", "code", "phase", "state", "ready"),
    [
        ("Always", 1, "Running", "waiting", "False"),
        ("Always", 0, "Running", "waiting", "False"),
        ("OnFailure", 1, "Running", "waiting", "False"),
        ("OnFailure", 0, "Succeeded", "terminated", "False"),
        ("Never", 1, "Failed", "terminated", "False"),
        ("Never", 0, "Succeeded", "terminated", "False"),
        ("Always", None, "Running", "running", "True"),
    ],
)
def test_the_status_of_a_pod_is_what_became_of_its_container(
    restart: str, code: int | None, phase: str, state: str, ready: str
) -> None:
    made = world()
    made.store.create("pods", pod(restartPolicy=restart))
    settle(made)

    made.pod_reported(pod_key("client"), {"main": ContainerReport(3, code, NOW, NOW + 1)})

    found = status(made, "client")
    (container,) = found["containerStatuses"]
    assert (found["phase"], list(container["state"])) == (phase, [state])
    assert (container["restartCount"], container["ready"]) == (2, ready == "True")
    assert next(item for item in found["conditions"] if item["type"] == "Ready")["status"] == ready
    if state == "waiting":
        assert container["lastState"]["terminated"]["exitCode"] == code


def test_a_pod_whose_processes_cannot_be_started_says_why() -> None:
    made = world()
    made.store.create("pods", pod())
    made.take()
    made.pod_reported(pod_key("client"), {}, "no room")

    found = status(made, "client")
    assert found["phase"] == "Pending"
    assert found["containerStatuses"][0]["state"]["waiting"] == {"reason": "CreateContainerError", "message": "no room"}


def test_how_a_container_ended_is_told_when_it_runs_again() -> None:
    made = world()
    made.store.create("pods", pod())
    settle(made)
    finish(made, "client", succeeded=False)
    made.pod_reported(pod_key("client"), {"main": ContainerReport(2, None, NOW, NOW)})

    (container,) = status(made, "client")["containerStatuses"]
    assert "running" in container["state"]
    assert container["lastState"]["terminated"]["exitCode"] == 1


def test_a_deleted_pod_is_there_until_its_processes_have_ended() -> None:
    made = world()
    made.store.create("pods", pod())
    settle(made)
    made.store.delete("pods", "default", "client")

    steps = made.take()
    assert steps.stop == [pod_key("client")]
    assert pods(made)["client"].terminating
    made.pod_stopped(*steps.stop)
    assert made.take().changed
    assert not pods(made)


@pytest.mark.parametrize(
    ("spec", "grace", "seconds"),
    [
        ({}, None, 30),
        ({"terminationGracePeriodSeconds": 5}, None, 5),
        ({"terminationGracePeriodSeconds": 0}, None, 0),
        ({}, 2, 2),
        ({}, 0, 0),
    ],
)
def test_a_deleted_pod_has_the_time_to_end_that_its_spec_or_the_delete_says(
    spec: dict[str, int], grace: int | None, seconds: int
) -> None:
    made = world()
    written = pod()
    made.store.create("pods", {**written, "spec": {**written["spec"], **spec}})
    settle(made)
    made.store.delete("pods", "default", "client", grace=grace)
    assert made.take().stop == [pod_key("client")]
    assert made.seconds_to_end(pod_key("client")) == seconds

    if seconds:
        made.store.delete("pods", "default", "client", grace=1)
        assert made.seconds_to_end(pod_key("client")) == 1


def test_a_finished_pod_needs_no_time_to_end_and_one_with_another_image_has_that_of_its_spec() -> None:
    made = world()
    for name in ("done", "other"):
        apply(made, worlds.pod(name, more="  restartPolicy: Never\n  terminationGracePeriodSeconds: 7"))
    settle(made)
    finish(made, "done", succeeded=True)
    apply(made, worlds.pod("other", image="redis", more="  restartPolicy: Never\n  terminationGracePeriodSeconds: 7"))
    assert {key: made.seconds_to_end(key) for key in made.take().stop} == {pod_key("done"): 0, pod_key("other"): 7}


# Workloads


def test_a_deployment_says_how_far_it_is_and_scales_by_its_store() -> None:
    made = world()
    apply(made, worlds.workload())
    assert "readyReplicas" not in status(made, "web", DEPLOYMENTS)
    settle(made)

    found = status(made, "web", DEPLOYMENTS)
    assert (found["replicas"], found["updatedReplicas"], found["readyReplicas"], found["availableReplicas"]) == (2,) * 4
    assert "unavailableReplicas" not in found
    assert {item["type"]: item["reason"] for item in found["conditions"]} == {
        "Available": "MinimumReplicasAvailable",
        "Progressing": "NewReplicaSetAvailable",
    }
    obj = made.store.get(DEPLOYMENTS, "default", "web")
    assert found["observedGeneration"] == obj["metadata"]["generation"] == 1
    made.store.update(DEPLOYMENTS, {**obj, "spec": {**obj["spec"], "replicas": 3}})
    assert len(started(settle(made))) == 1
    assert status(made, "web", DEPLOYMENTS)["observedGeneration"] == 2


def test_names_of_pods_lead_to_their_deployment_as_in_kubernetes() -> None:
    made = world()
    apply(made, worlds.workload(replicas=1))
    (name,) = pods(made)

    (owner,) = made.store.list(SETS, "default")[0]
    assert name.startswith(f"{owner['metadata']['name']}-")
    assert owner["metadata"]["ownerReferences"][0]["name"] == "web"


def test_a_deployment_takes_over_the_replica_set_that_another_of_its_name_has_left() -> None:
    made = world()
    apply(made, worlds.workload())
    settle(made)
    before = set(pods(made))
    made.store.delete(DEPLOYMENTS, "default", "web", propagation="Orphan")
    settle(made)
    assert set(pods(made)) == before

    apply(made, worlds.workload())
    assert not any(made.take()[:2])
    assert set(pods(made)) == before


@pytest.mark.parametrize(("propagation", "left"), [("Background", False), ("Foreground", False), ("Orphan", True)])
def test_what_becomes_of_pods_when_their_owner_goes(propagation: Propagation, left: bool) -> None:
    made = world()
    apply(made, worlds.workload("ReplicaSet"))
    settle(made)

    made.store.delete(SETS, "default", "web", propagation=propagation)
    waits = [item["metadata"]["name"] for item in made.store.list(SETS, "default")[0]]
    settle(made)

    assert waits == ([] if propagation == "Background" else ["web"])
    assert bool(pods(made)) is left
    assert not made.store.list(SETS, "default")[0]
    assert all(pod.owner is None for pod in pods(made).values())


# Namespaces, nodes and Services


def test_every_namespace_has_a_service_account_and_the_certificate_of_the_server() -> None:
    made = World(Plan(), 1, authority="CERTIFICATE")
    made.store.create("namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}})
    made.take()

    for name in ("default", "shop"):
        assert made.store.get("serviceaccounts", name, "default")
        assert made.store.get("configmaps", name, "kube-root-ca.crt")["data"] == {"ca.crt": "CERTIFICATE"}
    made.store.delete("configmaps", "shop", "kube-root-ca.crt")
    made.follow()
    assert made.store.get("configmaps", "shop", "kube-root-ca.crt")


def test_a_namespace_goes_with_everything_in_it_of_whatever_kind() -> None:
    made = world()
    made.store.create("namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}})
    for resource, kind in (("configmaps", "ConfigMap"), ("secrets", "Secret"), ("events", "Event")):
        made.store.create(resource, {"apiVersion": "v1", "kind": kind, "metadata": {"name": "a", "namespace": "shop"}})

    made.store.delete("namespaces", "", "shop")
    made.follow()

    assert not [item for item in made.store.list("namespaces")[0] if item["metadata"]["name"] == "shop"]
    assert not any(made.store.list(resource, "shop")[0] for resource in ("configmaps", "secrets", "events"))


def test_nodes_can_be_labeled_and_neither_made_nor_deleted_nor_kept_free_of_pods() -> None:
    made = world()
    node = made.store.get("nodes", "", "node-2")
    made.store.update("nodes", {**node, "metadata": {**node["metadata"], "labels": {"disk": "ssd"}}})
    with pytest.raises(ForbiddenError, match=r'nodes "node-1" is forbidden: the nodes of the lab are its own'):
        made.store.delete("nodes", "", "node-1")
    with pytest.raises(ForbiddenError):
        made.store.create("nodes", {**node, "metadata": {"name": "node-3"}})

    node = made.store.get("nodes", "", "node-2")
    for field in ({"unschedulable": True}, {"taints": [{"key": "a", "effect": "NoSchedule"}]}):
        with pytest.raises(ForbiddenError, match="pods run on all nodes of a lab"):
            made.store.update("nodes", {**node, "spec": {**node["spec"], **field}})

    made.store.create("pods", pod(nodeSelector={"disk": "ssd"}))
    settle(made)
    assert pods(made)["client"].template.node == "node-2"


def test_a_service_has_everything_filled_in_at_once() -> None:
    made = world()
    stored = made.store.create("services", service(type="NodePort"))["spec"]

    assert stored["clusterIP"].startswith("10.96.")
    assert stored == {
        "type": "NodePort",
        "sessionAffinity": "None",
        "clusterIP": stored["clusterIP"],
        "clusterIPs": [stored["clusterIP"]],
        "ipFamilies": ["IPv4"],
        "ipFamilyPolicy": "SingleStack",
        "internalTrafficPolicy": "Cluster",
        "externalTrafficPolicy": "Cluster",
        "ports": [{"port": 80, "protocol": "TCP", "targetPort": 80, "nodePort": 30000}],
    }
    changed = {**made.store.get("services", "default", "web"), "spec": {**stored, "type": "ClusterIP"}}
    after = made.store.update("services", changed)["spec"]
    assert after["ports"] == [{"port": 80, "protocol": "TCP", "targetPort": 80}]
    assert "externalTrafficPolicy" not in after


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"clusterIP": "10.1.2.3"}, 'spec.clusterIPs: Invalid value: ["10.1.2.3"]: failed to allocate IP 10.1.2.3: the provided network does not match the current range'),
        ({"clusterIP": "foo"}, 'spec.clusterIPs[0]: Invalid value: "foo": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)'),
        ({"type": "NodePort", "ports": [{"port": 80, "nodePort": 80}]}, "spec.ports[0].nodePort: Invalid value: 80: provided port is not in the valid range. The range of valid ports is 30000-32767"),
    ],
)  # fmt: skip
def test_a_service_is_refused_in_the_servers_words_and_nothing_is_taken(spec: dict[str, Any], message: str) -> None:
    made = world()
    with pytest.raises(InvalidError) as caught:
        made.store.create("services", service(**spec))
    assert str(caught.value) == f'Service "web" is invalid: {message}'
    assert caught.value.code == 422


def test_a_dry_run_of_a_service_takes_no_address() -> None:
    made = world()
    wanted = service(clusterIP="10.96.3.4")
    assert made.store.create("services", wanted, dry_run=True)["spec"]["clusterIP"] == "10.96.3.4"
    assert made.store.create("services", wanted)["spec"]["clusterIP"] == "10.96.3.4"


def test_endpoint_slices_follow_the_pods_of_a_service() -> None:
    made = world(families=(4, 6))
    made.store.create(
        "services", service(selector={"app": "web"}, ports=[{"name": "http", "port": 80, "targetPort": 8080}])
    )
    made.store.create("pods", pod())
    made.take()

    def slices() -> list[Raw]:
        return [item for item in made.store.list(SLICES, "default")[0] if item["metadata"]["name"] != "kubernetes"]

    assert sorted(item["addressType"] for item in slices()) == ["IPv4", "IPv6"]
    (endpoint,) = slices()[0]["endpoints"]
    assert endpoint["conditions"] == {"ready": False, "serving": False, "terminating": False}
    made.pod_reported(pod_key("client"), {"main": ContainerReport(1, None, NOW, NOW)})
    settle(made)
    four = next(item for item in slices() if item["addressType"] == "IPv4")
    assert four["endpoints"][0]["conditions"]["ready"]
    assert four["endpoints"][0]["targetRef"]["name"] == "client"
    assert four["ports"] == [{"name": "http", "protocol": "TCP", "port": 8080}]
    assert four["metadata"]["labels"]["kubernetes.io/service-name"] == "web"

    made.store.delete("pods", "default", "client")
    made.take()
    four = next(item for item in slices() if item["addressType"] == "IPv4")
    assert four["endpoints"][0]["conditions"] == {"ready": False, "serving": True, "terminating": True}
    made.store.delete("services", "default", "web")
    made.follow()
    assert not slices()


# Apply, beside what others do


def test_apply_keeps_what_others_have_set_and_a_manifest_does_not_say() -> None:
    made = world()
    text = worlds.workload(replicas=None)
    apply(made, text)
    settle(made)
    obj = made.store.get(DEPLOYMENTS, "default", "web")
    made.store.update(DEPLOYMENTS, {**obj, "spec": {**obj["spec"], "replicas": 3}})
    settle(made)

    assert apply(made, text) == ["deployment.apps/web unchanged"]
    assert len(pods(made)) == 3


def test_apply_takes_away_what_a_manifest_does_not_say_any_more() -> None:
    made = world()
    apply(made, worlds.workload(replicas=3))
    apply(made, worlds.workload(replicas=None))
    settle(made)

    assert made.store.get(DEPLOYMENTS, "default", "web")["spec"]["replicas"] == 1
    assert len(pods(made)) == 1


def test_apply_takes_away_what_an_item_of_a_list_does_not_say_any_more() -> None:
    made = world()
    apply(made, worlds.policy("x", ingress="[{from: [{podSelector: {}}], ports: [{port: 80}]}]"))
    assert apply(made, worlds.policy("x", ingress="[{from: [{podSelector: {}}]}]"))[0].endswith(" configured")
    stored = made.store.get("networkpolicies.networking.k8s.io", "default", "x")
    assert stored["spec"]["ingress"] == [{"from": [{"podSelector": {}}]}]


def test_apply_takes_away_a_port_whose_number_another_one_has_too() -> None:
    made = world()
    dns = "[{name: udp, port: 53, protocol: UDP}, {name: tcp, port: 53}]"
    apply(made, worlds.service(ports=dns))
    assert apply(made, worlds.service(ports=dns)) == ["service/web unchanged"]
    assert apply(made, worlds.service(ports="[{name: tcp, port: 53}]")) == ["service/web configured"]
    ports = made.store.get("services", "default", "web")["spec"]["ports"]
    assert [(port["name"], port["protocol"]) for port in ports] == [("tcp", "TCP")]


def test_apply_keeps_finalizers_of_others_and_takes_its_own_away() -> None:
    made = world()
    text = worlds.namespace("shop").replace("labels: {}", "finalizers: [{}]")
    apply(made, text.replace("{}", "a.example/x"))
    obj = made.store.get("namespaces", "", "shop")
    known = {**obj["metadata"], "finalizers": [*obj["metadata"]["finalizers"], "b.example/y"]}
    made.store.update("namespaces", {**obj, "metadata": known})
    apply(made, text.replace("{}", "c.example/z"))
    assert sorted(made.store.get("namespaces", "", "shop")["metadata"]["finalizers"]) == ["b.example/y", "c.example/z"]


def test_an_applied_policy_has_the_defaults_by_which_kubectl_describes_it() -> None:
    made = world()
    apply(made, worlds.policy("x", ingress="[{ports: [{port: 80}]}]"))
    spec = made.store.get("networkpolicies.networking.k8s.io", "default", "x")["spec"]
    assert (spec["policyTypes"], spec["ingress"]) == (["Ingress"], [{"ports": [{"port": 80, "protocol": "TCP"}]}])
    assert apply(made, worlds.policy("x", ingress="[{ports: [{port: 80}]}]"))[0].endswith(" unchanged")


@pytest.mark.parametrize(
    ("ingress", "stored"),
    [
        ("null", None),
        ("[null]", [{}]),
        ("[{ports: null, from: null}]", [{}]),
        ("[{ports: [null]}]", [{"ports": [{"protocol": "TCP"}]}]),
    ],
)
def test_null_in_an_applied_policy_is_what_it_is_for_an_api_server(ingress: str, stored: object) -> None:
    made = world()
    apply(made, worlds.policy("x", ingress=ingress))
    spec = made.store.get("networkpolicies.networking.k8s.io", "default", "x")["spec"]
    assert (spec["policyTypes"], spec.get("ingress")) == (["Ingress"], stored)
    assert apply(made, worlds.policy("x", ingress=ingress))[0].endswith(" unchanged")


def test_apply_brings_back_what_others_have_changed() -> None:
    made = world()
    apply(made, worlds.workload(replicas=1))
    obj = made.store.get(DEPLOYMENTS, "default", "web")
    made.store.update(DEPLOYMENTS, {**obj, "spec": {**obj["spec"], "replicas": 4}})

    assert apply(made, worlds.workload(replicas=1)) == ["deployment.apps/web configured"]
    settle(made)
    assert len(pods(made)) == 1


def test_the_manifest_that_was_applied_is_noted_as_kubectl_does() -> None:
    made = world()
    apply(made, worlds.policy())
    known = made.store.get("networkpolicies.networking.k8s.io", "default", "web")["metadata"]
    last = msgspec.json.decode(known["annotations"]["kubectl.kubernetes.io/last-applied-configuration"])
    assert last["spec"] == {"podSelector": {}, "ingress": []}
    assert last["metadata"] == {"name": "web", "namespace": "default"}


def test_reasons_name_the_manifest_of_a_policy_until_somebody_changes_it() -> None:
    made = world()
    apply(made, worlds.policy())
    obj = made.store.get("networkpolicies.networking.k8s.io", "default", "web")
    made.store.update("networkpolicies.networking.k8s.io", {**obj, "spec": {"podSelector": {}, "ingress": [{}]}})
    made.follow()

    found = made.state.policies["default"]["web"]
    assert found.origin is LIVE
    apply(made, worlds.policy())
    again = made.state.policies["default"]["web"].origin
    assert again is not None
    assert str(again.at()).startswith("app.yaml:")


@pytest.mark.parametrize(
    ("resource", "obj", "message"),
    [
        ("networkpolicies.networking.k8s.io", {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "spec": {"podSelector": 5}},
         'NetworkPolicy.networking.k8s.io "x" is invalid: json: cannot unmarshal number into Go struct field NetworkPolicySpec.spec.podSelector of type v1.LabelSelector'),
        ("pods", {"apiVersion": "v1", "kind": "Pod", "spec": 5}, 'Pod "x" is invalid: json: cannot unmarshal number into Go struct field Pod.spec of type v1.PodSpec'),
        ("services", {"apiVersion": "v1", "kind": "Service", "spec": {"ports": {}}}, 'Service "x" is invalid: json: cannot unmarshal object into Go struct field ServiceSpec.spec.ports of type []v1.ServicePort'),
    ],
)  # fmt: skip
def test_an_object_that_nobody_could_read_is_not_stored(resource: str, obj: Raw, message: str) -> None:
    made = world()
    before = made.store.revision
    with pytest.raises(InvalidError) as caught:
        made.store.create(resource, {**obj, "metadata": {"name": "x", "namespace": "default"}})
    assert str(caught.value) == message
    assert made.store.revision == before


def test_controllers_and_clients_may_write_at_the_same_time() -> None:
    made = world(nodes=1)
    apply(made, worlds.workload(replicas=1))
    stop = threading.Event()

    def annotate() -> None:
        number = 0
        while not stop.is_set() and number < 5000:
            number += 1
            for item in made.store.list("pods", "default")[0]:
                known = {**item["metadata"], "annotations": {"n": str(number)}, "resourceVersion": None}
                try:
                    made.store.update("pods", {**item, "metadata": known})
                except Exception:  # noqa: BLE001, S112 - it may be gone
                    continue

    writer = threading.Thread(target=annotate)
    writer.start()
    try:
        for replicas in (5, 1, 8, 0, 3):
            apply(made, worlds.workload(replicas=replicas))
            settle(made)
    finally:
        stop.set()
        writer.join()
    settle(made)
    assert len(pods(made)) == 3
    assert status(made, "web", DEPLOYMENTS)["readyReplicas"] == 3
    assert errors(made, worlds.workload(replicas=3)) == []
    assert Key("Deployment", "default", "web") in made.state.workloads
    assert stopped(settle(made)) == set()
