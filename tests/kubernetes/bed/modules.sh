#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Writes modules/kubernetes/go.mod and go.sum anew for another release of Kubernetes. usage: modules.sh v1.36.3
set -euo pipefail
. "$(dirname "$0")/lib.sh"
version=$1
sources=$(go mod download -json "k8s.io/kubernetes@$version" | jq -r .Dir)
cd "$here/modules/kubernetes"
{
  printf 'module podfence.test/bed/kubernetes\n\n%s\n\n' "$(grep -E '^go [0-9]' "$sources/go.mod")"
  printf '%s\n\nrequire k8s.io/kubernetes %s\n\nreplace (\n' "$(grep -E '^godebug ' "$sources/go.mod")" "$version"
  sed -n '/^replace (/,/^)/p' "$sources/go.mod" | awk -v version="v0.${version#v1.}" '/=>/ { print "\t" $1 " => " $1 " " version }'
  printf ')\n\ntool (\n'
  printf '\t%s\n' go.etcd.io/etcd/server/v3 k8s.io/kubernetes/cmd/{kube-apiserver,kube-controller-manager,kube-proxy,kube-scheduler} \
    k8s.io/kubernetes/cmd/{kubectl,kubelet} k8s.io/kubernetes/test/images/agnhost
  printf ')\n'
} >go.mod
cp "$sources/go.sum" go.sum
chmod 644 go.sum
go mod tidy
