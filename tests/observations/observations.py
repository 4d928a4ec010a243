# SPDX-License-Identifier: Apache-2.0
"""128 observations: who connects to whom on which port under which policies, and whether it is allowed.

They come from five tutorials on NetworkPolicy. `kind` says how firm a row is: O, an output is shown there; S, stated
there in prose; D, follows from the specification and completes a case.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from podfence import Decision


class Situation(NamedTuple):
    """What is loaded: files of one folder of `examples`, with engine options as ``name=value``."""

    example: str
    files: tuple[str, ...]
    options: tuple[str, ...] = ()


class Row(NamedTuple):
    """One observation; `remark` is what was seen or said, and what is asserted where those differ."""

    id: str
    kind: Literal["O", "S", "D"]
    situation: Situation
    source: str
    destination: str
    port: int | str
    decision: Decision
    remark: str


ALLOWED, DENIED = Decision.ALLOWED, Decision.DENIED

# fmt: off
TWO_PORTS = Situation("two-ports", ("app.yaml",))
PORT_5000 = Situation("two-ports", ("app.yaml", "api-allow-5000.yaml"))
EVERY_PORT = Situation("two-ports", ("app.yaml", "api-allow-every-port.yaml"))
PORT_BY_NAME = Situation("two-ports", ("app.yaml", "apiserver-named.yaml", "api-allow-metrics.yaml"))
SERVICE_PORT = Situation("two-ports", ("app.yaml", "api-allow-5001.yaml"))

RULES = Situation("pod-traffic-rules", ("app.yaml",))
DB_FROM_API = Situation("pod-traffic-rules", ("app.yaml", "db-from-api.yaml"))
DB_AND_BACKUP = Situation("pod-traffic-rules", ("app.yaml", "db-from-api-and-backup.yaml"))
DB_EGRESS = Situation("pod-traffic-rules", ("app.yaml", "db-egress.yaml"))
INTERNAL = Situation("pod-traffic-rules", ("app.yaml", "internal-policy.yaml"))
SIX_RULES = Situation("pod-traffic-rules", ("tiers.yaml", "frontend.yaml", "backend.yaml", "store.yaml"))

FLOW = Situation("traffic-flow", ("app.yaml",))
DB_POLICY = Situation("traffic-flow", ("app.yaml", "db-policy.yaml"))
FIVE_RULES = Situation("traffic-flow", ("tiers.yaml", "web.yaml", "api.yaml", "database.yaml"))

OPEN_WEB = Situation("deny-all", ("app.yaml",))
DENY_ALL = Situation("deny-all", ("app.yaml", "web-deny-all.yaml"))
LIMITED = Situation("limit-traffic", ("app.yaml", "api-allow.yaml"))
ALLOW_ALL = Situation("allow-all", ("app.yaml", "web-deny-all.yaml", "web-allow-all.yaml"))
ALLOW_ALL_PODS = Situation("allow-all", ("app.yaml", "web-deny-all.yaml", "web-allow-all-pods.yaml"))
DENY_NAMESPACE = Situation("deny-namespace", ("app.yaml", "default-deny-all.yaml"))
DENY_OTHERS = Situation("deny-other-namespaces", ("app.yaml", "deny-from-other-namespaces.yaml"))
ALL_NAMESPACES = Situation("all-namespaces", ("app.yaml", "web-allow-all-namespaces.yaml"))
ONE_NAMESPACE = Situation("one-namespace", ("app.yaml", "web-allow-prod.yaml"))
PODS_IN_NAMESPACES = Situation("pods-in-namespaces", ("app.yaml", "web-allow-all-ns-monitoring.yaml"))
EXTERNAL = Situation("external-clients", ("app.yaml", "web-allow-external.yaml"))
PORT_ONLY = Situation("port-only", ("app.yaml", "api-allow-5000.yaml"))
MANY_SELECTORS = Situation("many-selectors", ("app.yaml", "redis-allow-services.yaml"))
DENY_EGRESS = Situation("deny-egress", ("app.yaml", "foo-deny-egress.yaml"))
ALLOW_DNS = Situation("allow-dns", ("app.yaml", "foo-deny-egress.yaml"))
EGRESS_NAMESPACE = Situation("deny-egress-namespace", ("app.yaml", "default-deny-all-egress.yaml"))
NODE_EXEMPT = Situation("deny-egress-namespace", ("app.yaml", "default-deny-all-egress.yaml"), ("own-node-egress=allowed",))
EXTERNAL_EGRESS = Situation("deny-external-egress", ("app.yaml", "foo-deny-external-egress.yaml"))
IP_BLOCK = Situation("ip-block", ("app.yaml", "test-network-policy.yaml"))

NGINX = Situation("before-1-7", ("app.yaml",), ("legacy=v1beta1",))
ANNOTATED = Situation("before-1-7", ("app.yaml", "default-deny.yaml"), ("legacy=v1beta1",))
ANNOTATED_ACCESS = Situation("before-1-7", ("app.yaml", "default-deny.yaml", "access-nginx.yaml"))
ACCESS = Situation("before-1-7", ("app.yaml", "access-nginx.yaml"))
ACCESS_AS_V1 = Situation("before-1-7", ("app.yaml", "default-deny.yaml", "access-nginx.yaml"), ("legacy=v1",))
ANNOTATED_AS_V1 = Situation("before-1-7", ("app.yaml", "default-deny.yaml"), ("legacy=v1",))

OBSERVATIONS: tuple[Row, ...] = (
    # One application, two ports
    Row("0.1", "O", PORT_5000, "default/client", "default/apiserver", 8000, DENIED, "wget apiserver:8001 (Service 8001 to 8000): timed out"),
    Row("0.2", "O", PORT_5000, "default/client", "default/apiserver", 5000, DENIED, "wget apiserver:5001/metrics: timed out"),
    Row("0.3", "O", PORT_5000, "default/role=monitoring", "default/apiserver", 8000, DENIED, "wget apiserver:8001: timed out"),
    Row("0.4", "O", PORT_5000, "default/role=monitoring", "default/apiserver", 5000, ALLOWED, "wget apiserver:5001/metrics prints three metrics"),
    Row("0.5", "S", PORT_5000, "nsother/role=monitoring", "default/apiserver", 5000, DENIED, "'in the same namespace'"),
    Row("0.6", "S", PORT_5000, "203.0.113.9", "default/apiserver", 5000, DENIED, "'drop all non-whitelisted traffic'"),
    Row("0.7", "S", TWO_PORTS, "default/client", "default/apiserver", 8000, ALLOWED, "app answers hello on 8000"),
    Row("0.8", "S", TWO_PORTS, "default/client", "default/apiserver", 5000, ALLOWED, "app answers metrics on 5000"),
    Row("0.9", "S", EVERY_PORT, "default/role=monitoring", "default/apiserver", 8000, ALLOWED, "no port in rule = all ports"),
    Row("0.10", "S", PORT_BY_NAME, "default/role=monitoring", "default/apiserver-named", 5000, ALLOWED, "port may be a name"),
    Row("0.11", "D", PORT_BY_NAME, "default/role=monitoring", "default/apiserver", 5000, DENIED, "no container port is declared: the name resolves to nothing"),
    Row("0.12", "S", SERVICE_PORT, "default/role=monitoring", "default/apiserver", 5000, DENIED, "policies do not know Service ports"),
    Row("0.13", "D", PORT_5000, "default/role=monitoring", "default/apiserver", "5000/udp", DENIED, "protocol defaults to TCP"),
    Row("0.14", "D", PORT_5000, "default/apiserver", "default/client", 80, ALLOWED, "egress not isolated"),
    # Rules for the traffic of pods
    Row("1.1", "S", RULES, "default/client", "default/db", 27017, ALLOWED, "default allow-all"),
    Row("1.2", "S", DB_FROM_API, "prod/api-pod", "default/db", 27017, ALLOWED, "api pod of prod"),
    Row("1.3", "S", DB_FROM_API, "prod/api-pod", "default/db", 3306, DENIED, "'only traffic on a specific port'"),
    Row("1.4", "S", DB_FROM_API, "prod/frontend", "default/db", 27017, DENIED, "'from a specific pod'"),
    Row("1.5", "S", DB_FROM_API, "default/api-pod", "default/db", 27017, DENIED, "'only pods from the prod namespace'"),
    Row("1.6", "D", DB_FROM_API, "192.168.99.10", "default/db", 27017, DENIED, "before the ipBlock is added"),
    Row("1.7", "S", DB_FROM_API, "default/db", "8.8.8.8", 443, ALLOWED, "'only incoming data': egress open"),
    Row("1.8", "S", DB_AND_BACKUP, "prod/api-pod", "default/db", 27017, ALLOWED, "api still allowed"),
    Row("1.9", "S", DB_AND_BACKUP, "192.168.99.10", "default/db", 27017, ALLOWED, "backup machine"),
    Row("1.10", "D", DB_AND_BACKUP, "192.168.99.11", "default/db", 27017, DENIED, "/32 boundary"),
    Row("1.11", "D", DB_AND_BACKUP, "192.168.99.10", "default/db", 80, DENIED, "ports apply to both peers"),
    Row("1.12", "S", DB_EGRESS, "default/db", "192.168.99.10", 80, ALLOWED, "egress rule"),
    Row("1.13", "D", DB_EGRESS, "default/db", "192.168.99.10", 443, DENIED, "port"),
    Row("1.14", "D", DB_EGRESS, "default/db", "192.168.99.11", 80, DENIED, "address"),
    Row("1.15", "D", DB_EGRESS, "prod/api-pod", "default/db", 27017, ALLOWED, "it has the name of the other two forms and replaces them: ingress is open again"),
    Row("1.16", "D", DB_EGRESS, "default/db", "kube-system/coredns", "53/udp", DENIED, "DNS is cut too"),
    Row("1.17", "S", INTERNAL, "default/internal", "default/payroll", 8080, ALLOWED, "payroll on 8080"),
    Row("1.18", "S", INTERNAL, "default/internal", "default/mysql", 3306, ALLOWED, "db-service on 3306"),
    Row("1.19", "D", INTERNAL, "default/internal", "default/payroll", 3306, DENIED, "peers and ports do not cross between rules"),
    Row("1.20", "D", INTERNAL, "default/internal", "default/mysql", 8080, DENIED, "peers and ports do not cross between rules"),
    Row("1.21", "D", INTERNAL, "default/internal", "default/other", 8080, DENIED, "unlisted pod"),
    Row("1.22", "D", INTERNAL, "default/internal", "kube-system/coredns", "53/udp", DENIED, "payroll-service cannot be looked up: there is no DNS rule"),
    Row("1.23", "D", INTERNAL, "default/client", "default/internal", 80, ALLOWED, "ingress not isolated"),
    Row("1.24", "S", SIX_RULES, "203.0.113.9", "default/frontend", 80, ALLOWED, "bullet: frontend ingress 80 from the world"),
    Row("1.25", "S", SIX_RULES, "default/frontend", "default/backend", 5000, ALLOWED, "frontend out and API in on 5000 (one diagram says 3001)"),
    Row("1.26", "S", SIX_RULES, "default/backend", "default/store", 27017, ALLOWED, "bullets: api out / db in 27017"),
    Row("1.27", "S", SIX_RULES, "default/frontend", "default/store", 27017, DENIED, "frontend need not talk to db"),
    # A traffic flow: web, API, database
    Row("2.1", "S", FLOW, "default/web-pod", "default/db", 3306, ALLOWED, "default all-allow"),
    Row("2.2", "S", DB_POLICY, "default/api-pod", "default/db", 3306, ALLOWED, "only the API pod"),
    Row("2.3", "S", DB_POLICY, "default/web-pod", "default/db", 3306, DENIED, "web must not reach db"),
    Row("2.4", "S", DB_POLICY, "203.0.113.9", "default/db", 3306, DENIED, "'all other sources' blocked"),
    Row("2.5", "D", DB_POLICY, "default/api-pod", "default/db", 22, DENIED, "port"),
    Row("2.6", "S", DB_POLICY, "default/db", "default/web-pod", 80, ALLOWED, "directions not in policyTypes stay open"),
    Row("2.7", "D", DB_POLICY, "nsother/name=api-pod", "default/db", 3306, DENIED, "own namespace only"),
    Row("2.8", "S", DB_POLICY, "default/web-pod", "default/api-pod", 5000, ALLOWED, "unselected pods unaffected"),
    Row("2.9", "S", DB_POLICY, "203.0.113.9", "default/web-pod", 80, ALLOWED, "user to web"),
    Row("2.10", "S", FIVE_RULES, "203.0.113.9", "default/web", 80, ALLOWED, "required rule"),
    Row("2.11", "S", FIVE_RULES, "default/web", "default/api", 5000, ALLOWED, "required rules, both sides"),
    Row("2.12", "S", FIVE_RULES, "default/api", "default/database", 3306, ALLOWED, "required rules, both sides"),
    Row("2.13", "D", FIVE_RULES, "default/web", "default/database", 3306, DENIED, "web egress covers only the API server"),
    # Recipes
    Row("3.1", "O", OPEN_WEB, "default/client", "default/web", 80, ALLOWED, "wget web prints the page"),
    Row("3.2", "O", DENY_ALL, "default/client", "default/web", 80, DENIED, "timed out"),
    Row("3.3", "O", LIMITED, "default/client", "default/web", 80, DENIED, "timed out"),
    Row("3.4", "O", LIMITED, "default/app=bookstore,role=frontend", "default/web", 80, ALLOWED, "page"),
    Row("3.5", "O", ALLOW_ALL, "default/client", "default/web", 80, ALLOWED, "allow wins over deny"),
    Row("3.6", "S", ALLOW_ALL, "nsother/client", "default/web", 80, ALLOWED, "its namespace and other namespaces"),
    Row("3.7", "D", ALLOW_ALL, "203.0.113.9", "default/web", 80, ALLOWED, "{} admits non-pods"),
    Row("3.8", "S", ALLOW_ALL_PODS, "nsother/client", "default/web", 80, ALLOWED, "claimed equivalent"),
    Row("3.9", "D", ALLOW_ALL_PODS, "203.0.113.9", "default/web", 80, DENIED, "not equivalent for what is no pod"),
    Row("3.10", "O", DENY_NAMESPACE, "default/client", "default/web", 80, DENIED, "timed out"),
    Row("3.11", "O", DENY_NAMESPACE, "kube-system/client", "default/svc/web", 80, DENIED, "bad address: the name is not in kube-system; asserted: by its full name it is denied too"),
    Row("3.12", "O", DENY_NAMESPACE, "kube-system/client", "default/web", 80, DENIED, "web.default: timed out"),
    Row("3.13", "O", DENY_OTHERS, "foo/client", "default/web", 80, DENIED, "web.default: timed out"),
    Row("3.14", "O", DENY_OTHERS, "default/client", "default/web", 80, ALLOWED, "page"),
    Row("3.15", "O", ALL_NAMESPACES, "bar/client", "default/web", 80, ALLOWED, "page (nobody creates the namespace bar)"),
    Row("3.16", "D", ALL_NAMESPACES, "default/client", "default/web", 80, ALLOWED, "own namespace is a namespace"),
    Row("3.17", "D", ALL_NAMESPACES, "203.0.113.9", "default/web", 80, DENIED, "pods only"),
    Row("3.18", "O", ONE_NAMESPACE, "dev/client", "default/web", 80, DENIED, "timed out (purpose=develop)"),
    Row("3.19", "O", ONE_NAMESPACE, "prod/client", "default/web", 80, ALLOWED, "page"),
    Row("3.20", "D", ONE_NAMESPACE, "default/client", "default/web", 80, DENIED, "own namespace lacks the label"),
    Row("3.21", "O", PODS_IN_NAMESPACES, "other/client", "default/web", 80, DENIED, "namespace matches, pod does not"),
    Row("3.22", "O", PODS_IN_NAMESPACES, "default/type=monitoring", "default/web", 80, DENIED, "pod matches, namespace does not"),
    Row("3.23", "O", PODS_IN_NAMESPACES, "other/type=monitoring", "default/web", 80, ALLOWED, "both match"),
    Row("3.24", "O", EXTERNAL, "192.168.3.200", "default/web", 80, ALLOWED, "wget to NodePort 31261 from a machine outside (it may be a node)"),
    Row("3.25", "O", PORT_ONLY, "default/client", "default/web", 8000, DENIED, "timed out"),
    Row("3.26", "O", PORT_ONLY, "default/client", "default/web", 5000, DENIED, "web:5001/metrics: timed out"),
    Row("3.27", "O", PORT_ONLY, "default/role=monitoring", "default/web", 8000, DENIED, "wget web:8001: timed out"),
    Row("3.28", "O", PORT_ONLY, "default/role=monitoring", "default/web", 5000, ALLOWED, "metrics printed"),
    Row("3.29", "O", MANY_SELECTORS, "default/app=inventory,role=web", "default/db", 6379, ALLOWED, "nc: open"),
    Row("3.30", "O", MANY_SELECTORS, "default/app=other", "default/db", 6379, DENIED, "nc: timed out"),
    Row("3.31", "S", MANY_SELECTORS, "default/app=bookstore,role=search", "default/db", 6379, ALLOWED, "listed selector"),
    Row("3.32", "S", MANY_SELECTORS, "default/app=bookstore,role=api", "default/db", 6379, ALLOWED, "listed selector"),
    Row("3.33", "O", DENY_EGRESS, "default/foo", "kube-system/coredns", "53/udp", DENIED, "wget web and wget google.com: bad address (two outputs)"),
    Row("3.34", "D", DENY_EGRESS, "default/foo", "default/web", 80, DENIED, "by address it would time out"),
    Row("3.35", "O", DENY_EGRESS, "default/foo", "192.168.3.1", "icmp", DENIED, "ping: 100% loss"),
    Row("3.36", "O", DENY_EGRESS, "default/foo", "kube-system/svc/kube-dns", "53/udp", DENIED, "ping google.com: bad address; asserted: the lookup at the DNS Service is denied"),
    Row("3.37", "O", ALLOW_DNS, "default/foo", "kube-system/coredns", "53/udp", ALLOWED, "names resolve"),
    Row("3.38", "O", ALLOW_DNS, "default/foo", "default/web", 80, DENIED, "timed out, no longer bad address"),
    Row("3.39", "O", ALLOW_DNS, "default/foo", "142.251.42.238", 80, DENIED, "google.com: timed out"),
    Row("3.40", "O", ALLOW_DNS, "default/foo", "142.251.42.238", "icmp", DENIED, "ping google.com: resolves, 100% loss"),
    Row("3.41", "D", ALLOW_DNS, "default/foo", "8.8.8.8", "53/udp", ALLOWED, "no `to`: any resolver in the world"),
    Row("3.42", "S", EGRESS_NAMESPACE, "default/client", "kube-system/coredns", "53/udp", DENIED, "'including DNS'"),
    Row("3.43", "S", EGRESS_NAMESPACE, "default/client", "1.1.1.1", 443, DENIED, "all egress blocked"),
    Row("3.44", "D", EGRESS_NAMESPACE, "nsother/client", "default/client", 80, ALLOWED, "ingress open"),
    Row("3.45", "O", EXTERNAL_EGRESS, "default/foo", "default/web", 80, ALLOWED, "page"),
    Row("3.46", "O", EXTERNAL_EGRESS, "default/foo", "142.251.42.238", 80, DENIED, "google.com: timed out"),
    Row("3.47", "O", EXTERNAL_EGRESS, "default/foo", "kube-system/coredns", "53/udp", ALLOWED, "google.com resolved, so DNS worked"),
    Row("3.48", "D", EXTERNAL_EGRESS, "default/foo", "8.8.8.8", "53/udp", ALLOWED, "the DNS rule has no `to`"),
    Row("3.49", "D", IP_BLOCK, "default/frontend", "default/db", 6379, ALLOWED, "third peer"),
    Row("3.50", "D", IP_BLOCK, "mp/client", "default/db", 6379, ALLOWED, "second peer (namespace labelled project=myproject)"),
    Row("3.51", "D", IP_BLOCK, "172.17.0.5", "default/db", 6379, ALLOWED, "first peer"),
    Row("3.52", "D", IP_BLOCK, "172.17.1.5", "default/db", 6379, DENIED, "except"),
    Row("3.53", "D", IP_BLOCK, "172.18.0.5", "default/db", 6379, DENIED, "outside"),
    Row("3.54", "D", IP_BLOCK, "default/frontend", "default/db", 80, DENIED, "port"),
    Row("3.55", "D", IP_BLOCK, "nsother/frontend", "default/db", 6379, DENIED, "other namespace"),
    Row("3.56", "D", IP_BLOCK, "default/db", "10.0.0.9", 5978, ALLOWED, "egress"),
    Row("3.57", "D", IP_BLOCK, "default/db", "10.0.1.9", 5978, DENIED, "egress address"),
    Row("3.58", "D", IP_BLOCK, "default/db", "10.0.0.9", 80, DENIED, "egress port"),
    Row("3.59", "S", DENY_NAMESPACE, "default/page", "default/page", 80, ALLOWED, "a pod cannot block access to itself"),
    Row("3.60", "S", DENY_NAMESPACE, "node:n1", "default/page", 80, ALLOWED, "traffic with the own node is always allowed"),
    Row("3.61", "S", NODE_EXEMPT, "default/web", "node:n1", 80, ALLOWED, "the same sentence, other direction; disputed (semantics 7.4), so it is an option"),
    # Before Kubernetes 1.7: isolation by annotation
    Row("4.1", "O", NGINX, "default/client", "default/nginx", 80, ALLOWED, "before; v1beta1, no annotation"),
    Row("4.2", "S", ANNOTATED, "default/client", "default/nginx", 80, DENIED, "annotated, no policy yet"),
    Row("4.3", "O", ANNOTATED_ACCESS, "default/client", "default/nginx", 80, DENIED, "annotated, timed out"),
    Row("4.4", "O", ANNOTATED_ACCESS, "default/access=true", "default/nginx", 80, ALLOWED, "annotated, connected"),
    Row("4.5", "D", ANNOTATED_ACCESS, "default/access=true", "default/other", 80, DENIED, "annotated: unselected pods are closed too"),
    Row("4.6", "D", ANNOTATED_ACCESS, "nsother/access=true", "default/nginx", 80, DENIED, "podSelector is own namespace only"),
    Row("4.7", "D", ANNOTATED_ACCESS, "default/access=true", "default/nginx", 443, ALLOWED, "rule has no ports"),
    Row("4.8", "D", ANNOTATED_ACCESS, "default/nginx", "1.1.1.1", 443, ALLOWED, "no egress control in v1beta1"),
    Row("4.9", "D", ANNOTATED_ACCESS, "default/client", "nsother/client", 80, ALLOWED, "other namespaces are not annotated"),
    Row("4.10", "D", ACCESS, "default/client", "default/nginx", 80, ALLOWED, "v1beta1, policy present, annotation absent: policy has no effect"),
    Row("4.11", "D", ACCESS_AS_V1, "default/client", "default/nginx", 80, DENIED, "same object read as v1, annotation ignored"),
    Row("4.12", "D", ACCESS_AS_V1, "default/client", "default/other", 80, ALLOWED, "v1: unselected pods stay open"),
    Row("4.13", "D", ANNOTATED_AS_V1, "default/client", "default/nginx", 80, ALLOWED, "v1: annotation alone does nothing"),
)
# fmt: on
