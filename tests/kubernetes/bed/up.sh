#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Everything: packages, builds, control plane, registry, nodes n1 to nN, DNS. Can be run again. usage: up.sh [N]   (2 nodes)
set -euo pipefail
. "$(dirname "$0")/lib.sh"
"$here/packages.sh"
[ "$(id -u)" -eq 0 ] || { echo "The bed makes network namespaces, mounts and cgroups: run it as root." >&2; exit 1; }
"$here/build.sh"
"$here/control-plane-up.sh"
for i in $(seq "${1:-2}"); do "$here/node-up.sh" "$i"; done
"$here/dns.sh"
