# SPDX-License-Identifier: Apache-2.0
"""What people saw and did not understand is told: in the answer, or in a note before it.

The folders are in tests/data/situations, small and with other names; each row says where the situation was seen.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from click.testing import Result

    Run = Callable[..., Result]

SITUATIONS = Path(__file__).parent.parent / "data" / "situations"
BY_NAME = "See `podfence semantics 2.2`, option named-port-without-peer"

# (folder, seen in, command line, exit code, in the answer, on standard error)
ROWS = [
    ("policy-selects-nothing", "sock-shop", "list", 0, "everything", "note: policies that select no pod: default/cart-access"),
    ("policy-selects-nothing", "sock-shop", "list", 0, "everything", "note: peers that match no pod here: default/carts-db-access ingress rule 1 (name=cart)"),
    ("get-all", "every forum", "list", 0, "everything -> all pods", "note: there is no NetworkPolicy, so no pod is isolated (`kubectl get all` does not include policies)"),
    ("only-hostnetwork", "calico", "list", 0, "", "note: all pods are hostNetwork, part of their nodes: there is nothing to judge"),
    ("selects-nobody", "agent-sandbox 1044", "explain box/router box/sandbox-1 8888", 1, "denied", "note: policies that select no pod: box/sandbox-managed"),
    ("version-labels", "gatekeeper 3471", "list", 0, "", "note: policies that select no pod: gk/stale"),
    ("shift-left", "network-config-analyzer 262", "list", 0, "", "note: peers that match no pod here: shop/web egress rule 1 (k8s-app=kube-dns in namespace kube-system)"),
    ("policytypes", "website 24582", "explain a/cl a/api 80", 1, "denied", "note: rules without effect, because policyTypes leaves their direction out: ingress of a/allow-in"),
    ("named-proto", "netpol-analyzer 405", "explain hw/b hw/a 8956/udp", 1, "denied", "port names that no pod has: hw/p ingress rule 1 (UDP newport)"),
    ("named-proto", "netpol-analyzer 405", "check hw/b hw/a 8956/udp", 1, "the port is UDP 8956 (newport is SCTP 8956 on hw/a)", ""),
    ("named-proto", "netpol-analyzer 405", "check hw/b hw/a 9000", 1, "the port is TCP 9000 (init-port belongs to an init container of hw/a, semantics 5.8)", ""),
    ("named-proto", "netpol-analyzer 405", "check hw/b hw/a 15006 --set init-ports=containers", 1, "(option init-ports=containers leaves mesh out, which belongs to a sidecar of hw/a)", ""),
    ("named-proto", "netpol-analyzer 405", "check hw/b hw/a 8003 --set end-port=first", 1, "(option end-port=first reads the first port of a range alone)", ""),
    ("overlap", "cert-manager", "list --to a/hook", 0, "a/*        -> a/hook  all ports\neverything -> a/hook  TCP 4443\n", ""),
    ("and-or", "infra-deployments 7039", "explain edge/stranger lister/lister 8080", 0, "item 1 of `from`: every pod of namespace edge", ""),
    ("empty-from", "chat-ui 2492", "explain internet chat/ui 3000", 0, "`from` is empty: every source", ""),
    ("egress-named-port", "cilium 24779", "explain two/srv-b one/srv-a 8000", 0, BY_NAME, ""),
    ("egress-named-port", "cilium 24779", "explain two/srv-b one/srv-a 8000 --set named-port-without-peer=never", 1, BY_NAME, ""),
    ("egress-named-port", "cilium 24779", "check two/srv-b one/srv-a 8000 --set named-port-without-peer=never", 1, "option named-port-without-peer=never does not look up the port's name here", ""),
    ("nodeport", "calico 2660, antrea 280", "explain 198.51.100.7 203.0.113.50 80", 1, "which is TCP 80 of its pods (externalTrafficPolicy Local: its pods see the client)", ""),
    ("nodeport", "calico 2660, antrea 280", "explain 10.101.1.1 shop/svc/web 80", 3, "of its pods (externalTrafficPolicy Cluster: its pods see the client or a node)", ""),
    ("svc-port", "codecentric helm-charts 432", "check sso/client sso/idp 80", 0, "allowed", "note: sso/sts/idp is asked at its own port; sso/svc/idp TCP 80 is TCP 8080 (http) of its pods"),
    ("svc-port", "codecentric helm-charts 432", "check sso/client sso/idp 8080", 1, "denied", ""),
    ("svc-port", "codecentric helm-charts 432", "explain sso/client sso/svc/idp 80", 1, "sso/svc/idp TCP 80 is TCP 8080 (http) of its pods", ""),
    ("version-labels", "gatekeeper 3471", "check gk/audit gk/ctl 8443", 1, "the source has chart=gk-3.16.0 and app.kubernetes.io/version=3.16.0", ""),
    ("version-labels", "gatekeeper 3471", "explain gk/audit gk/ctl 8443", 1, "podSelector app=gk,control-plane=audit\n", ""),
    ("remedy-labels", "node-agent 942", "explain prod/db prod/api 80", 1, "an ingress rule for TCP 80 from podSelector app=db\n", ""),
    ("remedy-labels", "node-agent 942", "explain prod/mig-abcde prod/api 80", 1, "an ingress rule for TCP 80 from podSelector app=mig\n", ""),
    ("selects-nobody", "agent-sandbox 1044", "explain box/router box/sandbox-1 8888", 1, "add to namespace box a NetworkPolicy for app=sandbox with an ingress rule for TCP 8888 from podSelector app=router\n", ""),
    ("webhook", "kubeflow 3580", "explain node:cp-1 ml/svc/pipe 8443", 1, "with an ingress rule for TCP 8443 and without `from`; that also opens every source -> ml/deploy/pipe TCP 8443", ""),
    ("apiserver-vip", "kbve 14223", "explain ops/healthcheck default/svc/kubernetes 443", 1, "an egress rule for TCP 6443 to ipBlock 192.168.50.10/32\n", ""),
    ("policytypes", "website 24582", "explain a/cl a/api 80", 1, "policyTypes is left out of egress-only, which makes it a policy for Ingress too (2.3)", ""),
    ("policytypes", "website 24582", "explain a/cl a/api 80", 1, "policyTypes of allow-in leaves out ingress, so the ingress rules have no effect (2.4)", ""),
    ("policytypes", "website 24582", "explain a/cl a/api 80", 1, "write `policyTypes: [Egress]` into NetworkPolicy a/egress-only", ""),
    ("job", "glpi 173", "explain ops/dump ops/svc/pg 5432 --set world=closed", 1, "label the template of ops/cj/dump with app=dump\n", ""),
    ("lb-egress", "antrea 8179, calico 10664", "check app/client 10.40.0.13 443", 1, "denied", "holds 10.40.0.13, but that address of edge/svc/ctl is translated to its pods before policies are asked (7.8)"),
    ("apiserver-vip", "kbve 14223", "check ops/healthcheck default/svc/kubernetes 443", 1, "denied", "holds 10.96.0.1, but that address of default/svc/kubernetes is translated to its endpoints before policies are asked (7.8)"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("folder", "line", "code", "answer", "said"),
    [(folder, line, code, answer, said) for folder, _, line, code, answer, said in ROWS],
    ids=[f"{row[0]}: {row[2]}" for row in ROWS],
)
def test_what_people_did_not_understand_is_told(
    run: Run, folder: str, line: str, code: int, answer: str, said: str
) -> None:
    result = run(*line.split(), "-f", str(SITUATIONS / folder))

    assert result.exit_code == code, result.output
    assert answer in result.stdout
    assert said in result.stderr
