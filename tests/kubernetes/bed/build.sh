#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Builds the programs of the bed that are not built yet, or whose module here has changed.
# usage: build.sh [kwok|kube-router]      also the program that plays nodes, or another that enforces policies
set -euo pipefail
. "$(dirname "$0")/lib.sh"
export CGO_ENABLED=0
command -v go >/dev/null || { echo "The bed is built with Go: put go (1.21 or later) on PATH or into /usr/local/go." >&2; exit 1; }

module() { # name: goes into the module and returns whether it has to be built
  cd "$here/modules/$1"
  stamp=$work/bin/.$1 start=$SECONDS
  state=$(find . -type f | LC_ALL=C sort | xargs sha256sum | sha256sum)
  [ "$(cat "$stamp" 2>/dev/null)" != "$state" ]
}
built() { # name: remembers that the module is built as it is
  echo "$state" >"$stamp"
  echo "built $1: $((SECONDS - start)) s"
}
compile() { nice go build -trimpath -ldflags "$flags" -o "$work/bin/" "$@"; }

if module kubernetes; then
  version=$(go list -m -f '{{.Version}}' k8s.io/kubernetes)
  IFS=. read -r major minor _ <<<"${version#v}"
  flags="-s -w"
  for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
    flags+=" -X $package.gitVersion=$version -X $package.gitMajor=$major -X $package.gitMinor=$minor"
    flags+=" -X $package.gitTreeState=clean -X $package.buildDate=1970-01-01T00:00:00Z"
  done
  compile k8s.io/kubernetes/cmd/{kube-apiserver,kube-controller-manager,kube-scheduler,kubectl,kubelet,kube-proxy} \
    k8s.io/kubernetes/test/images/agnhost
  flags="-s -w"
  nice go build -trimpath -ldflags "$flags" -o "$work/bin/etcd" go.etcd.io/etcd/server/v3
  nice go test -c -vet=off -trimpath -ldflags "-s -w -X k8s.io/component-base/version.gitVersion=$version" \
    -o "$work/bin/netpol.test" ./netpol
  go list -m -f '{{.Dir}}' k8s.io/kubernetes >"$work/conf/kubernetes-sources"
  built kubernetes
fi
flags="-s -w"
if module coredns; then
  nice go build -trimpath -ldflags "$flags" -o "$work/bin/coredns" .
  built coredns
fi
if module programs; then
  compile ./...
  built programs
fi
if [ "${1:-}" = kwok ] && module kwok; then
  compile sigs.k8s.io/kwok/cmd/kwok
  go list -m -f '{{.Dir}}' sigs.k8s.io/kwok >"$work/conf/kwok-sources"
  built kwok
fi
if [ "${1:-}" = kube-router ] && module kube-router; then
  compile github.com/cloudnativelabs/kube-router/v2/cmd/kube-router
  built kube-router
fi
"$here/build-busybox.sh"
