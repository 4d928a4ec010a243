# SPDX-License-Identifier: Apache-2.0
"""What objects are made of documents."""

from __future__ import annotations

import json
from textwrap import dedent
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from podfence.kube import wire
from podfence.kube.decode import decode
from podfence.kube.findings import Severity
from podfence.kube.objects import (
    Backend,
    ContainerPort,
    EndpointPort,
    EndpointSlice,
    Ingress,
    IPBlock,
    Key,
    Namespace,
    NetworkPolicy,
    Node,
    Owner,
    Peer,
    Pod,
    PolicyPort,
    Requirement,
    Rule,
    Selector,
    Service,
    ServicePort,
    Workload,
)
from podfence.kube.validation.findings import Findings
from podfence.kube.validation.shape import examine
from podfence.kube.yaml import parse
from podfence.lab.store.resources import KEPT

if TYPE_CHECKING:
    from collections import Counter

    from podfence.kube.objects import KubeObject


def read(text: str, **options: Any) -> tuple[list[KubeObject], list[str], Counter[str]]:  # noqa: ANN401
    documents, problems = parse(dedent(text).encode(), "f.yaml")
    objects, more, ignored = decode(documents, **options)[:3]
    return objects, [str(problem) for problem in problems + more], ignored


def one(text: str, **options: Any) -> Any:  # noqa: ANN401 - any object
    objects, problems, _ = read(text, **options)
    assert problems == []
    (result,) = objects
    return result


def policy(spec: str, **options: Any) -> NetworkPolicy:  # noqa: ANN401
    head = "{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: p}, spec: {"
    result = one(f"{head}{spec}}}}}", **options)
    assert isinstance(result, NetworkPolicy)
    return result


# NetworkPolicy


@pytest.mark.parametrize(
    ("spec", "types"),
    [
        ("", ("Ingress",)),
        ("ingress: [{}]", ("Ingress",)),
        ("egress: [{}]", ("Ingress", "Egress")),
        ("egress: []", ("Ingress",)),
        ("egress: [null]", ("Ingress", "Egress")),
        ("policyTypes: [], egress: [{}]", ("Ingress", "Egress")),
        ("policyTypes: [Egress]", ("Egress",)),
        ("policyTypes: [Egress, Ingress]", ("Egress", "Ingress")),
    ],
)
def test_absent_policy_types_follow_the_rules(spec: str, types: tuple[str, ...]) -> None:
    assert policy(spec).policy_types == types


@pytest.mark.parametrize(
    ("spec", "rules"),
    [
        ("", ()),
        ("ingress: null", ()),
        ("ingress: []", ()),
        ("ingress: [{}]", (Rule(),)),
        ("ingress: [null]", (Rule(),)),
        ("ingress: [{from: null, ports: null}]", (Rule(),)),
        ("ingress: [{from: [], ports: []}]", (Rule(empty_peers=True, empty_ports=True),)),
        ("ingress: [{ports: [null]}]", (Rule(ports=(PolicyPort(),)),)),
        ("ingress: [{ports: [{protocol: null}]}]", (Rule(ports=(PolicyPort(),)),)),
        ("ingress: [{ports: [{port: 80.0, endPort: 9e1}]}]", (Rule(ports=(PolicyPort("TCP", 80, 90),)),)),
        ("ingress: [{ports: [{port: http, protocol: UDP}]}]", (Rule(ports=(PolicyPort("UDP", "http"),)),)),
        ("ingress: [{from: [{podSelector: {}}]}]", (Rule(peers=(Peer(pod_selector=Selector()),)),)),
        (
            "ingress: [{from: [{podSelector: null, namespaceSelector: {}}]}]",
            (Rule(peers=(Peer(namespace_selector=Selector()),)),),
        ),
        (
            "ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16]}}]}]",
            (Rule(peers=(Peer(ip_block=IPBlock("10.0.0.0/8", ("10.1.0.0/16",))),)),),
        ),
        (
            "ingress: [{from: [{ipBlock: {cidr: '64:ff9b::a00:0/104'}}]}]",
            (Rule(peers=(Peer(ip_block=IPBlock("64:ff9b::a00:0/104")),)),),
        ),
    ],
)
def test_rules_with_absent_null_and_empty_parts(spec: str, rules: tuple[Rule, ...]) -> None:
    assert policy(spec).ingress == rules


def test_a_float_that_is_a_whole_number_is_that_number() -> None:
    # The YAML reader makes integers of them; documents from elsewhere may not have.
    class Plain:
        file = "f"
        value: ClassVar = {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": {"name": "p"},
            "spec": {"ingress": [{"ports": [{"port": 80.0}]}]},
        }

    (read_policy,), problems = decode([Plain()])[:2]  # type: ignore[list-item]
    assert isinstance(read_policy, NetworkPolicy)
    assert (read_policy.ingress[0].ports, problems) == ((PolicyPort("TCP", 80),), [])


def test_selectors_are_requirements_labels_first() -> None:
    selector = "{matchExpressions: [{key: tier, operator: NotIn, values: [a, null]}], matchLabels: {app: web, x: null}}"
    assert policy(f"podSelector: {selector}").pod_selector == Selector(
        (
            Requirement("app", "In", ("web",)),
            Requirement("x", "In", ("",)),
            Requirement("tier", "NotIn", ("a", "")),
        )
    )


def test_a_policy_knows_where_it_is_written() -> None:
    objects, _, _ = read("""\
        apiVersion: networking.k8s.io/v1
        kind: NetworkPolicyList
        items:
        - metadata: {name: p}
          spec:
            egress:
            - to:
              - ipBlock: {cidr: 10.0.0.0/8}
        """)
    origin = objects[0].origin
    assert origin is not None
    assert origin.at("spec", "egress", 0, "to", 0, "ipBlock", "cidr").line == 8


LAX_BLOCKS = [
    ("10.1.2.3/24", "10.1.2.0/24"),
    ("010.0.0.0/08", "10.0.0.0/8"),
    ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
    ("::ffff:10.0.0.0/33", "::/33"),
]


@pytest.mark.parametrize(("written", "meant"), LAX_BLOCKS)
@pytest.mark.parametrize(
    ("meta", "options"),
    [
        ("{name: p}", {"validation": "lax"}),
        ("{name: p, uid: u}", {}),
        ("{name: p, resourceVersion: '7'}", {}),
        ("{name: p, creationTimestamp: '2020-01-01T00:00:00Z'}", {}),
        ("{name: p, managedFields: [{manager: kubectl}]}", {}),
    ],
)
def test_old_spellings_of_blocks_are_read_from_live_clusters_and_on_request(
    meta: str, options: dict[str, Any], written: str, meant: str
) -> None:
    peer = f"spec: {{ingress: [{{from: [{{ipBlock: {{cidr: '{written}'}}}}]}}]}}"
    text = f"{{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {meta}, {peer}}}"
    (read_policy,), problems, _ = read(text, **options)
    assert isinstance(read_policy, NetworkPolicy)
    assert read_policy.ingress[0].peers[0].ip_block == IPBlock(meant)
    assert problems
    assert all(": warning: spec.ingress[0].from[0].ipBlock.cidr: " in problem for problem in problems)


@pytest.mark.parametrize("meta", ["{name: p}", "{name: p, creationTimestamp: null, uid: ''}"])
def test_old_spellings_of_blocks_are_refused_in_new_objects(meta: str) -> None:
    peer = "spec: {ingress: [{from: [{ipBlock: {cidr: 10.1.2.3/24}}]}]}"
    objects, problems, _ = read(f"{{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {meta}, {peer}}}")
    assert (objects, len(problems)) == ([], 1)


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ("status: {}", []),
        ("spec: {futureField: 1}", ['warning: spec.futureField: unknown field "spec.futureField" is ignored']),
        ("spec: {podSelecter: {}}", ['error: unknown field "spec.podSelecter" (did you mean podSelector?)']),
    ],
)
def test_a_live_policy_may_hold_what_a_server_knew_but_no_misspelling(extra: str, words: list[str]) -> None:
    text = f"{{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {{name: p, uid: u}}, {extra}}}"
    _, problems, _ = read(text)
    assert len(problems) == len(words)
    assert all(word in problem for word, problem in zip(words, problems, strict=True))


LEGACY = "{apiVersion: extensions/v1beta1, kind: NetworkPolicy, metadata: {name: p}, spec: {podSelector: {}%s}}"


@pytest.mark.parametrize("legacy", ["auto", "v1beta1", "v1"])
def test_a_policy_of_the_old_group_keeps_its_version_and_its_empty_lists(legacy: str) -> None:
    old = one(LEGACY % ", ingress: [{from: [], ports: []}]", legacy=legacy)
    assert (old.api_version, old.policy_types) == ("extensions/v1beta1", ("Ingress",))
    assert old.ingress == (Rule(empty_peers=True, empty_ports=True),)


NEWER = ", egress: [{to: [{ipBlock: {cidr: 10.0.0.0/8}}], ports: [{port: 1, endPort: 2}]}], policyTypes: [Egress]"


@pytest.mark.parametrize(("legacy", "errors"), [("auto", 2), ("v1beta1", 2), ("v1", 0)])
def test_newer_fields_in_the_old_group_need_its_newer_meaning(legacy: str, errors: int) -> None:
    _, problems, _ = read(LEGACY % NEWER, legacy=legacy)
    assert len(problems) == errors
    assert all("--set legacy=v1" in problem for problem in problems)


def test_the_newer_meaning_of_the_old_group_is_checked_like_the_new_one() -> None:
    _, problems, _ = read(LEGACY % ", ingress: [{from: [{}], ports: [{protocol: SCTP}]}]", legacy="v1")
    assert len(problems) == 1
    assert "must specify a peer" in problems[0]


# Metadata, lists, kinds


def test_a_missing_namespace_is_default_and_cluster_scoped_objects_have_none() -> None:
    objects, _, _ = read("""\
        {apiVersion: v1, kind: Namespace, metadata: {name: shop, namespace: default}}
        ---
        {apiVersion: v1, kind: Service, metadata: {name: s, namespace: ''}, spec: {ports: [{port: 80}]}}
        ---
        {apiVersion: v1, kind: Service, metadata: {name: s, namespace: shop}, spec: {ports: [{port: 80}]}}
        """)
    assert [item.key for item in objects] == [
        ("Namespace", "", "shop"),
        ("Service", "default", "s"),
        ("Service", "shop", "s"),
    ]


def test_generated_names_are_told_apart() -> None:
    text = "{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {generateName: p-}}"
    objects, _, _ = read(f"{text}\n---\n{text}")
    assert [item.key.name for item in objects] == ["p-00001", "p-00002"]


def test_lists_are_taken_apart_at_any_depth() -> None:
    objects, problems, ignored = read("""\
        apiVersion: v1
        kind: List
        items:
        - apiVersion: v1
          kind: NamespaceList
          items:
          - metadata: {name: a}
          - metadata: {name: b}
        - apiVersion: v1
          kind: ConfigMapList
          items: [{metadata: {name: c}}, {metadata: {name: d}}]
        - {apiVersion: v1, kind: PodList, items: null}
        """)
    assert ([item.key.name for item in objects], problems, ignored) == (["a", "b"], [], {"ConfigMap": 2})


def test_kinds_that_no_answer_uses_are_read_for_those_who_keep_them() -> None:
    objects, problems, ignored = read(
        """\
        {apiVersion: v1, kind: ConfigMapList, items: [{metadata: {name: a, namespace: shop}, data: {x: y}}]}
        ---
        {apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: "system:a"}, rules: []}
        ---
        {apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {name: a/b}}
        ---
        {apiVersion: v1, kind: Secret, metadata: {name: A}}
        ---
        {apiVersion: rbac.authorization.k8s.io/v1beta1, kind: Role, metadata: {name: old}}
        """,
        kept=KEPT,
    )
    assert [item.key for item in objects] == [Key("ConfigMap", "shop", "a"), Key("ClusterRole", "", "system:a")]
    assert [problem.partition(": Invalid value: ")[2].partition(":")[2].strip()[:16] for problem in problems] == [
        "may not contain ",
        "a lowercase RFC ",
    ]
    assert ignored == {"Role.rbac.authorization.k8s.io": 1}


def test_other_kinds_are_counted() -> None:
    objects, problems, ignored = read("""\
        {apiVersion: v1, kind: ConfigMap, metadata: {name: a}, data: 7}
        ---
        {apiVersion: v1, kind: ConfigMap}
        ---
        {apiVersion: projectcalico.org/v3, kind: NetworkPolicy, metadata: {name: a}, spec: {order: 1}}
        ---
        {apiVersion: crd.projectcalico.org/v1, kind: NetworkPolicy, metadata: {name: a}}
        ---
        {apiVersion: serving.knative.dev/v1, kind: Service, metadata: {name: a}}
        ---
        {apiVersion: networking.k8s.io/v1, kind: IngressClass, metadata: {name: a}}
        """)
    assert (objects, problems) == ([], [])
    assert ignored == {
        "ConfigMap": 2,
        "NetworkPolicy.projectcalico.org": 1,
        "NetworkPolicy.crd.projectcalico.org": 1,
        "Service.serving.knative.dev": 1,
        "IngressClass.networking.k8s.io": 1,
    }


SPEC = "spec: {template: {metadata: {labels: {app: d}}, spec: {containers: [{name: a, image: i}]}}}"


@pytest.mark.parametrize(
    ("version", "kind"),
    [
        ("extensions/v1beta1", "Deployment"),
        ("extensions/v1beta1", "DaemonSet"),
        ("extensions/v1beta1", "ReplicaSet"),
        ("apps/v1beta1", "Deployment"),
        ("apps/v1beta1", "StatefulSet"),
        ("apps/v1beta2", "DaemonSet"),
    ],
)
def test_workloads_of_old_versions_are_read_with_a_warning(version: str, kind: str) -> None:
    objects, problems, _ = read(f"{{apiVersion: {version}, kind: {kind}, metadata: {{name: d}}, {SPEC}}}")
    message = f"{kind} of {version} is not served since Kubernetes 1.16 (write apiVersion: apps/v1)"
    assert problems == [f"f.yaml:1:14: warning: apiVersion: {message}"]
    assert [item.key for item in objects] == [(kind, "default", "d")]


# The other kinds


def test_a_namespace_has_the_label_of_its_name() -> None:
    read_namespace = one(
        "{apiVersion: v1, kind: Namespace, metadata: {name: a, annotations: {note: null},"
        " labels: {kubernetes.io/metadata.name: other, team: x}}}"
    )
    assert isinstance(read_namespace, Namespace)
    assert read_namespace.labels == {"kubernetes.io/metadata.name": "a", "team": "x"}
    assert read_namespace.annotations == {"note": ""}


POD = """\
apiVersion: v1
kind: Pod
metadata:
  name: a
  labels: {app: web}
  creationTimestamp: '2024-01-31T12:00:00Z'
  deletionTimestamp: '2024-01-31T13:00:00Z'
  ownerReferences:
  - {apiVersion: v1, kind: Node, name: n1, uid: u}
  - {apiVersion: apps/v1, kind: ReplicaSet, name: r, uid: u, controller: true, blockOwnerDeletion: true}
spec:
  hostNetwork: true
  nodeName: n1
  containers:
  - {name: c, image: i, ports: [{containerPort: 80, name: http}, {containerPort: 53, protocol: UDP}]}
  initContainers:
  - {name: once, image: i, ports: [{containerPort: 1}]}
  - {name: side, image: i, restartPolicy: Always, ports: [{containerPort: 9000, name: mesh}]}
status:
  phase: Running
  podIP: 10.0.0.1
  podIPs: [{ip: 10.0.0.1}, {ip: '2001:db8::1'}]
  hostIP: 192.0.2.1
  hostIPs: [{ip: 192.0.2.1}]
"""


def test_a_pod_with_all_that_matters() -> None:
    pod = one(POD)
    assert isinstance(pod, Pod)
    assert pod.template.labels == {"app": "web"}
    assert pod.template.ports == (
        ContainerPort(80, "TCP", "http"),
        ContainerPort(53, "UDP"),
        ContainerPort(9000, "TCP", "mesh", sidecar=True),
    )
    assert (pod.template.host_network, pod.template.node, pod.owner) == (True, "n1", Owner("ReplicaSet", "r"))
    assert (pod.addresses, pod.node_addresses) == (("10.0.0.1", "2001:db8::1"), ("192.0.2.1",))
    assert (pod.phase, pod.terminating, pod.created) == ("Running", True, "2024-01-31T12:00:00Z")


def test_an_old_pod_status_has_one_address() -> None:
    head, _, _ = POD.partition("status:")
    pod = one(f"{head}status: {{podIP: 10.0.0.1, hostIP: 192.0.2.1}}")
    assert (pod.addresses, pod.node_addresses) == (("10.0.0.1",), ("192.0.2.1",))


TEMPLATE = (
    "template: {metadata: {labels: {app: d}}, spec: {containers: [{name: a, image: i, ports: [{containerPort: 80}]}]"
)


@pytest.mark.parametrize(
    ("version", "kind", "spec", "replicas"),
    [
        ("apps/v1", "Deployment", f"selector: {{matchLabels: {{app: d}}}}, {TEMPLATE}}}}}", 1),
        ("apps/v1", "Deployment", f"replicas: 0, selector: {{matchLabels: {{app: d}}}}, {TEMPLATE}}}}}", 0),
        ("apps/v1", "StatefulSet", f"replicas: 3, selector: {{matchLabels: {{app: d}}}}, {TEMPLATE}}}}}", 3),
        ("apps/v1", "ReplicaSet", f"replicas: 2, selector: {{matchLabels: {{app: d}}}}, {TEMPLATE}}}}}", 2),
        ("apps/v1", "DaemonSet", f"selector: {{matchLabels: {{app: d}}}}, {TEMPLATE}}}}}", 1),
        ("v1", "ReplicationController", f"replicas: 2, {TEMPLATE}}}}}", 2),
        ("batch/v1", "Job", f"{TEMPLATE}, restartPolicy: Never}}}}", 1),
        ("batch/v1", "CronJob", f"jobTemplate: {{spec: {{{TEMPLATE}, restartPolicy: Never}}}}}}}}", 1),
    ],
)
def test_a_workload_has_its_template_and_replicas(version: str, kind: str, spec: str, replicas: int) -> None:
    workload = one(f"{{apiVersion: {version}, kind: {kind}, metadata: {{name: d}}, spec: {{{spec}}}}}")
    assert isinstance(workload, Workload)
    assert (workload.kind, workload.replicas) == (kind, replicas)
    assert (workload.template.labels, workload.template.ports) == ({"app": "d"}, (ContainerPort(80),))


@pytest.mark.parametrize(
    ("expression", "matches"),
    [
        ("{key: app, operator: In, values: [d]}", True),
        ("{key: app, operator: NotIn, values: [d]}", False),
        ("{key: app, operator: Exists}", True),
        ("{key: app, operator: DoesNotExist}", False),
        ("{key: tier, operator: NotIn, values: [d]}", True),
    ],
)
def test_a_workload_whose_expressions_miss_its_template_is_refused(expression: str, matches: bool) -> None:
    spec = f"spec: {{selector: {{matchExpressions: [{expression}]}}, {TEMPLATE}}}}}}}"
    objects, problems, _ = read(f"{{apiVersion: apps/v1, kind: Deployment, metadata: {{name: d}}, {spec}}}")
    assert (len(objects), len(problems)) == ((1, 0) if matches else (0, 1))


@pytest.mark.parametrize(
    ("spec", "wanted"),
    [
        (
            "selector: {app: web}, ports: [{port: 80}]",
            {"selector": {"app": "web"}, "ports": (ServicePort(80, 80),), "type": "ClusterIP", "headless": False},
        ),
        (
            "ports: [{port: 80, targetPort: http, protocol: UDP, name: a}]",
            {"ports": (ServicePort(80, "http", "UDP", "a"),)},
        ),
        ("ports: [{port: 80, targetPort: 0}]", {"ports": (ServicePort(80, 80),), "selector": None}),
        ("clusterIP: None, selector: {a: b}", {"headless": True, "addresses": (), "ports": ()}),
        ("clusterIP: 10.96.0.1, ports: [{port: 1}]", {"addresses": ("10.96.0.1",)}),
        ("clusterIPs: [10.96.0.1, 'fd00::1'], ports: [{port: 1}]", {"addresses": ("10.96.0.1", "fd00::1")}),
        ("type: NodePort, ports: [{port: 1, nodePort: 30001}]", {"ports": (ServicePort(1, 1, node_port=30001),)}),
        ("externalIPs: [192.0.2.7], ports: [{port: 1}]", {"external_addresses": ("192.0.2.7",)}),
        ("type: ExternalName, externalName: a.example, selector: {a: b}", {"selector": None, "type": "ExternalName"}),
        (
            "externalTrafficPolicy: Local, publishNotReadyAddresses: true, ports: [{port: 1}]",
            {"external_traffic_policy": "Local"},
        ),
    ],
)
def test_a_service(spec: str, wanted: dict[str, object]) -> None:
    service = one(f"{{apiVersion: v1, kind: Service, metadata: {{name: s}}, spec: {{{spec}}}}}")
    assert isinstance(service, Service)
    assert {name: getattr(service, name) for name in wanted} == wanted


def test_a_load_balancer_has_the_addresses_it_was_given() -> None:
    service = one(
        "{apiVersion: v1, kind: Service, metadata: {name: s}, spec: {type: LoadBalancer, ports: [{port: 1}]},"
        " status: {loadBalancer: {ingress: [{ip: 192.0.2.9}, {hostname: lb.example}]}}}"
    )
    assert service.external_addresses == ("192.0.2.9",)
    assert service.balancer_addresses == ("192.0.2.9",)


@pytest.mark.parametrize(("kind", "ranges"), [("LoadBalancer", ("198.51.100.0/24", "fd00::/8")), ("NodePort", ())])
def test_the_source_ranges_of_a_load_balancer_are_canonical_and_others_have_none(
    kind: str, ranges: tuple[str, ...]
) -> None:
    service = one(
        f"{{apiVersion: v1, kind: Service, metadata: {{name: s}}, spec: {{type: {kind}, ports: [{{port: 1}}],"
        " externalIPs: [192.0.2.8], loadBalancerSourceRanges: [' 198.51.100.0/24 ', 'fd00:0::/8', null]}}"
    )
    assert (service.source_ranges, service.balancer_addresses) == (ranges, ())


def test_an_endpoint_slice() -> None:
    slice_ = one("""\
        apiVersion: discovery.k8s.io/v1
        kind: EndpointSlice
        metadata: {name: web-x, namespace: shop, labels: {kubernetes.io/service-name: web}}
        addressType: IPv4
        endpoints:
        - {addresses: [10.0.0.1], targetRef: {kind: Pod, name: web-1}, conditions: {ready: true}, nodeName: n1}
        - {addresses: [10.0.0.2], conditions: {ready: false}}
        - {addresses: [192.0.2.1], targetRef: {kind: Node, name: n1}}
        ports: [{port: 8080, name: http}, {port: null, protocol: UDP}]
        """)
    assert isinstance(slice_, EndpointSlice)
    assert slice_.service == "web"
    assert slice_.backends == (
        Backend(("10.0.0.1",), "web-1", node="n1"),
        Backend(("10.0.0.2",), ready=False),
        Backend(("192.0.2.1",)),
    )
    assert slice_.ports == (EndpointPort(8080, "TCP", "http"), EndpointPort(None, "UDP"))


@pytest.mark.parametrize(("kind", "service"), [("Service", "web"), ("Cluster", "")])
def test_an_endpoint_slice_without_the_label_belongs_to_the_service_that_owns_it(kind: str, service: str) -> None:
    owner = f"{{apiVersion: v1, kind: {kind}, name: web, uid: u, controller: true}}"
    meta = f"metadata: {{name: x, ownerReferences: [{owner}]}}"
    assert one(f"{{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, {meta}}}").service == service


def test_a_node_has_the_ip_addresses_of_its_status() -> None:
    node = one("""\
        apiVersion: v1
        kind: Node
        metadata: {name: n1, labels: {zone: a}}
        spec: {podCIDR: 10.0.0.0/24}
        status:
          addresses:
          - {type: InternalIP, address: 192.0.2.1}
          - {type: Hostname, address: n1}
          - {type: ExternalIP, address: '2001:db8::1'}
        """)
    assert isinstance(node, Node)
    assert (node.labels, node.addresses, node.pod_cidrs) == (
        {"zone": "a"},
        ("192.0.2.1", "2001:db8::1"),
        ("10.0.0.0/24",),
    )


def test_an_ingress_names_the_services_of_all_its_backends() -> None:
    ingress = one("""\
        apiVersion: networking.k8s.io/v1
        kind: Ingress
        metadata: {name: i}
        spec:
          defaultBackend: {service: {name: home, port: {number: 80}}}
          rules:
          - http: {paths: [{backend: {service: {name: web}}}, {backend: {resource: {kind: Bucket}}}]}
          - http: {paths: [{backend: {service: {name: home}}}]}
        """)
    assert isinstance(ingress, Ingress)
    assert ingress.services == ("home", "web")


def test_an_old_ingress_is_read_with_a_warning() -> None:
    (ingress,), problems, _ = read("""\
        apiVersion: extensions/v1beta1
        kind: Ingress
        metadata: {name: i}
        spec: {backend: {serviceName: home, servicePort: 80}, rules: [{http: {paths: [{backend: {serviceName: web}}]}}]}
        """)
    assert isinstance(ingress, Ingress)
    assert (ingress.services, len(problems)) == (("home", "web"), 1)


def test_fields_of_other_kinds_that_are_not_read_are_not_looked_at() -> None:
    assert one(POD + "  containerStatuses: 7\n  qosClass: [x]\n").phase == "Running"


# Whatever comes in


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["key", "name", "from", "cidr", "matchLabels", "other"]), inner, max_size=2)
    ),
    max_leaves=4,
)
WHOLE = {
    "apiVersion": "networking.k8s.io/v1",
    "kind": "NetworkPolicy",
    "metadata": {
        "name": "p",
        "labels": {"a": "b"},
        "ownerReferences": [{"apiVersion": "v1", "kind": "K", "name": "n", "uid": "u", "controller": True}],
    },
    "spec": {
        "podSelector": {"matchLabels": {"a": "b"}},
        "ingress": [
            {
                "from": [
                    {"podSelector": {"matchExpressions": [{"key": "a", "operator": "In", "values": ["b"]}]}},
                    {"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}},
                ],
                "ports": [{"protocol": "TCP", "port": 80, "endPort": 90}, {"port": "http"}],
            }
        ],
        "egress": [{"to": [{"namespaceSelector": {}}]}],
        "policyTypes": ["Ingress", "Egress"],
    },
}


def replaced(value: Any, draw: st.DrawFn) -> Any:  # noqa: ANN401 - any JSON value
    """Return `value` with one value somewhere inside it replaced, or with one key more."""
    if isinstance(value, dict) and value and draw(st.integers(0, 5)):
        key = draw(st.sampled_from(sorted(value)))
        return {**value, key: replaced(value[key], draw)}
    if isinstance(value, list) and value and draw(st.integers(0, 5)):
        index = draw(st.integers(0, len(value) - 1))
        return [*value[:index], replaced(value[index], draw), *value[index + 1 :]]
    if isinstance(value, dict) and draw(st.booleans()):
        return {**value, draw(st.sampled_from(["to", "From", "x"])): draw(JSON)}
    return draw(JSON)


@st.composite
def damaged_policies(draw: st.DrawFn) -> Any:  # noqa: ANN401 - any JSON value
    value: Any = WHOLE
    for _ in range(draw(st.integers(1, 3))):
        value = replaced(value, draw)
    return value


@given(damaged_policies())
def test_the_slow_reader_leaves_only_what_the_quick_one_takes(value: Any) -> None:  # noqa: ANN401
    findings = Findings()
    rest = examine(value, wire.NetworkPolicy, findings)
    try:
        quick = msgspec.convert(value, wire.NetworkPolicy)
    except msgspec.ValidationError:
        # The quick reader alone does not take 80.0 for 80.
        assert rest is None or isinstance(msgspec.convert(rest, wire.NetworkPolicy), wire.NetworkPolicy)
    else:
        assert (list(findings), msgspec.convert(rest, wire.NetworkPolicy)) == ([], quick)


def test_the_slow_reader_takes_anything_where_anything_is_allowed() -> None:
    class Open(msgspec.Struct):
        anything: list[object]
        number: int | None = None

    findings = Findings()
    rest = examine({"anything": ["a", {"b": 1}, [2.5]], "number": "3"}, Open, findings)

    assert rest == {"anything": ["a", {"b": 1}, [2.5]], "number": None}
    assert [finding.path for finding in findings] == [("number",)]


@given(damaged_policies())
def test_any_document_gives_an_object_or_an_error_or_is_of_another_kind(value: Any) -> None:  # noqa: ANN401
    documents, unread = parse(json.dumps(value).encode(), "f.json")
    objects, problems, ignored = decode(documents)[:3]
    errors = [problem for problem in [*unread, *problems] if problem.severity is Severity.ERROR]
    assert len(objects) + ignored.total() + bool(errors) == 1 or not documents
    assert all(problem.position.line for problem in errors)
