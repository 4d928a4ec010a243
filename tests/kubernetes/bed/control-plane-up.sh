#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Starts etcd, the API server, the controller manager, the scheduler and the registry in a network namespace of their own.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
cat >"$work/conf/settings" <<E_O_F
PODFENCE_BED_NAME=$cpns PODFENCE_BED_NET=$net PODFENCE_BED_PODNET=$podnet PODFENCE_BED_SVCNET=$svcnet
E_O_F
"$here/certificates.sh"
"$here/unpack.sh"

if [ ! -e "/run/netns/$cpns" ]; then
  ip netns add "$cpns"
  ip -n "$cpns" link set lo up
  ip -n "$cpns" link add lan0 type bridge
  ip -n "$cpns" addr add "$net.1/24" dev lan0
  ip -n "$cpns" addr add "$net6:1/64" dev lan0 nodad
  ip -n "$cpns" link set lan0 up
  ip -n "$cpns" addr add "$outside/32" dev lo
  in_cp sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
  # What one node sends to another must not meet this namespace's netfilter on the way.
  in_cp sysctl -qw net.bridge.bridge-nf-call-iptables=0 || true
fi
spawn_in_cp() { # name program arguments...
  local name=$1
  shift
  spawn "$name" nsenter --net="/run/netns/$cpns" "$work/bin/$name" "$@"
}

# What podfence's agents ask for is written down, so that a test can compare it with their rights.
put "$work/conf/audit.yaml" <<'C'
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
  users: ["system:serviceaccount:podfence-system:podfence-agent"]
- level: None
C

start=$EPOCHREALTIME
"$here/registry.sh"
spawn_in_cp etcd --data-dir "$work/etcd" --unsafe-no-fsync \
  --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379 \
  --listen-peer-urls http://127.0.0.1:2380 --initial-advertise-peer-urls http://127.0.0.1:2380 \
  --initial-cluster default=http://127.0.0.1:2380
spawn_in_cp kube-apiserver \
  --etcd-servers=http://127.0.0.1:2379 --bind-address=0.0.0.0 --secure-port=6443 --advertise-address="$net.1" \
  --tls-cert-file="$work/pki/apiserver.crt" --tls-private-key-file="$work/pki/apiserver.key" --client-ca-file="$work/pki/ca.crt" \
  --kubelet-client-certificate="$work/pki/apiserver-kubelet.crt" --kubelet-client-key="$work/pki/apiserver-kubelet.key" \
  --kubelet-certificate-authority="$work/pki/ca.crt" --kubelet-preferred-address-types=InternalIP \
  --requestheader-client-ca-file="$work/pki/ca.crt" --requestheader-allowed-names=front-proxy-client \
  --requestheader-username-headers=X-Remote-User --requestheader-group-headers=X-Remote-Group \
  --requestheader-extra-headers-prefix=X-Remote-Extra- \
  --proxy-client-cert-file="$work/pki/front-proxy.crt" --proxy-client-key-file="$work/pki/front-proxy.key" \
  --service-account-key-file="$work/pki/sa.pub" --service-account-signing-key-file="$work/pki/sa.key" \
  --service-account-issuer=https://kubernetes.default.svc.cluster.local --service-cluster-ip-range="$svcnet.0/20,$svcnet6::/112" \
  --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction --allow-privileged=true \
  --audit-policy-file="$work/conf/audit.yaml" --audit-log-path="$work/log/audit.log"
wait_for 120 "API server ready" kc get --raw /readyz
spawn_in_cp kube-controller-manager --kubeconfig="$work/conf/kcm.conf" --bind-address=127.0.0.1 --leader-elect=false \
  --use-service-account-credentials --service-account-private-key-file="$work/pki/sa.key" --root-ca-file="$work/pki/ca.crt" \
  --cluster-signing-cert-file="$work/pki/ca.crt" --cluster-signing-key-file="$work/pki/ca.key" \
  --controllers='*,-cloud-node-lifecycle-controller'
spawn_in_cp kube-scheduler --kubeconfig="$work/conf/scheduler.conf" --bind-address=127.0.0.1 --leader-elect=false
spawn outside nsenter --net="/run/netns/$cpns" "$work/bin/stand-in" 80
wait_for 60 "default service account made" kc get serviceaccount default
echo "control plane up: $(since "$start") s, $(kc version -o json | jq -r .serverVersion.gitVersion)"
