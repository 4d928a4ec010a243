#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Makes the nodes that run anew. usage: restart.sh      PODFENCE_BED_CNI, PODFENCE_BED_PROXY and PODFENCE_BED_FAMILIES as for node-up.sh
set -euo pipefail
. "$(dirname "$0")/lib.sh"
running=()
for file in "$work"/run/node-n*.pid; do
  name=$(basename "$file" .pid)
  running+=("${name#node-n}")
done
# Its status of before would be taken for one of the new nodes.
kc -n kube-system delete deployment coredns --ignore-not-found --cascade=foreground --timeout=60s >/dev/null
for i in "${running[@]}"; do
  "$here/node-down.sh" "$i"
  kc delete node "n$i" >/dev/null
done
for i in "${running[@]}"; do "$here/node-up.sh" "$i"; done
"$here/dns.sh"
