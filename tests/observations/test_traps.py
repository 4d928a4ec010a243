# SPDX-License-Identifier: Apache-2.0
"""Mistakes that tutorials make or warn of, and statements of theirs that no single connection shows."""

from __future__ import annotations

from pathlib import Path

import pytest

import podfence
from podfence.kube.findings import Severity

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
RULES = EXAMPLES / "pod-traffic-rules"
BEFORE = EXAMPLES / "before-1-7"

DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  selector: {matchLabels: {part: front}}
  template:
    metadata: {labels: {part: front}}
    spec: {containers: [{name: web, image: nginx}]}
"""


def decide(cluster: podfence.Cluster, source: str, destination: str, port: int | str) -> bool | None:
    """Return whether a connection is allowed."""
    return cluster.check(source, destination, port).allowed


def write(folder: Path, name: str, text: str) -> Path:
    """Write a manifest and return its path."""
    path = folder / name
    path.write_text(text)
    return path


# What is refused or reported while reading


def test_fragment_of_a_policy_is_refused(tmp_path: Path) -> None:
    """The inside of a spec, as pages print it, is no object: nothing says what it is or whom it selects."""
    fragment = write(
        tmp_path,
        "fragment.yaml",
        """
policyTypes: [Ingress]
ingress:
- from:
  - podSelector: {matchLabels: {name: api-pod}}
  ports: [{protocol: TCP, port: 27017}]
""",
    )
    with pytest.raises(podfence.InputError) as caught:
        podfence.load(RULES / "app.yaml", fragment)
    errors = [problem for problem in caught.value.problems if problem.severity is Severity.ERROR]
    assert {problem.position.file for problem in errors} == {str(fragment)}
    assert "kind" in str(caught.value).lower()


@pytest.mark.parametrize(
    ("files", "ingress_open", "egress_open"),
    [
        pytest.param(("db-from-api.yaml", "db-egress.yaml"), True, False, id="the egress form is last"),
        pytest.param(("db-egress.yaml", "db-from-api.yaml"), False, True, id="the ingress form is last"),
    ],
)
def test_last_of_two_policies_of_one_name_counts_and_a_warning_names_them(
    files: tuple[str, str], *, ingress_open: bool, egress_open: bool
) -> None:
    cluster = podfence.load(RULES / "app.yaml", *(RULES / name for name in files))
    (warning,) = cluster.warnings
    assert "db-network-policy" in str(warning)
    assert warning.severity is Severity.WARNING
    assert decide(cluster, "default/client", "default/db", 27017) is ingress_open
    assert decide(cluster, "default/db", "8.8.8.8", 443) is egress_open


def test_namespace_that_nobody_creates_is_made_up() -> None:
    cluster = podfence.load(EXAMPLES / "all-namespaces")
    assert "bar" in cluster.state.namespaces
    # It is said where a policy asks for a label that it may have; here every namespace is meant.
    assert not any("bar" in note for note in cluster.notes)


def test_a_made_up_namespace_is_said_where_a_policy_asks_for_a_label_that_it_may_have(tmp_path: Path) -> None:
    (tmp_path / "all.yaml").write_text(
        "{apiVersion: v1, kind: Pod, metadata: {name: web, namespace: bar}, spec: {containers: [{name: c, image: i}]}}\n---\n"
        "{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: p, namespace: shop}, spec: {podSelector: {},"
        " ingress: [{from: [{namespaceSelector: {matchLabels: {team: a}}}]}]}}\n"
    )
    (note,) = (text for text in podfence.load(tmp_path).notes if "only mentioned" in text)
    assert "bar" in note


# Whom a policy selects


def test_match_labels_without_a_value_selects_every_pod() -> None:
    cluster = podfence.load(EXAMPLES / "deny-other-namespaces")
    assert decide(cluster, "foo/client", "default/web", 80) is False
    assert decide(cluster, "foo/client", "default/client", 80) is False
    assert decide(cluster, "foo/client", "default/any=label", 80) is False
    assert decide(cluster, "default/client", "foo/client", 80) is True


def test_run_label_is_not_an_app_label() -> None:
    """`kubectl run web` labels its pod run=web; a policy for app=web does not see it."""
    cluster = podfence.load(EXAMPLES / "deny-all")
    assert decide(cluster, "default/client", "default/app=web", 80) is False
    assert decide(cluster, "default/client", "default/run=web", 80) is True


@pytest.mark.parametrize(("label", "allowed"), [("app: web", True), ("part: front", False)])
def test_policy_sees_the_labels_of_pods_and_not_of_their_deployment(
    tmp_path: Path, label: str, *, allowed: bool
) -> None:
    policy = f"""---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {{name: closed}}
spec: {{podSelector: {{matchLabels: {{{label}}}}}}}
"""
    cluster = podfence.load(write(tmp_path, "web.yaml", DEPLOYMENT + policy))
    assert decide(cluster, "default/some=client", "default/web", 80) is allowed


# Ports


@pytest.mark.parametrize(
    ("policy", "service_port", "allowed"),
    [
        pytest.param("api-allow-5000.yaml", 5001, True, id="container port in the policy, Service 5001"),
        pytest.param("api-allow-5000.yaml", 8001, False, id="container port in the policy, Service 8001"),
        pytest.param("api-allow-5001.yaml", 5001, False, id="Service port in the policy"),
    ],
)
def test_service_is_judged_at_its_target_port(policy: str, service_port: int, *, allowed: bool) -> None:
    cluster = podfence.load(EXAMPLES / "two-ports" / "app.yaml", EXAMPLES / "two-ports" / policy)
    assert decide(cluster, "default/role=monitoring", "default/svc/apiserver", service_port) is allowed


def test_port_name_that_no_container_declares_admits_nothing() -> None:
    folder = EXAMPLES / "two-ports"
    cluster = podfence.load(*(folder / name for name in ("app.yaml", "apiserver-named.yaml", "api-allow-metrics.yaml")))
    assert decide(cluster, "default/role=monitoring", "default/apiserver-named", "metrics") is True
    assert decide(cluster, "default/role=monitoring", "default/apiserver-named", 8000) is False
    for port in (5000, 8000, "5000/udp"):
        assert decide(cluster, "default/role=monitoring", "default/apiserver", port) is False


# What a rule leaves open


def test_empty_rule_and_all_pods_of_all_namespaces_agree_on_pods_only() -> None:
    folder = EXAMPLES / "allow-all"
    everything = podfence.load(folder / "app.yaml", folder / "web-allow-all.yaml")
    all_pods = podfence.load(folder / "app.yaml", folder / "web-allow-all-pods.yaml")
    for source in ("default/client", "nsother/client", "nsother/any=label", "default/web"):
        assert decide(everything, source, "default/web", 80) is decide(all_pods, source, "default/web", 80) is True
    for source in ("203.0.113.9", "10.1.2.3", "internet"):
        assert decide(everything, source, "default/web", 80) is True
        assert decide(all_pods, source, "default/web", 80) is False


def test_allow_wins_over_deny_in_either_order() -> None:
    folder = EXAMPLES / "allow-all"
    files = ("app.yaml", "web-deny-all.yaml", "web-allow-all.yaml")
    for order in (files, files[::-1]):
        cluster = podfence.load(*(folder / name for name in order))
        assert decide(cluster, "default/client", "default/web", 80) is True


def test_deny_all_that_lists_no_egress_leaves_egress_open() -> None:
    cluster = podfence.load(EXAMPLES / "deny-namespace")
    assert decide(cluster, "kube-system/client", "default/client", 80) is False
    assert decide(cluster, "default/client", "1.1.1.1", 443) is True


def test_policy_prevents_connections_and_does_not_create_them(tmp_path: Path) -> None:
    """An egress rule towards a pod does not open that pod."""
    closed = """
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: payroll}
spec: {podSelector: {matchLabels: {name: payroll}}}
"""
    cluster = podfence.load(RULES / "app.yaml", RULES / "internal-policy.yaml", write(tmp_path, "payroll.yaml", closed))
    verdict = cluster.check("default/internal", "default/payroll", 8080)
    assert verdict.egress.decision is podfence.Decision.ALLOWED
    assert verdict.ingress.decision is podfence.Decision.DENIED
    assert verdict.allowed is False


@pytest.mark.parametrize("setting", ["client", "node", "depends"])
def test_empty_rule_admits_clients_of_a_node_port_whatever_their_address_becomes(setting: str) -> None:
    """3.24, through the Service: the address seen by the pod may be the client's or a node's."""
    options = podfence.Options(service_source=setting)
    cluster = podfence.load(EXAMPLES / "external-clients", options=options)
    assert decide(cluster, "192.168.3.200", "default/svc/web", 80) is True


# Names and DNS


@pytest.mark.parametrize(
    ("example", "allowed"),
    [("deny-egress", False), ("allow-dns", True), ("deny-external-egress", True)],
)
def test_egress_policy_without_a_dns_rule_cuts_name_lookups(example: str, *, allowed: bool) -> None:
    cluster = podfence.load(EXAMPLES / example)
    for port in ("53/udp", "53/tcp"):
        assert decide(cluster, "default/foo", "kube-system/svc/kube-dns", port) is allowed


@pytest.mark.parametrize("example", ["allow-dns", "deny-external-egress"])
def test_dns_rule_without_to_reaches_every_resolver_in_the_world(example: str) -> None:
    cluster = podfence.load(EXAMPLES / example)
    verdict = cluster.check("default/foo", "internet", "53/udp")
    assert verdict.allowed is True
    assert verdict.egress.rule is not None
    assert verdict.egress.rule.index == 0


def test_three_tiers_with_a_dns_rule_reach_only_the_dns_of_the_cluster() -> None:
    cluster = podfence.load(EXAMPLES / "three-tier", recursive=True)
    for source in ("shop/web", "shop/api", "shop/db"):
        assert decide(cluster, source, "kube-system/svc/kube-dns", "53/udp") is True
        assert decide(cluster, source, "internet", "53/udp") is False


# The node


@pytest.mark.parametrize(("setting", "allowed"), [("policy", False), ("allowed", True), ("depends", None)])
def test_egress_to_the_own_node_is_an_option(setting: str, *, allowed: bool | None) -> None:
    """3.61 says it is always allowed; other sentences of the documentation say so of ingress only."""
    options = podfence.Options(own_node_egress=setting)
    cluster = podfence.load(EXAMPLES / "deny-egress-namespace", options=options)
    assert decide(cluster, "default/web", "node:n1", 80) is allowed


# Before Kubernetes 1.7


ANNOTATED = "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: default\n  annotations:\n    {key}: '{value}'\n"


@pytest.mark.parametrize(
    ("key", "value", "allowed"),
    [
        pytest.param(
            "net.beta.kubernetes.io/network-policy", '{"ingress":{"isolation":"DefaultDeny"}}', False, id="no blanks"
        ),
        pytest.param(
            "net.beta.kubernetes.io/network-policy",
            '{ "ingress" : { "isolation" : "DefaultDeny" } }',
            False,
            id="blanks",
        ),
        pytest.param(
            "net.beta.kubernetes.io/network-policy", '{"ingress": {"isolation": "None"}}', True, id="other value"
        ),
        pytest.param("net.beta.kubernetes.io/network-policy", '{"ingress": {}}', True, id="no isolation"),
        pytest.param("net.beta.kubernetes.io/network-policy", "{}", True, id="no ingress"),
        pytest.param("net.beta.kubernetes.io/network-policy", '{"ingress": ', True, id="not JSON"),
        pytest.param(
            "net.beta.kubernetes.io/networkpolicy", '{"ingress": {"isolation": "DefaultDeny"}}', True, id="misspelt key"
        ),
    ],
)
def test_only_the_exact_annotation_isolates(tmp_path: Path, key: str, value: str, *, allowed: bool) -> None:
    """Without isolation the policies of the namespace have no effect at all."""
    namespace = write(tmp_path, "namespace.yaml", ANNOTATED.format(key=key, value=value))
    cluster = podfence.load(BEFORE / "app.yaml", BEFORE / "access-nginx.yaml", namespace)
    assert decide(cluster, "default/client", "default/nginx", 80) is allowed
    assert decide(cluster, "default/access=true", "default/nginx", 80) is True


def test_old_policy_read_as_v1_isolates_without_the_annotation() -> None:
    files = (BEFORE / "app.yaml", BEFORE / "access-nginx.yaml")
    old = podfence.load(*files)
    new = podfence.load(*files, options=podfence.Options(legacy="v1"))
    assert decide(old, "default/client", "default/nginx", 80) is True
    assert decide(new, "default/client", "default/nginx", 80) is False
