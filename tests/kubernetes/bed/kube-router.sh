#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Another enforcer of policies, to compare with: kube-router's firewall as a plain process on each node that runs.
# usage: kube-router.sh up|down
set -euo pipefail
. "$(dirname "$0")/lib.sh"
[ "$1" != up ] || "$here/build.sh" kube-router
for file in "$work"/run/node-n*.pid; do
  n=$(basename "$file" .pid)
  n=${n#node-}
  i=${n#n}
  options=(--run-firewall=true --run-router=false --run-service-proxy=false --enable-cni=false --health-port=0
    --kubeconfig "$work/conf/admin.conf" --hostname-override "$n" --service-cluster-ip-range "$svcnet.0/20")
  case $1 in
    up) spawn_in_node "$n-kube-router" "$work/bin/kube-router" "${options[@]}" ;;
    down)
      stop "$n-kube-router"
      # Its own --cleanup-config ends with an error.
      "$here/node-exec.sh" "$i" bash -c "iptables-save | grep -Ev 'KUBE-(ROUTER|POD-FW|NWPLCY)-' | iptables-restore
        ipset list -n | grep ^KUBE- | xargs -rn1 ipset destroy"
      ;;
    *) echo "kube-router.sh up or down, not $1" >&2; exit 2 ;;
  esac
done
