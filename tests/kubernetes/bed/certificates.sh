#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Makes the certificates, the key of service accounts, and the kubeconfigs.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
umask 077
cd "$work/pki"
if [ ! -f ca.crt ]; then
  openssl req -x509 -newkey rsa:2048 -nodes -days 3650 -subj /CN=podfence-bed -keyout ca.key -out ca.crt 2>/dev/null
fi
if [ ! -f sa.key ]; then
  openssl genrsa -out sa.key 2048 2>/dev/null
  openssl rsa -in sa.key -pubout -out sa.pub 2>/dev/null
fi
certificate() { # name subject [names]
  [ ! -f "$1.crt" ] || return 0
  openssl req -newkey rsa:2048 -nodes -subj "$2" -keyout "$1.key" -out "$1.csr" 2>/dev/null
  openssl x509 -req -in "$1.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -days 3650 -out "$1.crt" 2>/dev/null \
    -extfile <(printf '%s\n' "keyUsage=digitalSignature,keyEncipherment" "extendedKeyUsage=serverAuth,clientAuth" \
      "subjectAltName=${3:-DNS:$1}")
  rm "$1.csr"
}
kubeconfig() { # name
  cat >"$work/conf/$1.conf" <<Y
apiVersion: v1
kind: Config
current-context: bed
clusters: [{name: bed, cluster: {server: "$server", certificate-authority: "$work/pki/ca.crt"}}]
users: [{name: "$1", user: {client-certificate: "$work/pki/$1.crt", client-key: "$work/pki/$1.key"}}]
contexts: [{name: bed, context: {cluster: bed, user: "$1"}}]
Y
}
service=kubernetes.default.svc
certificate apiserver /CN=kube-apiserver \
  "DNS:localhost,DNS:kubernetes,DNS:kubernetes.default,DNS:$service,DNS:$service.cluster.local,IP:127.0.0.1,IP:$net.1,IP:$svcnet.1"
certificate apiserver-kubelet /O=system:masters/CN=kube-apiserver-kubelet-client
certificate front-proxy /CN=front-proxy-client
certificate admin /O=system:masters/CN=admin
certificate kcm /CN=system:kube-controller-manager
certificate scheduler /CN=system:kube-scheduler
certificate proxy /CN=system:kube-proxy
for i in $nodes; do certificate "n$i" "/O=system:nodes/CN=system:node:n$i" "DNS:n$i,IP:$net.1$i"; done
for name in admin kcm scheduler proxy; do kubeconfig "$name"; done
for i in $nodes; do kubeconfig "n$i"; done
