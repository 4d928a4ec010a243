# SPDX-License-Identifier: Apache-2.0
"""What an input leaves out is not taken for something that is not there; the answer says how to give it (semantics 13).

Each row is an input of which a part is missing, a question, the exit code, and what the answer says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from click.testing import Result

    Run = Callable[..., Result]

SPACE = "{apiVersion: v1, kind: Namespace, metadata: {name: shop}}"
NODE = "{apiVersion: v1, kind: Node, metadata: {name: n1}, status: {addresses: [{type: InternalIP, address: 192.168.1.1}]}}"


def pod(name: str, spec: str = "") -> str:
    """Return a pod of namespace shop with the label app=NAME."""
    return (
        f"{{apiVersion: v1, kind: Pod, metadata: {{name: {name}, namespace: shop, labels: {{app: {name}}}}}, "
        f"spec: {{{spec or 'containers: [{name: c, image: i}]'}}}}}"
    )


def policy(on: str, rules: str, types: str = "Ingress", namespace: str = "shop") -> str:
    """Return a policy for the pods with the label app=ON."""
    return (
        f"{{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {{name: p, namespace: {namespace}}}, "
        f"spec: {{podSelector: {{matchLabels: {{app: {on}}}}}, policyTypes: [{types}], {rules}}}}}"
    )


def service(spec: str) -> str:
    """Return a Service shop/db."""
    return f"{{apiVersion: v1, kind: Service, metadata: {{name: db, namespace: shop}}, spec: {{{spec}}}}}"


def recorded(pod_name: str) -> str:
    """Return an EndpointSlice of shop/db with an address that a pod has."""
    return (
        "{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, addressType: IPv4, ports: [{name: '', port: 5432}], "
        "metadata: {name: db-1, namespace: shop, labels: {kubernetes.io/service-name: db}}, endpoints: [{addresses: "
        f"[10.244.1.7], targetRef: {{kind: Pod, name: {pod_name}, namespace: shop}}}}]}}"
    )


TO_DNS = policy("web", "egress: [{to: [{namespaceSelector: {}, podSelector: {matchLabels: {k8s-app: kube-dns}}}], ports: [{port: dns, protocol: UDP}]}]", "Egress")  # fmt: skip
BY_NAME = policy("x", "ingress: [{ports: [{port: http}]}]")
TO_DB = policy("web", "egress: [{to: [{podSelector: {matchLabels: {app: db}}}]}]", "Egress")
FROM_DB = policy("web", "ingress: [{from: [{podSelector: {matchLabels: {app: db}}}]}]")
BY_ONE = policy("web", "ingress: [{from: [{ipBlock: {cidr: 192.168.50.10/32}}]}]")
WITHOUT = service("ports: [{port: 5432}]")
MON = "{apiVersion: v1, kind: Pod, metadata: {name: c, namespace: mon, labels: {app: c}}, spec: {containers: [{name: c, image: i}]}}"
OUT_OF_MON = policy("c", "egress: [{to: [{namespaceSelector: {matchLabels: {t: s}}}]}]", "Egress", "mon")
OPEN_AT = pod("web", "containers: [{name: c, image: i, ports: [{containerPort: 80, hostPort: 8080}]}]")
OUTSIDE = policy("web", "ingress: [{from: [{ipBlock: {cidr: 198.51.100.0/24}}]}]")
UNREAD = "the labels and ports of shop/db-0, which was not read (give it: kubectl get pod db-0 -n shop -o yaml)"

# (title, documents, command line, exit code, in the answer)
ROWS = [
    ("a name of a port, of a pod that need not exist", [pod("web"), TO_DNS], "check shop/web kube-system/k8s-app=kube-dns 53/udp", 3,
     "depends on the port names of kube-system/k8s-app=kube-dns (give its pods: kubectl get pods -n kube-system -o yaml)"),
    ("a name of a port, closed", [pod("web"), TO_DNS], "check shop/web kube-system/k8s-app=kube-dns 53/udp --set world=closed", 1, "denied"),
    ("a name of a port of another protocol", [pod("web"), TO_DNS], "check shop/web kube-system/k8s-app=kube-dns 53", 1, "denied"),
    ("a name of a port, of other pods", [pod("web"), TO_DNS], "check shop/web kube-system/k8s-app=other 53/udp", 1, "denied"),
    ("a name of a port, of the subject", [pod("web"), BY_NAME], "check shop/web shop/app=x 80", 3, "depends on the port names of shop/app=x"),
    ("an endpoint of a pod that was not read", [pod("web"), WITHOUT, recorded("db-0"), TO_DB], "check shop/web shop/svc/db 5432", 3, UNREAD),
    ("its address", [pod("web"), WITHOUT, recorded("db-0"), TO_DB], "check shop/web 10.244.1.7 5432", 3, UNREAD),
    ("its address as the source", [pod("web"), WITHOUT, recorded("db-0"), FROM_DB], "check 10.244.1.7 shop/web 80", 3, UNREAD),
    ("its address, from outside", [WITHOUT, recorded("db-0"), policy("db", "ingress: []")], "check 203.0.113.9 10.244.1.7 80", 3, UNREAD),
    ("its address, closed", [pod("web"), WITHOUT, recorded("db-0"), TO_DB], "check shop/web 10.244.1.7 5432 --set world=closed", 1, "is not a pod"),
    ("an endpoint of a pod that was read", [pod("web"), WITHOUT, recorded("db"), pod("db"), TO_DB], "check shop/web shop/svc/db 5432", 0, "allowed"),
    ("a hostPort of a pod on some node", [NODE, OPEN_AT, OUTSIDE], "check 203.0.113.1 node:n1 8080", 3,
     "depends on the node that shop/web runs on (give its pods: kubectl get pods -n shop -o yaml)"),
    ("a hostPort that is open wherever the pod runs", [NODE, OPEN_AT, OUTSIDE], "check 198.51.100.1 node:n1 8080", 0, "allowed"),
    ("a Service without a backend", [pod("web"), service("selector: {app: db}, ports: [{port: 5432}]")], "check shop/web shop/svc/db 5432", 3,
     "depends on the backends of Service shop/db (give them: kubectl get pods,endpointslices -n shop -o yaml)"),
    ("a Service with a backend for one of its ports", [pod("c"), pod("web", "containers: [{name: c, image: i, ports: [{containerPort: 8080, name: http}]}]"),
      service("selector: {app: web}, ports: [{name: a, port: 80, targetPort: http}, {name: b, port: 81, targetPort: none}]")], "check shop/c shop/svc/db", 3,
     "depends on the port"),
    ("two unknowns, one at each end", [MON, MON.replace("mon", "dev").replace("name: c,", "name: web,", 1).replace("app: c", "app: web"), policy("web", "ingress: [{from: [{namespaceSelector: {matchLabels: {t: m}}}]}]", namespace="dev"), OUT_OF_MON], "explain mon/c dev/web 80", 3,
     "See `podfence semantics 13.3`\n  with t=s: allowed\n  otherwise: denied\n\nIngress to dev/web"),
    ("the address of a node that a rule names alone", [pod("web"), BY_ONE], "check node shop/web 8443", 3, "depends on the address of the node"),
    ("an address that the question names is no node's", [NODE, pod("db"), service("type: NodePort, selector: {app: db}, ports: [{port: 80}]"), BY_ONE.replace("app: web", "app: db")], "check 192.168.50.10 shop/svc/db 80", 3, "denied  another node -> shop/db"),
    ("the same of the API server", [pod("web"), BY_ONE], "check apiserver shop/web 8443", 3, "and the address of the node"),
    ("the address of a pod is none that a rule names alone", [pod("web"), pod("c"), BY_ONE], "check shop/c shop/web 8443", 1, "the source has no address in it"),
    ("the address of a node", [pod("web"), policy("web", "ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8}}]}]")], "check node shop/web 80", 3,
     "depends on the address of the node (give the nodes: kubectl get nodes -o yaml, and ask about node:NAME)"),
]  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_what_was_not_read_is_not_taken_for_absent(
    run: Run, tmp_path: Path, row: tuple[str, list[str], str, int, str]
) -> None:
    _, documents, line, code, said = row
    (tmp_path / "all.yaml").write_text("\n---\n".join([SPACE, *documents]))
    result = run(*line.split(), "-f", str(tmp_path))

    assert result.exit_code == code, result.output
    assert said in result.stdout
