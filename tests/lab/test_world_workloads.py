# SPDX-License-Identifier: Apache-2.0
"""Workloads have the pods their controllers would make, with names, labels, nodes and addresses."""

from __future__ import annotations

import pytest

from podfence.kube.objects import Key, Owner
from podfence.lab.objects.containers import Container
from tests.lab import worlds
from tests.lab.worlds import apply, errors, finish, pod_key, pods, settle, started, stopped, world


def test_a_deployment_has_pods_named_after_its_template_and_owned_by_a_replica_set() -> None:
    made = world()
    apply(made, worlds.workload(replicas=3))
    specs = started(settle(made))

    found = pods(made)
    assert len(found) == 3
    for name, pod in found.items():
        workload, revision, _ = name.split("-")
        assert workload == "web"
        assert pod.template.labels == {"app": "web", "pod-template-hash": revision}
        assert pod.owner == Owner("ReplicaSet", f"web-{revision}")
        assert [(port.name, port.number) for port in pod.template.ports] == [("http", 80)]
        assert made.state.members[pod.key].workload == Key("Deployment", "default", "web")
        assert pod.phase == "Running"
        assert specs[name].node == pod.template.node
        assert specs[name].addresses == pod.addresses
        assert pod.node_addresses == made.state.nodes[pod.template.node].addresses
    assert {pod.template.node for pod in found.values()} == {"node-1", "node-2"}


def test_names_are_the_same_in_every_run() -> None:
    first, second = world(), world()
    for made in (first, second):
        apply(made, worlds.workload())

    assert list(pods(first)) == list(pods(second))
    assert all(name.replace("-", "").isalnum() for name in pods(first))


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet", "ReplicaSet", "ReplicationController"])
def test_scaling_starts_and_stops_only_the_difference(kind: str) -> None:
    made = world()
    apply(made, worlds.workload(kind))
    settle(made)
    before = set(pods(made))

    apply(made, worlds.workload(kind, replicas=5))
    more = settle(made)
    assert len(started(more)) == 3
    assert not stopped(more)
    assert before < set(pods(made))

    apply(made, worlds.workload(kind, replicas=2))
    assert not started(settle(made))
    assert set(pods(made)) == before

    apply(made, worlds.workload(kind, replicas=0))
    settle(made)
    assert not pods(made)


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet", "DaemonSet"])
def test_another_template_replaces_all_pods(kind: str) -> None:
    made = world()
    count = None if kind == "DaemonSet" else 2
    apply(made, worlds.workload(kind, replicas=count))
    before = {name: pod.addresses for name, pod in pods(made).items()}
    settle(made)

    assert apply(made, worlds.workload(kind, replicas=count, image="redis"))[0].endswith(" configured")
    steps = settle(made)

    assert stopped(steps) == set(before)
    assert {spec.containers[0].image for spec in started(steps).values()} == {"redis"}
    assert len(pods(made)) == 2
    assert (set(pods(made)) == set(before)) == (kind == "StatefulSet")


@pytest.mark.parametrize("kind", ["ReplicaSet", "ReplicationController"])
def test_another_template_is_for_the_pods_to_come_where_nothing_replaces_pods(kind: str) -> None:
    made = world()
    apply(made, worlds.workload(kind))
    settle(made)
    before = set(pods(made))

    apply(made, worlds.workload(kind, image="redis", replicas=3))

    assert [spec.containers[0].image for spec in started(settle(made)).values()] == ["redis"]
    assert before < set(pods(made))


def test_a_deployment_keeps_the_replica_sets_of_its_older_templates_for_a_rollback() -> None:
    made = world()
    for image in ("one", "two", "one"):
        apply(made, worlds.workload(image=image))
        settle(made)

    sets = made.store.list("replicasets.apps", "default")[0]
    revisions = {item["spec"]["template"]["spec"]["containers"][0]["image"]:
                 (item["metadata"]["annotations"]["deployment.kubernetes.io/revision"], item["spec"]["replicas"])
                 for item in sets}  # fmt: skip
    assert revisions == {"one": ("3", 2), "two": ("2", 0)}
    assert made.store.get("deployments.apps", "default", "web")["metadata"]["annotations"][
        "deployment.kubernetes.io/revision"
    ] == "3"  # fmt: skip


def test_a_paused_deployment_keeps_its_pods_and_their_number_until_it_goes_on() -> None:
    made = world()
    apply(made, worlds.workload())
    settle(made)
    before = set(pods(made))

    apply(made, worlds.workload(image="redis", replicas=3, more="  paused: true\n"))
    assert {spec.containers[0].image for spec in started(settle(made)).values()} == {"nginx"}
    assert before < set(pods(made))
    status = made.store.get("deployments.apps", "default", "web")["status"]
    assert (status["observedGeneration"], status["replicas"], "updatedReplicas" in status) == (2, 3, False)

    apply(made, worlds.workload(image="redis", replicas=3))
    assert {spec.containers[0].image for spec in started(settle(made)).values()} == {"redis"}
    assert not before & set(pods(made))


def test_a_deployment_that_was_never_anything_but_paused_has_no_pods() -> None:
    made = world()
    apply(made, worlds.workload(more="  paused: true\n"))
    settle(made)
    assert not pods(made)


def test_a_stateful_sets_pods_are_numbered_and_wait_for_their_forerunners() -> None:
    made = world()
    apply(made, worlds.workload("StatefulSet", more="  ordinals: {start: 3}\n"))
    settle(made)
    assert list(pods(made)) == ["web-3", "web-4"]
    assert pods(made)["web-3"].template.labels["statefulset.kubernetes.io/pod-name"] == "web-3"

    worlds.delete(made, "pod", "web-3")
    first = made.take()
    assert (first.start, first.stop) == ([], [pod_key("web-3")])
    assert pods(made)["web-3"].terminating
    made.pod_stopped(pod_key("web-3"))

    assert [spec.name for spec in made.take().start] == ["web-3"]


def test_a_daemon_set_has_a_pod_on_every_node_its_selector_allows() -> None:
    made = world(nodes=3)
    on_one = "      nodeSelector: {kubernetes.io/hostname: node-2}\n"
    apply(
        made,
        worlds.workload("DaemonSet", "all", replicas=None) + worlds.workload("DaemonSet", "one", None, more=on_one),
    )

    found = sorted((name.split("-")[0], pod.template.node) for name, pod in pods(made).items())
    assert found == [("all", "node-1"), ("all", "node-2"), ("all", "node-3"), ("one", "node-2")]


def test_a_deleted_pod_of_a_workload_is_replaced_under_another_name() -> None:
    made = world()
    apply(made, worlds.workload())
    settle(made)
    victim, other = pods(made)

    worlds.delete(made, "po", victim)

    steps = made.take()
    assert steps.stop == [pod_key(victim)]
    assert len(steps.start) == 1
    made.pod_stopped(*steps.stop)
    made.take()
    assert set(pods(made)) == {other, steps.start[0].name}


def test_a_pod_whose_labels_no_longer_match_is_nobodys_and_replaced() -> None:
    made = world()
    apply(made, worlds.workload(replicas=1))
    settle(made)
    (name,) = pods(made)

    worlds.label(made, "pod", name, {"app": "quarantine"})
    settle(made)

    assert pods(made)[name].owner is None
    assert len(pods(made)) == 2
    worlds.delete(made, "deploy", "web")
    settle(made)
    assert list(pods(made)) == [name]
    worlds.delete(made, "pod", name)
    settle(made)
    assert not pods(made)


@pytest.mark.parametrize("kind", ["Deployment", "ReplicaSet", "ReplicationController"])
def test_a_pod_whose_labels_match_again_is_taken_back_and_there_are_no_more_than_wanted(kind: str) -> None:
    made = world()
    apply(made, worlds.workload(kind, replicas=2))
    settle(made)
    name = next(iter(pods(made)))
    worlds.label(made, "pod", name, {"app": "quarantine"})
    settle(made)
    assert len(pods(made)) == 3

    worlds.label(made, "pod", name, {"app": "web"})
    settle(made)

    assert len(pods(made)) == 2
    assert all(pod.owner is not None for pod in pods(made).values())


def test_a_label_the_selector_does_not_look_at_keeps_a_pod_with_its_workload() -> None:
    made = world()
    apply(made, worlds.workload(replicas=1))
    settle(made)
    (name,) = pods(made)

    worlds.label(made, "pod", name, {"tier": "front"})

    assert list(pods(made)) == [name]
    assert pods(made)[name].template.labels["tier"] == "front"
    assert not made.take().start


def test_a_job_starts_pods_until_enough_have_succeeded() -> None:
    made = world()
    apply(made, worlds.job(more="  completions: 3\n  parallelism: 2\n"))
    settle(made)
    runs = 0
    while running := [name for name, pod in pods(made).items() if pod.phase == "Running"]:
        assert len(running) == min(2, 3 - runs)
        finish(made, running[0], succeeded=True)
        runs += 1
        settle(made)

    assert runs == 3
    assert {pod.phase for pod in pods(made).values()} == {"Succeeded"}
    status = made.store.get("jobs.batch", "default", "once")["status"]
    assert (status["succeeded"], status["conditions"][0]["type"]) == (3, "Complete")
    worlds.delete(made, "job", "once")
    settle(made)
    assert not pods(made)


def test_a_failed_pod_of_a_job_is_tried_again_as_often_as_its_limit_says() -> None:
    made = world()
    apply(made, worlds.job(more="  backoffLimit: 2\n"))
    settle(made)
    runs = 0
    while running := [name for name, pod in pods(made).items() if pod.phase == "Running"]:
        finish(made, running[0], succeeded=False)
        settle(made)
        runs += 1

    assert runs == 3
    assert made.store.get("jobs.batch", "default", "once")["status"]["conditions"][0]["type"] == "Failed"


def test_a_jobs_template_cannot_change() -> None:
    made = world()
    apply(made, worlds.job())

    (error,) = errors(made, worlds.job().replace("busybox", "alpine"))

    assert error.startswith("app.yaml:7:5: error: spec.template: field is immutable (delete it first")


def test_a_suspended_job_and_a_cron_job_start_nothing() -> None:
    made = world()
    cron = """
apiVersion: batch/v1
kind: CronJob
metadata: {name: tick}
spec:
  schedule: "* * * * *"
  jobTemplate:
    spec: {template: {spec: {restartPolicy: Never, containers: [{name: a, image: b}]}}}
"""
    done = worlds.applied(made, worlds.documents(worlds.job(more="  suspend: true\n") + cron))

    assert done.notes == ["cronjob.batch/tick: the lab keeps no time: a CronJob starts no Jobs"]
    assert not pods(made)


def test_a_dump_is_not_run_twice() -> None:
    made = world()
    owned = worlds.pod("web-1-x").replace(
        "labels: {}",
        "labels: {pod-template-hash: '1'}, ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: web-1, uid: u, controller: true}]",
    )
    done = worlds.applied(made, worlds.documents(owned + worlds.workload(replicas=1)))

    assert done.outcomes == ["pod/web-1-x ignored", "deployment.apps/web created"]
    assert done.notes == ["pod/web-1-x: created by deployment.apps/web"]
    assert len(pods(made)) == 1
    assert worlds.applied(made, worlds.documents(owned)).notes == ["pod/web-1-x: created by deployment.apps/web"]


# Nodes and addresses


def test_a_pod_runs_on_the_node_it_names_and_elsewhere_if_the_lab_has_no_such_node() -> None:
    made = world(nodes=3)
    text = worlds.pod("a", more="  nodeName: node-3") + worlds.pod("b", more="  nodeName: gone")
    done = worlds.applied(made, worlds.documents(text + worlds.pod("c", more="  nodeSelector: {disk: ssd}")))

    assert pods(made)["a"].template.node == "node-3"
    assert pods(made)["b"].template.node in made.state.nodes
    assert done.notes == [
        "pod/b: the lab has no node gone, so any node runs it",
        "pod/c: no node of the lab has the labels disk=ssd, so any node runs it",
    ]


def test_an_address_is_not_given_again_before_its_pod_has_stopped_and_all_others_were_used() -> None:
    made = world(nodes=1)
    apply(made, worlds.pod("a"))
    settle(made)
    address = pods(made)["a"].addresses
    worlds.delete(made, "pod", "a")
    settle(made)

    apply(made, worlds.workload(replicas=252))
    settle(made)
    seen = {pod.addresses for pod in pods(made).values()}

    # 253 addresses, one is the DNS server's.
    assert len(seen) == 252
    assert address in seen
    assert pods(made)[min(pods(made), key=lambda name: pods(made)[name].addresses)].addresses[0].startswith("10.244.1.")


def test_a_pod_without_an_address_waits_for_one_and_no_more_are_made_until_it_has() -> None:
    made = world(nodes=1)
    apply(made, worlds.workload(replicas=400))
    settle(made)
    (waiting,) = made.waiting
    placed = [name for name, pod in pods(made).items() if pod.addresses]
    assert len(placed) == 252
    assert set(pods(made)) == {*placed, waiting.name}
    status = made.store.get("pods", "default", waiting.name)["status"]
    assert (status["phase"], status["conditions"][0]["reason"]) == ("Pending", "Unschedulable")

    worlds.delete(made, "pod", placed[0])
    steps = made.take()
    assert not steps.start
    made.pod_stopped(*steps.stop)

    assert [spec.name for spec in made.take().start] == [waiting.name]
    assert len(made.waiting) == 1


def test_a_dual_stack_pod_has_an_address_of_each_family() -> None:
    made = world(nodes=1, families=(4, 6))
    apply(made, worlds.pod("a"))

    assert pods(made)["a"].addresses == ("10.244.1.3", "fd00:10:244:1::3")


def test_a_host_network_pod_has_its_nodes_address_and_name() -> None:
    made = world(nodes=1)
    apply(made, worlds.pod("a", more="  hostNetwork: true"))
    (spec,) = started(settle(made)).values()

    assert spec.addresses == ("172.30.0.11",)
    assert (spec.host_network, spec.hostname, spec.dns_server) == (True, "node-1", "172.30.0.1")
    assert made.state.members[pod_key("a")].host


# What a pod runs


def test_containers_are_read_with_variables_filled_in() -> None:
    made = world()
    apply(made, """
apiVersion: v1
kind: Pod
metadata: {name: a}
spec:
  hostname: alpha
  initContainers:
  - {name: setup, image: busybox}
  - {name: proxy, image: envoy, restartPolicy: Always}
  containers:
  - name: main
    image: redis:7
    command: [redis-server, "--port", "$(PORT)", "$$(PORT)", "$(UNKNOWN)"]
    args: [--name, "$(FULL)"]
    workingDir: /data
    env:
    - {name: PORT, value: "7000"}
    - {name: FULL, value: "redis-$(PORT)"}
    - {name: IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
    ports: [{containerPort: 7000}]
""")  # fmt: skip
    spec = started(settle(made))["a"]

    assert spec.hostname == "alpha"
    assert [container.name for container in spec.containers] == ["proxy", "main"]
    main = spec.containers[1]
    assert main.command == ("redis-server", "--port", "7000", "$(PORT)", "$(UNKNOWN)")
    assert main.args == ("--name", "redis-7000")
    assert main.env == {"PORT": "7000", "FULL": "redis-7000"}
    assert (main.working_dir, main.ports[0].number) == ("/data", 7000)
    assert isinstance(main, Container)


def test_what_of_a_pod_is_left_out_is_said() -> None:
    done = worlds.applied(
        world(),
        worlds.documents(
            worlds.pod(
                "a",
                more="  - {name: other, image: b, env: [{name: X, valueFrom: {fieldRef: {}}}], envFrom: [{}]}\n"
                "  initContainers: [{name: setup, image: b}]",
            ).replace("containers: [{name: main, image: nginx}]", "containers:\n  - {name: main, image: nginx}")
        ),
    )

    assert done.notes == [
        "pod/a: the lab does not run init container setup",
        "pod/a: container other runs without X: the lab sets only plain values of env",
        "pod/a: container other runs without the variables of envFrom",
    ]


@pytest.mark.parametrize(
    ("more", "search", "server", "options"),
    [
        ("", ("default.svc.cluster.local", "svc.cluster.local", "cluster.local"), "10.96.0.10", ("ndots:5",)),
        ("  dnsPolicy: Default", (), "172.30.0.1", ()),
        ("  dnsPolicy: None\n  dnsConfig: {nameservers: [192.0.2.1], searches: [a.b], options: [{name: ndots, value: '2'}]}",
         ("a.b",), "192.0.2.1", ("ndots:2",)),
        ("  dnsConfig: {searches: [a.b], options: [{name: ndots, value: '2'}, {name: edns0}]}",
         ("default.svc.cluster.local", "svc.cluster.local", "cluster.local", "a.b"), "10.96.0.10", ("ndots:2", "edns0")),
        ("  hostNetwork: true\n  dnsPolicy: ClusterFirstWithHostNet",
         ("default.svc.cluster.local", "svc.cluster.local", "cluster.local"), "10.96.0.10", ("ndots:5",)),
    ],
)  # fmt: skip
def test_a_pods_resolver_is_that_of_its_dns_policy(
    more: str, search: tuple[str, ...], server: str, options: tuple[str, ...]
) -> None:
    made = world()
    apply(made, worlds.pod("a", more=more))
    spec = started(settle(made))["a"]

    assert (spec.dns_search, spec.dns_server, spec.dns_options) == (search, server, options)
